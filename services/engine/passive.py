"""Passive entry: the lead rests post-only at the best price of its own side and is quoted anew.

A quote is replaced by taking it back first: the next one leaves only once the venue has said how
much the last one filled and that no more can. So there are never two live leads, and a fill that
crossed its cancel counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from services.engine.order_ids import client_order_id
from services.engine.orders import OrderClass, OrderPlan, OrderSide, OrderState
from services.engine.policy import EnginePolicy
from services.engine.position import OrderRecord, Position, opening_side
from services.engine.pricing import is_within, worst_price
from services.engine.sizing import floor_to_lot, meets_minimum
from services.engine.steps import QuoteStep, SendOrder, Watch, Withdraw

REFUSALS_UNTIL_END = 3
"""Quotes refused in a row after which no more are sent: the venue means it."""

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class QuoteFacts:
    """What a quoting decision takes besides the position.

    `best` is the best price on the lead's own side and `hedge_touch` what a hedge would meet, as
    read `view_age` ago (None: never). `resting` is the id of the lead that the venue has taken and
    not closed, as this run knows. `since_quote` is the time since the last quote left, `quoted_for`
    since the first.
    """

    best: Decimal | None = None
    hedge_touch: Decimal | None = None
    view_age: timedelta | None = None
    resting: str = ""
    since_quote: timedelta = timedelta(0)
    quoted_for: timedelta = timedelta(0)


def next_quote_step(
    position: Position, facts: QuoteFacts, policy: EnginePolicy, *, may_open: bool
) -> QuoteStep | None:
    """Return what the quoting lead does next; None where quoting is over and nothing is live.

    `may_open` is false when nothing new may be opened and when what has filled cannot be hedged.
    """
    live = _live_lead(position)
    is_over = not may_open or facts.quoted_for >= policy.passive_timeout
    if live is not None:
        # Unknown, or of an earlier run: taken back before anybody relies on what it does.
        if is_over or live.plan.client_order_id != facts.resting:
            return Withdraw(live.plan.client_order_id)
    elif is_over or _is_refused(position) or not _left(position):
        return None
    wait = policy.requote_interval - facts.since_quote
    if facts.view_age is None or facts.view_age >= policy.requote_interval:
        return Watch(timedelta(0))
    price = quote_price(position, facts, policy)
    if live is not None:
        is_in_place = price == live.plan.worst_price
        # A quote whose hedge has become too dear must not fill: no interval holds that up.
        if price is None or (not is_in_place and wait <= timedelta(0)):
            return Withdraw(live.plan.client_order_id)
    elif price is not None and (wait <= timedelta(0) or not _quotes(position)):
        return SendOrder(_plan(position, price))
    return Watch(policy.requote_interval - facts.view_age)


def first_quote(position: Position) -> OrderPlan | None:
    """Return the first quote, at the price of the entry's decision; None below the minimum."""
    return _plan(position, position.intent.lead_reference) if _left(position) else None


def quote_price(position: Position, facts: QuoteFacts, policy: EnginePolicy) -> Decimal | None:
    """Return the price to rest at: the best of the lead's own side, within its bound.

    None where a side of a book cannot be read, or where a hedge would already need more than its
    first bound: the fill of such a quote would be handed back at a loss.
    """
    intent, leg = position.intent, position.hedge_leg
    if facts.best is None or facts.hedge_touch is None:
        return None
    side, rules = opening_side(leg), position.rules(leg)
    bound = worst_price(side, intent.hedge_reference, policy.hedge_bound_ratios[0], rules.tick_size)
    if not is_within(side, facts.hedge_touch, bound):
        return None
    worst = intent.lead_worst_price
    is_buying = opening_side(position.lead_leg) is OrderSide.BUY
    return min(facts.best, worst) if is_buying else max(facts.best, worst)


def _quotes(position: Position) -> tuple[OrderRecord, ...]:
    return position.of(position.lead_leg, OrderClass.ENTRY)


def _live_lead(position: Position) -> OrderRecord | None:
    return next((r for r in _quotes(position) if not r.is_resolved), None)


def _is_refused(position: Position) -> bool:
    last = _quotes(position)[-REFUSALS_UNTIL_END:]
    return len(last) == REFUSALS_UNTIL_END and all(r.state is OrderState.REJECTED for r in last)


def _left(position: Position) -> Decimal:
    """Return the quantity of the next quote; 0 where the venue takes no order of what is left."""
    intent, rules = position.intent, position.rules(position.lead_leg)
    left = intent.quantity - sum((r.executed for r in _quotes(position)), _ZERO)
    quantity = floor_to_lot(min(left, intent.slice_quantity), rules.lot_size)
    return quantity if meets_minimum(quantity, intent.lead_reference, rules) else _ZERO


def _plan(position: Position, price: Decimal) -> OrderPlan:
    leg = position.lead_leg
    rules = position.rules(leg)
    attempt = position.next_attempt(leg, OrderClass.ENTRY)
    return OrderPlan(
        client_order_id(position.position_id, leg, OrderClass.ENTRY, attempt),
        rules.ref,
        leg,
        OrderClass.ENTRY,
        opening_side(leg),
        _left(position),
        price,
        use_margin=rules.use_margin,
        post_only=True,
    )
