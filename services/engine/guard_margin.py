"""Margin guard: how much of a leg's margin balance the venue demands already."""

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

NAME = "margin_ratio"
UNIFIED_NAME = "unified_margin"


def margin_ratio(maintenance: Decimal | None, balance: Decimal | None) -> Decimal | None:
    """Return maintenance margin over margin balance; 1 where nothing is left to demand it of."""
    if maintenance is None or balance is None:
        return None
    if maintenance <= 0:
        return Decimal(0)
    # A balance eaten up has no ratio, and is the worst there is.
    return max(Decimal(1), maintenance) if balance <= 0 else maintenance / balance


def guard_margin(
    position: Position, market: PairMarket, account: PairAccount, limits: GuardLimits
) -> tuple[GuardFinding, ...]:
    """Halve at the warning ratio, close at the other.

    A unified account backs both legs and everything else on it, so its finding has a name of its
    own: what is closed there helps every position.
    """
    findings = []
    for leg in LegSide:
        ratio = account.legs[leg].margin_ratio
        if ratio is None or position.held(leg) <= 0:
            continue
        action = _action(ratio, limits)
        if action is not None:
            name = UNIFIED_NAME if account.legs[leg].unified else NAME
            findings.append(
                GuardFinding(
                    name,
                    position.position_id,
                    position.symbol,
                    action,
                    f"the venue of the {leg.value} leg demands {ratio:.4f} of the margin balance",
                    leg,
                    (("margin_ratio", ratio),),
                )
            )
    return tuple(findings)


def _action(ratio: Decimal, limits: GuardLimits) -> GuardAction | None:
    close, warn = limits.margin_close_ratio, limits.margin_warn_ratio
    if close is not None and ratio >= close:
        return GuardAction.CLOSE
    if warn is not None and ratio >= warn:
        return GuardAction.REDUCE
    return None
