"""From held settlements to the sound statistics of a venue's perpetuals."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from services.scanner.analytics import FundingStatistics, analyse
from services.scanner.funding import FundingHistory, Settlements, funding_history, recent
from services.scanner.histories import interval_hours
from services.scanner.instruments import Exclusion, ExclusionReason, InstrumentKey
from services.scanner.market import venue_now
from services.scanner.quarantine import history_exclusions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from services.scanner.history_store import HistoryStore
    from services.scanner.market import VenueView
    from services.scanner.rules import ScanRules
    from services.scanner.slices import Slicer

_MINUTE = timedelta(minutes=1)
# Histories analysed in one piece: two milliseconds of numpy for a month of hourly settlements.
_BATCH = 12


@dataclass(slots=True)
class VenueStudy:
    """Sound statistics of a venue, and what was left out. Mutable: filled batch by batch."""

    statistics: dict[InstrumentKey, FundingStatistics] = field(default_factory=dict)
    exclusions: list[Exclusion] = field(default_factory=list)
    analysed_count: int = 0


async def study_venue(
    view: VenueView,
    store: HistoryStore,
    malformed: Mapping[str, str],
    unread: Collection[str],
    needed: Collection[str],
    rules: ScanRules,
    slicer: Slicer,
) -> VenueStudy:
    """Analyse what is held of the venue's perpetuals, giving way to the event loop between batches.

    Symbols that were not needed and of which nothing is held were not asked for and are passed
    over. Symbols with damaged or unread history are left out: their figures would mislead.
    """
    study = VenueStudy()
    batch: list[tuple[InstrumentKey, FundingHistory]] = []
    for symbol in sorted(view.symbols):
        rows = store.settlements(view.venue, symbol)
        # Of symbols that were not asked for, silence is no finding.
        if rows.minutes.size or symbol in needed or symbol in malformed:
            history = _sound_history(view, rows, symbol, malformed, unread, rules)
            if isinstance(history, Exclusion):
                study.exclusions.append(history)
            else:
                batch.append((view.key(symbol), history))
        if len(batch) == _BATCH:
            _analyse_batch(batch, view, rules, study)
            batch.clear()
        await slicer.pause()
    _analyse_batch(batch, view, rules, study)
    return study


def _sound_history(
    view: VenueView,
    rows: Settlements,
    symbol: str,
    malformed: Mapping[str, str],
    unread: Collection[str],
    rules: ScanRules,
) -> FundingHistory | Exclusion:
    key = view.key(symbol)
    if symbol in malformed:
        return Exclusion(key, ExclusionReason.DATA_MALFORMED, malformed[symbol])
    if symbol in unread:
        return Exclusion(
            key, ExclusionReason.HISTORY_MISSING, "its recent history could not be read"
        )
    if rows.minutes.size == 0:
        return Exclusion(key, ExclusionReason.HISTORY_MISSING, "no settlement on record")
    history = funding_history(rows, interval_hours(view, symbol))
    if history is None:
        detail = "neither the venue nor the spacing of settlements tells the interval"
        return Exclusion(key, ExclusionReason.INTERVAL_UNKNOWN, detail)
    now = venue_now(view)
    end_minute = int(rows.minutes[-1]) if now is None else int(now.timestamp() // 60)
    kept = recent(history, end_minute - rules.history // _MINUTE)
    if kept is None:
        detail = f"no settlement within {rules.history.days} days"
        return Exclusion(key, ExclusionReason.MARKET_DEAD, detail)
    return kept


def _analyse_batch(
    batch: list[tuple[InstrumentKey, FundingHistory]],
    view: VenueView,
    rules: ScanRules,
    study: VenueStudy,
) -> None:
    now = venue_now(view)
    now_minute = None if now is None else now.timestamp() / 60
    results = analyse([history for _, history in batch])
    for (key, _), statistics in zip(batch, results, strict=True):
        row = view.rates.get(key.symbol)
        predicted = float(row.rate) if row is not None and row.rate is not None else None
        found = history_exclusions(key, statistics, predicted, now_minute, rules.quarantine)
        study.exclusions += found
        if not found:
            study.statistics[key] = statistics
    study.analysed_count += len(batch)
