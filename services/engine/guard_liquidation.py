"""Liquidation guard: how far the mark may go before a venue closes a leg by force."""

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

NAME = "liquidation_distance"


def liquidation_distance(leg: LegSide, mark: Decimal, liquidation_price: Decimal) -> Decimal:
    """Return the adverse move to liquidation as a fraction of the mark; below 0 is past it."""
    room = mark - liquidation_price if leg is LegSide.LONG else liquidation_price - mark
    return room / mark


def guard_liquidation(
    position: Position, market: PairMarket, account: PairAccount, limits: GuardLimits
) -> tuple[GuardFinding, ...]:
    """Stop entries at the warning distance, close at the other; a cause for each leg in danger.

    Closing is the answer even to one leg: the other is naked once the venue takes the first.
    """
    findings = []
    for leg in LegSide:
        mark, price = market.legs[leg].mark, account.legs[leg].liquidation_price
        if mark is None or price is None or mark <= 0 or position.held(leg) <= 0:
            continue
        distance = liquidation_distance(leg, mark, price)
        action = _action(distance, limits)
        if action is not None:
            findings.append(
                GuardFinding(
                    NAME,
                    position.position_id,
                    position.symbol,
                    action,
                    f"the {leg.value} leg is {distance:.4f} of its mark away from liquidation",
                    leg,
                    (("distance", distance), ("mark", mark), ("liquidation_price", price)),
                )
            )
    return tuple(findings)


def _action(distance: Decimal, limits: GuardLimits) -> GuardAction | None:
    close, warn = limits.liquidation_close_distance, limits.liquidation_warn_distance
    if close is not None and distance <= close:
        return GuardAction.CLOSE
    if warn is not None and distance <= warn:
        return GuardAction.TRIP
    return None
