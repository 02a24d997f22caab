"""What a decision may answer: the next step of a position or of one leg's exit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from services.engine.instruments import LegSide
from services.engine.orders import OrderPlan
from services.engine.views import PositionStatus


@dataclass(frozen=True, slots=True)
class SendOrder:
    """Send this order, after `delay`."""

    plan: OrderPlan
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class WorkDown:
    """Make a leg smaller by an order of `quantity`, priced from a fresh touch.

    `failed_count` is the number of attempts of this pass that did not fill whole: it widens the
    bound. `delay` is to be waited before the send.
    """

    leg: LegSide
    quantity: Decimal
    failed_count: int
    delay: timedelta


@dataclass(frozen=True, slots=True)
class Resolve:
    """Ask the venue for these orders before anything else is decided."""

    client_order_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be decided before an order in flight is answered or its venue tells of it."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Let the resting lead be for `delay`, then look at it and at both books again."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take the resting lead back and learn what it filled."""

    client_order_id: str


@dataclass(frozen=True, slots=True)
class BookDust:
    """Give up a signed rest of a leg that cannot be traded."""

    leg: LegSide
    quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Settle:
    """The position is at rest."""

    status: PositionStatus
    reason: str


@dataclass(frozen=True, slots=True)
class LegDone:
    """Nothing more can be done for this leg in this pass."""


QuoteStep = SendOrder | Watch | Withdraw
EntryStep = QuoteStep | WorkDown | Resolve | Wait | BookDust | Settle
LegStep = WorkDown | Resolve | Withdraw | BookDust | LegDone
