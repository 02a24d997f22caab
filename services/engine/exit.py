"""Exit and reduction of one leg, decided without a look at the other.

No leg waits for the other, and no failure of one re-opens the other: the only inputs are the leg's
own ledger quantity and its own orders.
"""

from __future__ import annotations

from decimal import Decimal

from services.engine.instruments import LegSide
from services.engine.orders import OrderClass
from services.engine.policy import EnginePolicy
from services.engine.position import Position
from services.engine.reduction import next_reduction
from services.engine.steps import BookDust, LegDone, LegStep, Resolve, Settle, Withdraw
from services.engine.views import PositionStatus

_ZERO = Decimal(0)


def next_exit_step(position: Position, leg: LegSide, policy: EnginePolicy) -> LegStep:
    """Return what the exit of this leg does next.

    What is closed is the ledger quantity of the position, never a wallet's balance. An unknown
    order of this leg is resolved first: its fill would change what is left.
    """
    unresolved = position.unresolved(leg)
    for key in unresolved:
        # A quote of the entry would rest for ever: only taken back does it tell what it filled.
        if position.orders[key].plan.post_only:
            return Withdraw(key)
    if unresolved:
        return Resolve(unresolved)
    if position.held(leg) < 0:
        # Never traded back: an order of the closing side would only go further beyond zero.
        return BookDust(leg, signed(leg, position.held(leg)), "BEYOND_ZERO")
    rest = remaining(position, leg)
    if rest <= 0:
        return LegDone()
    step = next_reduction(position, leg, rest, OrderClass.EXIT, policy)
    if step is not None:
        return step
    # A reduce leaves a small rest where it is: the leg goes on and the close will take it along.
    is_final = position.exit is None or position.exit.is_final
    if is_final or rest >= position.larger_lot:
        return BookDust(leg, signed(leg, rest), "REST_BELOW_MINIMUM")
    return LegDone()


def remaining(position: Position, leg: LegSide) -> Decimal:
    """Return the unsigned quantity still to be taken off the leg, without booked dust."""
    target = position.exit.targets[leg] if position.exit is not None else _ZERO
    return max(position.held(leg) - target, _ZERO)


def settle_exit(position: Position) -> Settle:
    """Return how a position ends once both legs are done."""
    if position.exit is not None and not position.exit.is_final:
        # Why it shrank stays readable where nobody asked for it: a leg that was taken in part.
        return Settle(PositionStatus.OPEN, position.exit.reason)
    hedged = any(r.executed > 0 for r in position.of(position.hedge_leg))
    ended = PositionStatus.CLOSED if position.was_open or hedged else PositionStatus.FLAT
    return Settle(ended, position.reason)


def signed(leg: LegSide, quantity: Decimal) -> Decimal:
    """Return a quantity in a leg's own direction as a signed one, long above 0."""
    return quantity if leg is LegSide.LONG else -quantity
