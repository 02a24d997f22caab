"""Which rows of the journal may not take the room on a full disk that is kept for exits.

Once the reserve is given up, and until it can be made again, rows that open exposure are refused,
and all others are written into the room that it left.
"""

from __future__ import annotations

from services.engine.events import EntryIntended, Event, OrderIntended
from services.engine.orders import OrderClass


def opens_exposure(event: Event) -> bool:
    """Whether an event is there to have an order sent that makes a position larger."""
    match event:
        case EntryIntended():
            return True
        case OrderIntended(plan=plan):
            return plan.order_class is OrderClass.ENTRY
    return False
