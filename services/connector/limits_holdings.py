"""What this ledger's own fills hold of a symbol: the proof that an order takes back no more. Pure.

Orders under way count as if the worst came of them: what reduces is taken to fill whole, what adds
only by what has filled. Fees taken in the coin itself are left out: the venue keeps the balance.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from services.connector.order_types import Side

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.connector.order_types import OrderIntent


@dataclass(frozen=True, slots=True)
class OwnOrder:
    """One order of the ledger; `executed` as far as known, `is_closed` when it fills no more."""

    client_order_id: str
    side: Side
    quantity: Decimal
    executed: Decimal
    is_closed: bool
    use_margin: bool


def left_to_reduce(intent: OrderIntent, orders: Iterable[OwnOrder]) -> Decimal:
    """Return how much an order of that side and account may still take back; at least zero."""
    opened = taken = Decimal(0)
    for one in orders:
        if one.use_margin != intent.use_margin or one.client_order_id == intent.client_order_id:
            continue
        if one.side is not intent.side:
            opened += one.executed
        else:
            taken += one.executed if one.is_closed else one.quantity
    return max(opened - taken, Decimal(0))
