"""From held settlements to the sound statistics of a venue's perpetuals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.scanner.funding import MINUTE_MS
from services.scanner.instruments import Exclusion, ExclusionReason
from services.scanner.market import interval_hours, present
from services.scanner.sound_statistics import Candidate, sound_statistics
from services.scanner.spans import Span

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from services.scanner.analytics import FundingStatistics
    from services.scanner.history_store import HistoryStore
    from services.scanner.instruments import InstrumentKey
    from services.scanner.market import VenueView
    from services.scanner.rules import ScanRules
    from services.scanner.slices import Slicer
    from services.scanner.statistics_memo import StatisticsMemo

# Histories analysed in one piece: two milliseconds of numpy for a month of hourly settlements.
_BATCH = 12
# Markets die one by one. When most of at least so many seem dead, the venue's clock or its history
# is wrong, and nothing is known of any of them.
_DOUBTFUL_COUNT = 3
_DOUBTFUL_SHARE = 0.5
_JITTER_MS = 180_000
_OUT_OF_TIME = (ExclusionReason.MARKET_DEAD, ExclusionReason.SETTLEMENT_AHEAD)


@dataclass(slots=True)
class VenueStudy:
    """Sound statistics of a venue, and what was left out. Mutable: filled batch by batch.

    `untold` are instruments that count as not looked at, and `missing_parts` says why.
    """

    statistics: dict[InstrumentKey, FundingStatistics] = field(default_factory=dict)
    exclusions: list[Exclusion] = field(default_factory=list)
    untold: set[InstrumentKey] = field(default_factory=set)
    missing_parts: list[str] = field(default_factory=list)
    analysed_count: int = 0


async def study_venue(
    view: VenueView,
    store: HistoryStore,
    malformed: Mapping[str, str],
    unread: Collection[str],
    needed: Collection[str],
    rules: ScanRules,
    slicer: Slicer,
    memo: StatisticsMemo,
) -> VenueStudy:
    """Analyse what is held of the venue's perpetuals, giving way to the event loop between batches.

    Symbols that were not needed were not asked for and are passed over. Symbols with damaged or
    unread history are left out: their figures would mislead. `memo` is this venue's own.
    """
    memo.forget_all_but({view.key(symbol) for symbol in view.symbols})
    study = VenueStudy()
    batch: list[Candidate] = []
    for symbol in sorted(view.symbols):
        key = view.key(symbol)
        rows = store.settlements(view.venue, symbol)
        if symbol in malformed:
            study.exclusions.append(
                Exclusion(key, ExclusionReason.DATA_MALFORMED, malformed[symbol])
            )
        elif symbol in unread:
            detail = "its recent history could not be read"
            study.exclusions.append(Exclusion(key, ExclusionReason.HISTORY_MISSING, detail))
        # What is held of symbols that were not asked for may be old: no finding either way.
        elif symbol in needed:
            word = interval_hours(view, symbol)
            batch.append(Candidate(key, rows, word, _predicted_rate(view, symbol)))
        if len(batch) == _BATCH:
            _analyse_batch(batch, view, rules, study, memo)
            batch.clear()
        await slicer.pause()
    _analyse_batch(batch, view, rules, study, memo)
    await _doubt(study, view, store, needed)
    return study


def _analyse_batch(
    batch: list[Candidate],
    view: VenueView,
    rules: ScanRules,
    study: VenueStudy,
    memo: StatisticsMemo,
) -> None:
    now = present(view)
    statistics, exclusions = sound_statistics(batch, now.timestamp() / 60, rules, memo)
    study.statistics |= statistics
    study.exclusions += exclusions
    study.analysed_count += len(batch)


async def _doubt(
    study: VenueStudy, view: VenueView, store: HistoryStore, needed: Collection[str]
) -> None:
    """Take back the verdict on markets that seem dead, or ahead of time, nearly all at once."""
    late = {
        each.instrument
        for each in study.exclusions
        if each.reason in _OUT_OF_TIME and each.instrument.symbol in needed
    }
    if len(late) < _DOUBTFUL_COUNT or len(late) <= _DOUBTFUL_SHARE * len(needed):
        return
    now = present(view)
    study.untold |= late
    study.missing_parts.append(
        f"{view.venue}: {len(late)} of {len(needed)} markets have no settlement that fits its time "
        f"{now:%Y-%m-%d %H:%M} UTC; its clock or its history is wrong"
    )
    # That nothing settled since was learnt of the same clock: believed, it would never be asked
    # again, and the markets would stay dead when the clock is right.
    last = max(int(store.settlements(each.venue, each.symbol).minutes[-1]) for each in late)
    await store.prune(view.venue, Span(0, last * MINUTE_MS + _JITTER_MS))


def _predicted_rate(view: VenueView, symbol: str) -> float | None:
    row = view.rates.get(symbol)
    return float(row.rate) if row is not None and row.rate is not None else None
