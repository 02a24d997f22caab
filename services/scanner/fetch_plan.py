"""What a scan asks of a venue, counted without asking: calls, the venue's requests, their weight.

Pure. A call goes to a connector; what the connector makes of it at the venue stands in the venue's
profile here: requests by what is read, their weight, and how many rows of history a request has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.scanner.instruments import InstrumentKind
from services.scanner.plan import HOUR_MS, HistoryNeed, bulk_tasks, history_tasks
from services.scanner.shortlist import leg_tasks
from services.scanner.tasks import (
    ReadBook,
    ReadDetail,
    ReadFees,
    ReadHistory,
    ReadRates,
    ReadSymbols,
    ReadTickers,
    VenueTask,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.scanner.instruments import InstrumentKey

_BOOK_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """The requests that one call becomes at the venue, and their weight together."""

    requests: int
    weight: int


@dataclass(frozen=True, slots=True)
class VenueProfile:
    """How a venue charges. `costs` by what is read; what is not named costs one request of one.

    `history_hours` is the longest span of one request for history, None where only its
    `history_rows` bound it. `history_weight` is that of one such request; it counts against an
    allowance of its own where `history_apart` is set.
    """

    kind: InstrumentKind
    costs: Mapping[type[VenueTask], Cost] = field(default_factory=dict)
    has_bulk_history: bool = False
    history_rows: int = 1000
    history_hours: float | None = None
    history_weight: int = 1
    history_apart: bool = False


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """Calls to the connector by what is read; requests and weight at the venue.

    `history_requests` are those of the requests that have an allowance of their own.
    """

    calls: Mapping[type[VenueTask], int]
    requests: int
    weight: int
    history_requests: int

    @property
    def call_count(self) -> int:
        """All calls."""
        return sum(self.calls.values())


# Symbols come from the connector's own listing, renewed beside the orders.
_LISTED = Cost(0, 0)
# Candles and open interest, the second with a price of its own.
_THREE = Cost(3, 3)

PROFILES: Mapping[str, VenueProfile] = {
    # rest-api.md: ticker/24hr of all 80, bookTicker of all 4, depth 5; tradeFee has all symbols.
    "binance": VenueProfile(
        InstrumentKind.SPOT,
        {
            ReadSymbols: _LISTED,
            ReadTickers: Cost(2, 84),
            ReadFees: Cost(1, 1),
            ReadBook: Cost(1, 5),
        },
    ),
    # USD-M: ticker/24hr of all 40, bookTicker of all 5, premiumIndex of all 10, commissionRate 20;
    # fundingRate and fundingInfo share 500 requests in five minutes.
    "binanceusdm": VenueProfile(
        InstrumentKind.PERPETUAL,
        {
            ReadSymbols: _LISTED,
            ReadTickers: Cost(2, 45),
            ReadRates: Cost(1, 10),
            ReadFees: Cost(1, 20),
            ReadBook: Cost(1, 5),
            ReadDetail: Cost(3, 7),
        },
        has_bulk_history=True,
        history_weight=0,
        history_apart=True,
    ),
    "bybit-linear": VenueProfile(
        InstrumentKind.PERPETUAL,
        {ReadSymbols: _LISTED, ReadDetail: _THREE},
        history_rows=200,
        history_hours=198,
    ),
    "okx-swap": VenueProfile(
        InstrumentKind.PERPETUAL,
        {ReadSymbols: _LISTED, ReadRates: Cost(2, 2), ReadDetail: _THREE},
        history_rows=100,
        history_hours=98,
        history_apart=True,
    ),
    "gate-swap": VenueProfile(
        InstrumentKind.PERPETUAL, {ReadSymbols: _LISTED, ReadDetail: _THREE}, history_hours=998
    ),
    "bitget-swap": VenueProfile(
        InstrumentKind.PERPETUAL,
        {ReadSymbols: _LISTED, ReadRates: Cost(2, 2), ReadDetail: _THREE},
        history_rows=100,
    ),
    # Info requests weigh 20, a list of candles more by its length, a book 2.
    "hyperliquid": VenueProfile(
        InstrumentKind.PERPETUAL,
        {
            ReadSymbols: _LISTED,
            ReadTickers: Cost(1, 20),
            ReadRates: Cost(1, 20),
            ReadFees: Cost(1, 20),
            ReadBook: Cost(1, 2),
            ReadDetail: Cost(3, 77),
        },
        history_rows=500,
        history_hours=498,
        history_weight=20,
    ),
}
"""Venues by code, as their documents and our connectors have it."""


def fetch_plan(
    profile: VenueProfile, need: HistoryNeed, shortlist: Sequence[InstrumentKey] = ()
) -> FetchPlan:
    """Return what one scan asks of a venue: bulk calls, the history it lacks, its shortlist."""
    tasks = (
        *bulk_tasks(need.venue, profile.kind),
        *(history_tasks(need) if profile.kind is InstrumentKind.PERPETUAL else ()),
        *leg_tasks(shortlist, _BOOK_DEPTH),
    )
    calls = Counter(type(task) for task in tasks)
    history = sum(_history_requests(profile, need, task) for task in _histories(tasks))
    others = [task for task in tasks if not isinstance(task, ReadHistory)]
    costs = [profile.costs.get(type(task), Cost(1, 1)) for task in others]
    return FetchPlan(
        calls=calls,
        requests=history + sum(cost.requests for cost in costs),
        weight=history * profile.history_weight + sum(cost.weight for cost in costs),
        history_requests=history if profile.history_apart else 0,
    )


def _histories(tasks: Iterable[VenueTask]) -> list[ReadHistory]:
    return [task for task in tasks if isinstance(task, ReadHistory)]


def _history_requests(profile: VenueProfile, need: HistoryNeed, task: ReadHistory) -> int:
    """Return the requests a reading of history becomes, by its rows and by its span."""
    # A reading in bulk is cut to a page where it is planned.
    if not task.symbol:
        return 1
    hours = (task.span.end_ms - task.span.start_ms) / HOUR_MS
    rows = hours / (need.intervals.get(task.symbol) or 1)
    by_rows = -int(-rows // profile.history_rows)
    by_span = -int(-hours // profile.history_hours) if profile.history_hours else 1
    return max(1, by_rows, by_span)
