"""Forced fills: a venue holds less of a leg than the ledger says, with no order of ours on it."""

from __future__ import annotations

from decimal import Decimal

from services.engine.guard_facts import (
    GuardAction,
    GuardFinding,
    GuardLimits,
    PairAccount,
    PairMarket,
)
from services.engine.instruments import LegSide
from services.engine.position import Position
from services.engine.views import PositionStatus

NAME = "forced_fill"


def guard_forced_fill(
    position: Position, market: PairMarket, account: PairAccount, limits: GuardLimits
) -> tuple[GuardFinding, ...]:
    """Close a position of which the venue took a lot or more: liquidated, deleveraged or by hand.

    A position that moves is left alone: its orders and the reading may cross.
    """
    if position.status is not PositionStatus.OPEN or position.unresolved():
        return ()
    findings = []
    for leg in LegSide:
        size, rules = account.legs[leg].size, position.rules(leg)
        if size is None or not rules.is_perpetual:
            continue
        sign = 1 if leg is LegSide.LONG else -1
        # A venue that holds more than we know of is a break of the books, not a forced fill.
        missing = position.held(leg) - max(sign * size, Decimal(0))
        if missing >= rules.lot_size:
            findings.append(
                GuardFinding(
                    NAME,
                    position.position_id,
                    position.symbol,
                    GuardAction.CLOSE,
                    f"the venue holds {missing} less of the {leg.value} leg than the ledger",
                    leg,
                    (("missing", missing), ("venue_size", size)),
                    # A venue's account may lag behind the fill that its order has told already.
                    needs_second_look=True,
                )
            )
    return tuple(findings)
