"""Positions folded from a few events, for rules of risk and guards."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from services.engine import events as ev
from services.engine.instruments import InstrumentKind, InstrumentRules, LegSide
from services.engine.orders import (
    AssetAmount,
    OrderClass,
    OrderOutcome,
    OrderPlan,
    OrderSide,
)
from services.engine.position import Position, begin, fold, opening_side
from services.engine.views import PositionStatus
from tests.support.engine_rig import make_rules
from tests.support.virtual_clock import START

SPOT = make_rules("spot", InstrumentKind.SPOT, base_fee_ratio=Decimal(0))
PERP = make_rules("perp", InstrumentKind.PERPETUAL)


def entering(
    key: str = "p1",
    *,
    quantity: str = "1",
    at: datetime = START,
    long_rules: InstrumentRules = SPOT,
    short_rules: InstrumentRules = PERP,
) -> Position:
    """Return a position whose entry is journaled: the lead is long, both references are 100."""
    amount = Decimal(quantity)
    allowance = ev.OrderAllowance(LegSide.SHORT, OrderSide.SELL, amount, Decimal(99))
    return begin(
        ev.EntryIntended(
            key,
            at,
            long_rules,
            short_rules,
            LegSide.LONG,
            amount,
            amount,
            Decimal(100),
            Decimal("100.2"),
            Decimal(100),
            allowance,
        )
    )


def ordered(
    position: Position,
    leg: LegSide,
    order_class: OrderClass,
    *,
    quantity: str = "1",
    filled: str | None = None,
    price: str = "100",
    fee: str | None = None,
    after: timedelta = timedelta(0),
) -> Position:
    """Return the position after one more order; `filled` None leaves it in doubt.

    `fee` is in the quote asset, or in another one when it is written as "1 BNB".
    """
    opens = order_class in (OrderClass.ENTRY, OrderClass.HEDGE)
    side = opening_side(leg) if opens else opening_side(leg).opposite
    key = f"{position.position_id}{leg.value[0]}{order_class.value[0]}{len(position.orders):04d}"
    at = position.intent.at + after
    plan = OrderPlan(
        key,
        position.rules(leg).ref,
        leg,
        order_class,
        side,
        Decimal(quantity),
        Decimal(price),
    )
    position = fold(position, ev.OrderIntended(position.position_id, at, plan))
    if filled is None:
        return position
    amount = Decimal(filled)
    coin = "USDT" if fee is None or " " not in fee else fee.split()[1]
    fees = () if fee is None else (AssetAmount(coin, Decimal(fee.split()[0])),)
    outcome = OrderOutcome(key, True, amount, amount, Decimal(price), fees, amount * Decimal(price))
    return fold(position, ev.OrderObserved(position.position_id, at, leg, outcome))


def settled(
    position: Position,
    status: PositionStatus,
    reason: str = "",
    *,
    after: timedelta = timedelta(0),
) -> Position:
    """Return the position at rest."""
    at = position.intent.at + after
    return fold(position, ev.PositionSettled(position.position_id, at, status, reason))


def opened(
    key: str = "p1",
    *,
    quantity: str = "1",
    at: datetime = START,
    short_filled: str | None = None,
    long_rules: InstrumentRules = SPOT,
    short_rules: InstrumentRules = PERP,
) -> Position:
    """Return an open position: both legs filled at 100, without fees."""
    position = entering(
        key, quantity=quantity, at=at, long_rules=long_rules, short_rules=short_rules
    )
    position = ordered(
        position, LegSide.LONG, OrderClass.ENTRY, quantity=quantity, filled=quantity, fee="0"
    )
    hedged = short_filled if short_filled is not None else quantity
    position = ordered(
        position, LegSide.SHORT, OrderClass.HEDGE, quantity=quantity, filled=hedged, fee="0"
    )
    return settled(position, PositionStatus.OPEN)


def closed(key: str = "p1", *, at: datetime = START, gain: str = "0") -> Position:
    """Return a closed position that made `gain` on its long leg; it ended at `at`."""
    position = opened(key, at=at)
    position = fold(position, ev.ExitRequested(key, at, "CLOSE_REQUESTED"))
    price = str(100 + Decimal(gain))
    position = ordered(position, LegSide.LONG, OrderClass.EXIT, filled="1", price=price, fee="0")
    position = ordered(position, LegSide.SHORT, OrderClass.EXIT, filled="1", fee="0")
    return settled(position, PositionStatus.CLOSED)


def failed(key: str, reason: str, *, at: datetime = START) -> Position:
    """Return a position that ended flat for this reason, with nothing filled."""
    position = ordered(entering(key, at=at), LegSide.LONG, OrderClass.ENTRY, filled="0")
    return settled(position, PositionStatus.FLAT, reason)
