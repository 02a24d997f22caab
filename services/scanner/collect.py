"""Answers of a scan's bulk readings, gathered into views of the venues that can be worked with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from services.common.call_errors import SERVICE_UNREACHABLE
from services.common.errors import OpensqtError, UnimplementedError
from services.scanner.instruments import InstrumentKind
from services.scanner.market import VenueView
from services.scanner.tasks import (
    ReadFees,
    ReadRates,
    ReadSymbols,
    ReadTickers,
    VenueTask,
    describe,
)
from services.scanner.venue_codec import Read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from services.scanner.instruments import RateRow, SymbolRow, TickerRow
    from services.scanner.task_runner import TaskEnd
    from services.scanner.venue_codec import Reading


@dataclass(frozen=True, slots=True)
class Markets:
    """Views of the venues that answered, the venues that did not, and what is missing, in words."""

    views: Mapping[str, VenueView]
    blind_venues: frozenset[str]
    missing_parts: tuple[str, ...]


@dataclass(slots=True)
class _Answers:
    """What one venue has answered so far. Mutable: filled answer by answer."""

    symbols: Read[SymbolRow] | None = None
    tickers: Read[TickerRow] | None = None
    rates: Read[RateRow] | None = None
    fees: Mapping[str, Decimal] = field(default_factory=dict)


def markets(
    ends: Iterable[TaskEnd[VenueTask, Reading]],
    kinds: Mapping[str, InstrumentKind],
    received: datetime,
) -> Markets:
    """Gather bulk answers. A venue without symbols, tickers or (perpetuals) rates is blind."""
    answers = {venue: _Answers() for venue in kinds}
    missing: list[str] = []
    for end in ends:
        if end.error is not None:
            # A venue that has no such figure is no failure: the settings' default stands in, and
            # is named.
            if not (isinstance(end.task, ReadFees) and isinstance(end.error, UnimplementedError)):
                missing.append(failure(end.task, end.error))
            continue
        _take(answers[end.task.venue], end.task, end.value)
    views = {venue: _view(venue, kind, answers[venue], received) for venue, kind in kinds.items()}
    seen = {venue: view for venue, view in views.items() if view is not None}
    return Markets(seen, frozenset(kinds.keys() - seen.keys()), tuple(missing))


def failure(task: VenueTask, error: Exception) -> str:
    """Return what is missing because of an error, in words for people, free of internals."""
    # Texts of our own errors are made for people; those of others may hold anything.
    known = isinstance(error, OpensqtError | TimeoutError)
    reason = f"{error}" if known and str(error) else type(error).__name__
    if isinstance(error, OpensqtError) and error.reason == SERVICE_UNREACHABLE:
        # The transport's own words are for programmers.
        reason = "its connector does not answer; does it run, and is this its address?"
    return f"{describe(task)}: {reason}"


def _take(answers: _Answers, task: VenueTask, value: Reading | None) -> None:
    match task:
        case ReadSymbols():
            answers.symbols = cast("Read[SymbolRow]", value)
        case ReadTickers():
            answers.tickers = cast("Read[TickerRow]", value)
        case ReadRates():
            answers.rates = cast("Read[RateRow]", value)
        case ReadFees():
            answers.fees = cast("Read[Decimal]", value).rows


def _view(
    venue: str, kind: InstrumentKind, answers: _Answers, received: datetime
) -> VenueView | None:
    symbols, tickers, rates = answers.symbols, answers.tickers, answers.rates
    # Listing and prices are what every pair needs; without them nothing of the venue is sound.
    if symbols is None or tickers is None:
        return None
    if kind is InstrumentKind.PERPETUAL and rates is None:
        return None
    known_rates = rates or Read({})
    return VenueView(
        venue=venue,
        kind=kind,
        symbols=symbols.rows,
        tickers=tickers.rows,
        received=received,
        rates=known_rates.rows,
        fees=answers.fees,
        malformed={**known_rates.malformed, **tickers.malformed, **symbols.malformed},
    )
