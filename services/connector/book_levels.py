"""Levels of an order book, as every venue and ccxt write them, to the contract's message. Pure."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.common.codec import from_millis, to_timestamp
from services.connector.row_numbers import price_wire, quantity_wire
from services.connector.venue_numbers import venue_decimal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.instruments import Instrument


def to_book(
    row: Mapping[str, Any], instrument: Instrument, observed: int
) -> exchange_pb2.GetOrderBookResponse:
    """Return a book of `bids` and `asks`, pairs of price and quantity in the venue's units.

    Best level first; levels without quantity are left out. `observed` is in Unix milliseconds.
    Raises ValueError, KeyError or TypeError on a malformed level.
    """
    return exchange_pb2.GetOrderBookResponse(
        symbol=instrument.symbol,
        bids=_levels(row["bids"], instrument, highest_first=True),
        asks=_levels(row["asks"], instrument, highest_first=False),
        observe_time=to_timestamp(from_millis(observed)),
    )


def _levels(
    rows: Any, instrument: Instrument, *, highest_first: bool
) -> list[resources_pb2.OrderBookLevel]:
    levels = [
        (venue_decimal(one[0], "price"), venue_decimal(one[1], "quantity"), one) for one in rows
    ]
    # Sorted here: nothing promises the order, and the first level is taken for the best.
    held = [level for level in levels if level[0] > 0 and level[1] > 0]
    held.sort(key=itemgetter(0), reverse=highest_first)
    return [
        resources_pb2.OrderBookLevel(
            price=price_wire(one[0], instrument), quantity=quantity_wire(one[1], instrument)
        )
        for _, _, one in held
    ]
