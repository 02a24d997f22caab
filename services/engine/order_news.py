"""What venues tell of orders as it happens, handed to whoever owns the order's position."""

from __future__ import annotations

from collections.abc import Callable

from services.engine.leg_gone import ForcedFill
from services.engine.order_ids import KEY_LENGTH
from services.engine.ports import OrderEvent


class OrderNews:
    """Implements `ports.OrderEvents`: the first part of an id names the position it belongs to.

    Nothing is kept: an event that nobody follows is told again by the answer to its order, or by
    the venue when it is asked.
    """

    def __init__(self) -> None:
        self._takers: dict[str, Callable[[OrderEvent], None]] = {}
        self._others: Callable[[OrderEvent], None] = _pass_over
        self._forced: Callable[[ForcedFill], None] = _pass_over

    def follow(self, position_id: str, take: Callable[[OrderEvent], None]) -> None:
        """Hand the events of a position's orders to `take`, in place of whoever had them before."""
        self._takers[position_id] = take

    def unfollow(self, position_id: str) -> None:
        """Hand them to nobody any more."""
        self._takers.pop(position_id, None)

    def follow_rest(
        self, others: Callable[[OrderEvent], None], forced: Callable[[ForcedFill], None]
    ) -> None:
        """Hand over what no drive follows: orders of other positions or of nobody, forced fills."""
        self._others, self._forced = others, forced

    def tell(self, event: OrderEvent) -> None:
        """Take one event of a venue."""
        take = self._takers.get(event.outcome.client_order_id[:KEY_LENGTH], self._others)
        take(event)

    def tell_forced(self, fill: ForcedFill) -> None:
        """Take one forced fill of a venue, of whoever's position."""
        self._forced(fill)


def _pass_over(_: object) -> None:
    """Leave it to the next reading of the venue."""
