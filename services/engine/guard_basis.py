"""Basis stop: the legs' prices have moved apart against the position, and stayed there."""

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

NAME = "basis_stop"


def basis_of(long_price: Decimal, short_price: Decimal) -> Decimal:
    """Return (short - long) / long; a position gains when it falls."""
    return (short_price - long_price) / long_price


def entry_basis(position: Position) -> Decimal:
    """Return the basis that the entry was decided by."""
    intent = position.intent
    lead_is_long = position.lead_leg is LegSide.LONG
    long = intent.lead_reference if lead_is_long else intent.hedge_reference
    short = intent.hedge_reference if lead_is_long else intent.lead_reference
    return basis_of(long, short)


def guard_basis(
    position: Position, market: PairMarket, account: PairAccount, limits: GuardLimits
) -> tuple[GuardFinding, ...]:
    """Close when the last intervals all stood further from the entry's basis than allowed.

    One print that is off closes nothing: every sample of the stretch must agree.
    """
    bound, wanted = limits.max_adverse_basis, limits.basis_intervals
    recent = market.bases[-wanted:]
    if bound is None or len(recent) < wanted:
        return ()
    at_entry = entry_basis(position)
    mildest = min(recent) - at_entry
    if mildest < bound:
        return ()
    return (
        GuardFinding(
            NAME,
            position.position_id,
            position.symbol,
            GuardAction.CLOSE,
            f"the basis moved against the position by {mildest:.4f} or more, {wanted} times",
            figures=(("basis", recent[-1]), ("entry_basis", at_entry)),
        ),
    )
