"""One order placed on a canned venue, for tests of what is sent."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from services.connector.order_types import OrderIntent, OrderType, Side, TimeInForce
from services.connector.venue_orders import VenueOrders
from tests.support.canned_markets import MARKETS
from tests.support.canned_venue import Answer, CannedVenue, open_canned, open_venue

if TYPE_CHECKING:
    from pathlib import Path

    from services.connector.send_judgement import SendResult


def intent_of(**changes: Any) -> OrderIntent:
    """Return an order for two thousandths of a bitcoin."""
    fields: dict[str, Any] = {
        "client_order_id": "trend-1",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "time_in_force": TimeInForce.IOC,
        "quantity": Decimal("0.002"),
        "price": Decimal(38026),
        **changes,
    }
    return OrderIntent(**fields)


async def place_canned(
    code: str,
    folder: Path,
    intent: OrderIntent,
    answers: dict[str, Answer],
    venue_id: str = "trend-1",
) -> tuple[SendResult, CannedVenue]:
    """Load markets, place one order under `venue_id`; return the verdict and who was asked.

    `answers` are by method and path; those of the markets are there.
    """
    async with open_canned(folder) as (canned, session):
        canned.answers = {**MARKETS[code], **answers}
        async with open_venue(code, session) as venue:
            only = next(iter(venue.instruments))
            result = await VenueOrders(venue).place(intent, only, venue_id)
    return result, canned
