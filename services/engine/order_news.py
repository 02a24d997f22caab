"""What venues tell of orders as it happens, handed to whoever owns the order's position."""

from __future__ import annotations

from collections.abc import Callable

from services.engine.order_ids import KEY_LENGTH
from services.engine.ports import OrderEvent


class OrderNews:
    """Implements `ports.OrderEvents`: the first part of an id names the position it belongs to.

    Nothing is kept: an event that nobody follows is told again by the answer to its order, or by
    the venue when it is asked.
    """

    def __init__(self) -> None:
        self._takers: dict[str, Callable[[OrderEvent], None]] = {}

    def follow(self, position_id: str, take: Callable[[OrderEvent], None]) -> None:
        """Hand the events of a position's orders to `take`, in place of whoever had them before."""
        self._takers[position_id] = take

    def unfollow(self, position_id: str) -> None:
        """Hand them to nobody any more."""
        self._takers.pop(position_id, None)

    def tell(self, event: OrderEvent) -> None:
        """Take one event of a venue; an order of somebody else is passed over."""
        take = self._takers.get(event.outcome.client_order_id[:KEY_LENGTH])
        if take is not None:
            take(event)
