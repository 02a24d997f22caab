"""Delta leak: a position at rest whose legs do not cancel."""

from __future__ import annotations

from services.engine.guard_facts import (
    GuardAction,
    GuardFinding,
    GuardLimits,
    PairAccount,
    PairMarket,
)
from services.engine.neutrality import is_neutral
from services.engine.position import Position

NAME = "delta_leak"


def guard_delta(
    position: Position, market: PairMarket, account: PairAccount, limits: GuardLimits
) -> tuple[GuardFinding, ...]:
    """Stop entries when a position at rest has a lot or more, beyond its dust, without a hedge.

    While a position moves, exposure is its drive's business and bounded by its budget.
    """
    residual, lot = position.residual, position.larger_lot
    if not position.is_settled or is_neutral(residual, lot, position.total_dust):
        return ()
    return (
        GuardFinding(
            NAME,
            position.position_id,
            position.symbol,
            GuardAction.TRIP,
            f"{residual} has no hedge, below {lot} beyond dust is allowed",
            figures=(("residual", residual), ("larger_lot", lot)),
        ),
    )
