"""One scan's view of the venues: the rows that bulk calls brought, by canonical symbol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from services.scanner.instruments import (
    InstrumentKey,
    InstrumentKind,
    RateRow,
    SymbolRow,
    TickerRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class VenueView:
    """What one venue answered. `fees` are taker fees by symbol; the key "" is the venue's fee for
    all.

    `malformed` names symbols with a row that could not be read, and what was wrong with it.
    """

    venue: str
    kind: InstrumentKind
    symbols: Mapping[str, SymbolRow]
    tickers: Mapping[str, TickerRow]
    received: datetime
    rates: Mapping[str, RateRow] = field(default_factory=dict)
    fees: Mapping[str, Decimal] = field(default_factory=dict)
    malformed: Mapping[str, str] = field(default_factory=dict)
    now: datetime | None = field(init=False, repr=False, compare=False)
    """The venue's own present, see `venue_now`."""

    def __post_init__(self) -> None:
        """Find the present once: every row of the venue is judged by it."""
        object.__setattr__(self, "now", _middle_stamp(self.rates.values()))

    def key(self, symbol: str) -> InstrumentKey:
        """Return the name of this venue's instrument of `symbol`."""
        return InstrumentKey(self.venue, symbol, self.kind)

    def taker_fee(self, symbol: str) -> Decimal | None:
        """Return the taker fee the venue told for `symbol`, or for all, or None."""
        return self.fees.get(symbol, self.fees.get(""))


def venue_now(view: VenueView) -> datetime | None:
    """Return the venue's own present: the middle stamp of its rates, None when it stamped none.

    The age of settlements is judged against this and not against our clock, which may run
    differently. The middle one, so that neither one row from the future nor one that stands still
    moves the time of all.
    """
    return view.now


def present(view: VenueView) -> datetime:
    """Return the venue's own present, or ours where it stamps nothing (spot venues tell no rates).

    Without a present its dead markets would live on.
    """
    return venue_now(view) or view.received


def interval_hours(view: VenueView, symbol: str) -> float | None:
    """Return the venue's word for the funding interval now, from its rates or its listing, or
    None.
    """
    rate, listed = view.rates.get(symbol), view.symbols.get(symbol)
    interval = rate.interval if rate is not None else None
    if interval is None and listed is not None:
        interval = listed.funding_interval
    return interval / _HOUR if interval is not None else None


def _middle_stamp(rows: Iterable[RateRow]) -> datetime | None:
    stamps = sorted(row.stamp for row in rows if row.stamp is not None)
    return stamps[len(stamps) // 2] if stamps else None
