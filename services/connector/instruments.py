"""Instruments of one venue: names, units and limits, per single coin of the base asset.

A venue that lists `1000PEPEUSDT` trades lots of a thousand coins; here it is `PEPEUSDT` with
`base_multiplier` 1000. A venue that counts contracts has a `contract_size` in its own base.
Every quantity and price of an `Instrument` is per single coin; `to_venue_*` and `to_base_*` cross.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from services.common.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime


class InstrumentKind(StrEnum):
    """What is traded; the wire's enum of the same name."""

    SPOT = "spot"
    PERPETUAL = "perpetual"


class TradingStatus(StrEnum):
    """Whether the venue matches orders now; the wire's enum of the same name."""

    TRADING = "TRADING"
    BREAK = "BREAK"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable thing; None means the venue sets no such limit or does not tell."""

    symbol: str
    exchange_symbol: str
    unified: str
    kind: InstrumentKind
    base_asset: str
    quote_asset: str
    settle_asset: str | None
    contract_size: Decimal
    base_multiplier: Decimal
    lot_size: Decimal
    tick_size: Decimal
    min_quantity: Decimal | None
    max_quantity: Decimal | None
    max_market_quantity: Decimal | None
    min_notional: Decimal | None
    status: TradingStatus
    margin_allowed: bool
    price_precision: int
    quantity_precision: int
    venue_base_asset: str
    market_lot_size: Decimal | None = None
    end_time: datetime | None = None

    @property
    def unit(self) -> Decimal:
        """Single coins in one unit of the venue's order quantity."""
        return self.contract_size * self.base_multiplier

    def to_base_quantity(self, amount: Decimal) -> Decimal:
        """Turn a quantity in the venue's own unit into single coins."""
        return amount * self.unit

    def to_venue_quantity(self, quantity: Decimal) -> Decimal:
        """Turn single coins into the venue's own unit."""
        return quantity / self.unit

    def to_base_price(self, price: Decimal) -> Decimal:
        """Turn a venue price into the price of a single coin."""
        return price / self.base_multiplier

    def to_venue_price(self, price: Decimal) -> Decimal:
        """Turn the price of a single coin into the venue's price."""
        return price * self.base_multiplier

    def to_asset(self, asset: str) -> str:
        """Return the canonical name of an asset the venue names (`1000PEPE` is `PEPE` here)."""
        return self.base_asset if asset == self.venue_base_asset else asset

    def to_asset_amount(self, asset: str, amount: Decimal) -> Decimal:
        """Return an amount of `asset` in single coins; only the base can have a multiplier."""
        return amount * self.base_multiplier if asset == self.venue_base_asset else amount


class InstrumentBook:
    """All instruments of a venue, by canonical symbol, the venue's name or ccxt's unified form."""

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self._by_symbol: dict[str, Instrument] = {}
        self._by_name: dict[str, Instrument] = {}
        self.replace(instruments)

    def replace(self, instruments: Iterable[Instrument]) -> None:
        """Take a freshly loaded set of instruments in one step, so that no reader sees half."""
        by_symbol = {instrument.symbol: instrument for instrument in instruments}
        by_name: dict[str, Instrument] = {}
        for instrument in by_symbol.values():
            by_name[instrument.unified] = instrument
            by_name[instrument.exchange_symbol] = instrument
        # Two assignments of whole dictionaries: readers hold the old or the new book.
        self._by_symbol, self._by_name = by_symbol, by_name

    def get(self, symbol: str) -> Instrument:
        """Return the instrument of any of its names.

        Raises NotFoundError with reason SYMBOL_NOT_FOUND when the venue has none of that name.
        """
        found = self.find(symbol)
        if found is None:
            raise NotFoundError(
                f"no instrument {symbol[:64]!r} on this venue",
                reason="SYMBOL_NOT_FOUND",
                metadata={"symbol": symbol[:64]},
            )
        return found

    def find(self, symbol: str) -> Instrument | None:
        """Return the instrument of any of its names, None when there is none."""
        # Canonical first: a coin listed singly and by the thousand keeps one meaning per name.
        return self._by_symbol.get(symbol) or self._by_name.get(symbol)

    def find_exchange_symbol(self, exchange_symbol: str) -> Instrument | None:
        """Return the instrument the venue calls so (rows of bulk replies), else None."""
        return self._by_name.get(exchange_symbol)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __contains__(self, symbol: str) -> bool:
        return self.find(symbol) is not None
