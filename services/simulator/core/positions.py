"""Positions in linear perpetuals: entry price, profit, margins, liquidation price.

Formulas follow the venue's documentation of cross margin in one asset:
liquidation price = (wallet - other maintenance + other unrealized - signed quantity x entry)
/ (|quantity| x maintenance ratio - signed quantity).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from services.simulator.core.money import ZERO
from services.simulator.core.orders import PositionSide


# Not frozen: the venue keeps one row per symbol and side and changes it with every fill.
@dataclass(slots=True)
class Position:
    """A position; `quantity` is signed base units, long above zero."""

    symbol: str
    side: PositionSide
    quantity: Decimal = ZERO
    entry_price: Decimal = ZERO
    realized: Decimal = ZERO
    update_time: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def notional(self, mark: Decimal) -> Decimal:
        """Return signed quantity times mark price."""
        return self.quantity * mark

    def unrealized(self, mark: Decimal) -> Decimal:
        """Return the profit of closing at the mark price."""
        return self.quantity * (mark - self.entry_price)


def realized_by(position: Position, signed: Decimal, price: Decimal) -> Decimal:
    """Return the profit that trading `signed` base units at `price` realizes."""
    if not position.quantity or (position.quantity > 0) == (signed > 0):
        return ZERO
    closed = min(abs(signed), abs(position.quantity))
    direction = 1 if position.quantity > 0 else -1
    return closed * (price - position.entry_price) * direction


def apply(position: Position, signed: Decimal, price: Decimal, now: datetime) -> Decimal:
    """Trade `signed` base units into the position and return the profit realized."""
    realized = realized_by(position, signed, price)
    before = position.quantity
    after = before + signed
    if not after:
        position.entry_price = ZERO
    # opening, or turned over: the price of this trade is the entry
    elif before * after < 0 or not before:
        position.entry_price = price
    elif abs(after) > abs(before):
        position.entry_price = (before * position.entry_price + signed * price) / after
    # only now: the entry price above is reckoned from the position as it was
    position.quantity = after
    position.realized += realized
    position.update_time = now
    return realized


def exposure_increase(position: Position, signed: Decimal) -> Decimal:
    """Return by how many base units the absolute position grows, zero when it shrinks."""
    return max(ZERO, abs(position.quantity + signed) - abs(position.quantity))


def initial_margin(notional: Decimal, leverage: int) -> Decimal:
    """Return the collateral a notional binds."""
    return abs(notional) / leverage


def liquidation_price(
    position: Position,
    wallet: Decimal,
    maintenance_ratio: Decimal,
    other_maintenance: Decimal,
    other_unrealized: Decimal,
) -> Decimal:
    """Return the mark price at which the account is liquidated, zero when there is none."""
    quantity = position.quantity
    if not quantity:
        return ZERO
    equity = wallet - other_maintenance + other_unrealized - quantity * position.entry_price
    # below zero for a long, above for a short: the price lies on the losing side
    denominator = abs(quantity) * maintenance_ratio - quantity
    price = equity / denominator
    return max(price, ZERO)
