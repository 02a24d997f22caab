"""Making one leg smaller: how much next, how far from the touch, after what wait.

Serves exits, reductions and unwinds alike: the same attempt series with an escalating bound.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from services.engine.instruments import InstrumentRules, LegSide
from services.engine.order_ids import client_order_id
from services.engine.orders import OrderClass, OrderPlan, OrderSide, OrderState
from services.engine.policy import EnginePolicy
from services.engine.position import OrderRecord, Position, opening_side
from services.engine.pricing import worst_price
from services.engine.sizing import floor_to_lot, meets_minimum, order_quantity
from services.engine.steps import WorkDown

REJECTIONS_UNTIL_DUST = 2
"""Rejections in a row after which a rest below the minimum notional is given up."""


def closing_side(leg: LegSide) -> OrderSide:
    """Return the side that makes a leg smaller."""
    return opening_side(leg).opposite


def attempts(position: Position, leg: LegSide, order_class: OrderClass) -> tuple[OrderRecord, ...]:
    """Return the orders of this pass that make the leg smaller, oldest first."""
    return tuple(r for r in position.of(leg, order_class) if r.pass_number == position.pass_number)


def next_reduction(
    position: Position, leg: LegSide, rest: Decimal, order_class: OrderClass, policy: EnginePolicy
) -> WorkDown | None:
    """Return the next order that takes at most `rest` (unsigned) off the leg.

    None where the venue does not trade what is left: the caller books it as dust.
    """
    rules = position.rules(leg)
    quantity = order_quantity(rest, closing_side(leg), rules)
    tried = attempts(position, leg, order_class)
    # A part filled counts as failed: the book within that bound is used up. A slice that filled
    # whole has shown that it is not: the next one starts at the first bound.
    failed = _trailing(tried, lambda r: r.executed < r.plan.quantity)
    goes_market = policy.exit_market_fallback and failed >= len(policy.exit_bound_ratios)
    # Venues bound market orders lower than limit orders; above it the exit would be refused.
    if goes_market and rules.max_market_quantity is not None:
        quantity = min(quantity, floor_to_lot(rules.max_market_quantity, rules.lot_size))
    price = reference_price(position, leg)
    if order_class is OrderClass.EXIT:
        quantity = _slice(quantity, price, rules, policy)
    if not meets_minimum(quantity, price, rules, reduce_only=True):
        return None
    refused = _trailing(tried, lambda r: r.state is OrderState.REJECTED and not r.retryable)
    # The venue judges a limit order at its own price, which may have moved far since the entry.
    judged_at = min(price, _last_limit(tried, price))
    if refused >= REJECTIONS_UNTIL_DUST and quantity * judged_at < rules.min_notional:
        return None
    return WorkDown(leg, quantity, failed, _delay(tried, policy))


def _slice(
    quantity: Decimal, price: Decimal, rules: InstrumentRules, policy: EnginePolicy
) -> Decimal:
    """Return the part of a reduction that goes next: all of it, or one slice."""
    if policy.max_exit_slice_notional is None or price <= 0:
        return quantity
    part = floor_to_lot(policy.max_exit_slice_notional / price, rules.lot_size)
    # A slice that is not traded, or leaves what is not, would end in dust what can be sold whole.
    can_part = meets_minimum(part, price, rules) and meets_minimum(quantity - part, price, rules)
    return part if can_part else quantity


def follows_refusal(position: Position, leg: LegSide) -> bool:
    """Tell whether the venue refused for good the last order that was to make the leg smaller.

    It refuses so what is too small, and what is not there: only its holdings tell which.
    """
    closing = [r for r in position.of(leg) if r.plan.side is closing_side(leg)]
    last = closing[-1] if closing else None
    return last is not None and last.state is OrderState.REJECTED and not last.retryable


def reference_price(position: Position, leg: LegSide) -> Decimal:
    """Return the price of the entry's decision: what stands in where no book can be read."""
    intent = position.intent
    return intent.lead_reference if leg is intent.lead_leg else intent.hedge_reference


def reduction_plan(
    position: Position,
    step: WorkDown,
    order_class: OrderClass,
    touch: Decimal | None,
    policy: EnginePolicy,
) -> OrderPlan:
    """Return the order of a step: the bound widens with every failed attempt, then none at all.

    Reduce-only on perpetuals. `touch` None (no book) takes the entry's reference: an
    immediate-or-cancel order at a bad limit fills nothing, which costs only an attempt.
    """
    rules = position.rules(step.leg)
    side = closing_side(step.leg)
    price: Decimal | None = None
    if not (policy.exit_market_fallback and step.failed_count >= len(policy.exit_bound_ratios)):
        bound = _bound(position, step.failed_count, policy)
        reference = touch if touch is not None else reference_price(position, step.leg)
        price = worst_price(side, reference, bound, rules.tick_size)
    # Counted over all passes: a new exit must not take up the ids of an old one.
    attempt = position.next_attempt(step.leg, order_class)
    return OrderPlan(
        client_order_id=client_order_id(position.position_id, step.leg, order_class, attempt),
        instrument=rules.ref,
        leg=step.leg,
        order_class=order_class,
        side=side,
        quantity=step.quantity,
        worst_price=price,
        reduce_only=rules.is_perpetual,
        use_margin=rules.use_margin,
    )


def backoff(empty_count: int, policy: EnginePolicy) -> timedelta:
    """Return the wait after so many attempts in a row filled nothing: doubling, bounded."""
    if empty_count == 0:
        return timedelta(0)
    doubled = policy.exit_backoff_first * (1 << min(empty_count - 1, 16))
    return min(doubled, policy.exit_backoff_last)


def _bound(position: Position, failed: int, policy: EnginePolicy) -> Decimal:
    ratios = policy.exit_bound_ratios
    ratio = ratios[min(failed, len(ratios) - 1)]
    asked = position.exit.bound_ratio if position.exit is not None else None
    if asked is None:
        return ratio
    # The caller's bound stands for the first attempt and is never narrowed by the series.
    return asked if failed == 0 else max(asked, ratio)


def _last_limit(tried: tuple[OrderRecord, ...], default: Decimal) -> Decimal:
    limits = (r.plan.worst_price for r in reversed(tried) if r.plan.worst_price is not None)
    return next(limits, default)


def _delay(tried: tuple[OrderRecord, ...], policy: EnginePolicy) -> timedelta:
    return backoff(_trailing(tried, lambda r: r.executed == 0), policy)


def _trailing(tried: tuple[OrderRecord, ...], holds: Callable[[OrderRecord], bool]) -> int:
    count = 0
    for record in reversed(tried):
        if not holds(record):
            break
        count += 1
    return count
