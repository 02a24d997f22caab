"""The market as the core sees it: a source, its books with consumption, and the market clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from services.simulator.core.clock import MarketClock
from services.simulator.core.errors import VenueError, unknown_symbol
from services.simulator.core.matching import Liquidity
from services.simulator.core.money import ZERO
from services.simulator.market.source import InstrumentSpec, Kind, MarketSource

LISTING_DELAY = timedelta(minutes=1)
MIN_LISTING_PACE = timedelta(seconds=0.5)
_ENDED: Final = {
    Kind.SPOT: frozenset({"BREAK"}),
    Kind.PERPETUAL: frozenset({"PRE_SETTLE", "SETTLING", "DELIVERING", "DELIVERED", "CLOSE"}),
}
"""Statuses by which a venue has taken an instrument off; others that are not TRADING may pass."""


def has_ended(spec: InstrumentSpec) -> bool:
    """Tell whether a status says that the venue has taken the instrument off."""
    return spec.status in _ENDED[spec.kind]


@dataclass(frozen=True, slots=True)
class _Table:
    specs: dict[str, InstrumentSpec]
    time: datetime
    wire_time: datetime


class Market:
    """Instruments and prices at the market clock's present instant."""

    def __init__(self, source: MarketSource, clock: MarketClock, liquidity: Liquidity) -> None:
        self.source = source
        self.clock = clock
        self.liquidity = liquidity
        self._tables: dict[Kind, _Table] = {}

    def now(self) -> datetime:
        """Return the present market instant."""
        return self.clock.now()

    def instruments(self, kind: Kind) -> dict[str, InstrumentSpec]:
        """Return the listed instruments by symbol.

        Listings and delistings show within a minute of market time, or half a second of wire time
        where market time runs so fast that minutes are shorter. The table is the same object as
        long as nothing in it has changed.
        """
        now, wire = self.now(), self.clock.wire_now()
        # making hundreds of rows on each order would be the most costly thing about it
        known = self._tables.get(kind)
        # an empty one is of a market that has not been read yet: it is not kept
        if (known is not None and known.specs) and (
            now - known.time < LISTING_DELAY or wire - known.wire_time < MIN_LISTING_PACE
        ):
            return known.specs
        specs = {spec.symbol: spec for spec in self.source.instruments(kind, now)}
        # the same object: answers made from it stay cached as long as it stays
        if known is not None and known.specs == specs:
            specs = known.specs
        self._tables[kind] = _Table(specs, now, wire)
        return specs

    def spec(self, kind: Kind, symbol: str) -> InstrumentSpec:
        """Return one instrument; raises VenueError -1121 when it is not listed."""
        spec = self.instruments(kind).get(symbol)
        if spec is None:
            raise unknown_symbol()
        return spec

    def is_trading(self, kind: Kind, symbol: str) -> bool:
        """Tell whether the symbol can be traded now."""
        spec = self.instruments(kind).get(symbol)
        return spec is not None and spec.status == "TRADING"

    def has_ended(self, kind: Kind, symbol: str) -> bool:
        """Tell whether the venue has taken the symbol off."""
        spec = self.instruments(kind).get(symbol)
        return spec is not None and has_ended(spec)

    def reference(self, kind: Kind, symbol: str) -> Decimal:
        """Return the price filters compare with: mark price of a perpetual, last price of spot."""
        now = self.now()
        if kind is Kind.PERPETUAL:
            return self.source.mark_price(symbol, now)
        return self.source.last_price(kind, symbol, now)

    def mark(self, symbol: str) -> Decimal:
        """Return the mark price of a perpetual."""
        return self.source.mark_price(symbol, self.now())

    def value_in_usdt(self, asset: str) -> Decimal:
        """Return what one unit of an asset is worth, zero when nobody prices it."""
        if asset in {"USDT", "USDC", "FDUSD"}:
            return Decimal(1)
        symbol = f"{asset}USDT"
        try:
            self.spec(Kind.SPOT, symbol)
        except VenueError:
            return ZERO
        return self.source.last_price(Kind.SPOT, symbol, self.now())
