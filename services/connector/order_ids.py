"""The ids by which a caller may name an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.common.errors import InvalidFieldError
from services.connector.order_calls import OrderKey
from services.connector.venue_client_ids import to_venue_client_id

if TYPE_CHECKING:
    from services.connector.instruments import Instrument
    from services.connector.profile import VenueProfile

_MAX_LENGTH = 64


@dataclass(frozen=True, slots=True)
class OrderIds:
    """A client order id or the venue's own id; the client's goes first when both are given.

    `order_number` is set when only the number was given, and `exchange_order_id` is its digits.
    """

    client_order_id: str
    exchange_order_id: str
    venue_client_id: str
    use_margin: bool
    order_number: int = 0

    def key(self, instrument: Instrument) -> OrderKey:
        """Return how to ask the venue for an order that is not ours."""
        by_client = bool(self.client_order_id)
        return OrderKey(
            instrument,
            self.venue_client_id if by_client else "",
            # One name per question: given both, Binance refuses where they are not of one order.
            "" if by_client else self.exchange_order_id,
            self.use_margin,
        )


def read_order_ids(
    client_order_id: str,
    exchange_order_id: str,
    order_id: int,
    *,
    use_margin: bool,
    profile: VenueProfile,
    path: str = "",
) -> OrderIds:
    """Return the ids of a request; raise InvalidFieldError when none is given or one is broken."""
    for field, text in (
        ("client_order_id", client_order_id),
        ("exchange_order_id", exchange_order_id),
    ):
        if len(text) > _MAX_LENGTH or not (text.isascii() and text.isprintable()):
            raise InvalidFieldError(path + field, f"must be at most {_MAX_LENGTH} ASCII characters")
    if order_id < 0:
        raise InvalidFieldError(f"{path}order_id", "must not be negative")
    # The number goes last: for venues without numeric ids it is a hash, which they do not know.
    by_number = bool(order_id) and not client_order_id and not exchange_order_id
    if not exchange_order_id and order_id:
        exchange_order_id = str(order_id)
    if not client_order_id and not exchange_order_id:
        raise InvalidFieldError(
            f"{path}client_order_id", "give this, exchange_order_id or order_id"
        )
    return OrderIds(
        client_order_id=client_order_id,
        exchange_order_id=exchange_order_id,
        venue_client_id=to_venue_client_id(client_order_id, profile) if client_order_id else "",
        use_margin=use_margin,
        order_number=order_id if by_number else 0,
    )
