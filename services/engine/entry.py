"""Entry, fill-scaled: the lead's confirmed net fill sizes the hedge, the rest goes back.

Cards, in the order they are tried: a hedge or unwind in flight is waited for, one in doubt asked
about; what the lead filled is hedged, the lead closed or not; a lead in flight is waited for, one
in doubt asked about; what the hedge lacks is unwound on the lead; what neither venue trades is
booked as dust; the next slice goes out; the position settles.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from services.engine.exit import signed
from services.engine.instruments import LegSide
from services.engine.neutrality import is_neutral
from services.engine.order_ids import client_order_id
from services.engine.orders import OrderClass, OrderPlan, OrderState
from services.engine.passive import QuoteFacts, first_quote, next_quote_step
from services.engine.policy import EnginePolicy
from services.engine.position import OrderRecord, Position, opening_side
from services.engine.pricing import is_within, worst_price
from services.engine.reduction import backoff, next_reduction
from services.engine.sizing import floor_to_lot, meets_minimum, scale_hedge_to_fills
from services.engine.steps import BookDust, EntryStep, Resolve, SendOrder, Settle, Wait, Withdraw
from services.engine.views import PositionStatus

NO_QUOTE: Final = QuoteFacts()
"""What a run knows of a resting lead where none rests."""
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """What an entry decision takes besides the position.

    `unhedged_for` is how long the present stretch of exposure has lasted; `no_more_slices` is true
    when nothing new may be opened: halted, stopping, or resumed after a crash. `in_flight` are the
    legs with an order whose call has not come back; its events may have told fills already.
    """

    unhedged_for: timedelta
    no_more_slices: bool = False
    in_flight: frozenset[LegSide] = frozenset()
    # Of a passive entry only.
    quote: QuoteFacts = NO_QUOTE


def next_entry_step(position: Position, facts: EntryFacts, policy: EnginePolicy) -> EntryStep:
    """Return what the entry does next; only confirmed fills count."""
    # One hedge in flight: its answer decides how much the next one is.
    if position.hedge_leg in facts.in_flight:
        return Wait()
    if _in_doubt(position):
        return _ask(position, facts)
    open_quantity = exposure(position)
    hedge = _hedge_quantity(position, open_quantity)
    # Before an unknown lead is asked about: what has filled is naked now.
    if hedge > 0 and _may_hedge(position, facts, policy):
        return SendOrder(hedge_plan(position, hedge, policy), _pause(position, policy))
    if facts.in_flight:
        return _ask(position, facts)
    if position.intent.passive:
        # What cannot be hedged any more must not grow.
        may_open = hedge == 0 and not facts.no_more_slices and not _unwinds(position)
        quoting = next_quote_step(position, facts.quote, policy, may_open=may_open)
        if quoting is not None:
            return quoting
    if position.unresolved():
        return _ask(position, facts)
    if not is_neutral(open_quantity, position.larger_lot):
        if open_quantity < 0:
            return _give_back(position, -open_quantity, policy)
        return _relieve(position, open_quantity, hedge, policy)
    is_taking = not position.intent.passive and not facts.no_more_slices
    if is_taking and (plan := next_lead_plan(position)) is not None:
        return SendOrder(plan)
    return _settle(position, policy)


def exposure(position: Position) -> Decimal:
    """Return the quantity of the lead that has no hedge, without booked dust.

    Below 0 where the hedge brought more than the lead has.
    """
    return position.held(position.lead_leg) - position.held(position.hedge_leg)


def hedge_plan(position: Position, quantity: Decimal, policy: EnginePolicy) -> OrderPlan:
    """Return the next hedge; its bound widens with every attempt that came short."""
    intent, leg = position.intent, position.hedge_leg
    rules, side = position.rules(leg), opening_side(leg)
    ratios = policy.hedge_bound_ratios
    tried = len(_short_hedges(position))
    price = worst_price(
        side, intent.hedge_reference, ratios[min(tried, len(ratios) - 1)], rules.tick_size
    )
    widest = intent.hedge.widest_price
    if widest is not None and not is_within(side, price, widest):
        # Settings may have been widened since; the durable intent allows only what it names.
        price = widest
    attempt = position.next_attempt(leg, OrderClass.HEDGE)
    return OrderPlan(
        client_order_id(position.position_id, leg, OrderClass.HEDGE, attempt),
        rules.ref,
        leg,
        OrderClass.HEDGE,
        side,
        quantity,
        price,
        use_margin=rules.use_margin,
    )


def next_lead_plan(position: Position) -> OrderPlan | None:
    """Return the next slice of the lead; None when all was asked or the last one came back short.

    A passive lead begins with its first quote. A short slice has emptied the book within the bound:
    asking again would chase the price.
    """
    intent, leg = position.intent, position.lead_leg
    sent = position.of(leg, OrderClass.ENTRY)
    if intent.passive:
        return None if sent else first_quote(position)
    # Also true of a slice that was refused: nothing new after a first failure.
    if any(r.executed < r.plan.quantity for r in sent) or position.of(leg, OrderClass.UNWIND):
        return None
    rules = position.rules(leg)
    left = intent.quantity - sum((r.plan.quantity for r in sent), _ZERO)
    quantity = floor_to_lot(min(left, intent.slice_quantity), rules.lot_size)
    if not meets_minimum(quantity, intent.lead_reference, rules):
        return None
    return OrderPlan(
        client_order_id(position.position_id, leg, OrderClass.ENTRY, len(sent)),
        rules.ref,
        leg,
        OrderClass.ENTRY,
        opening_side(leg),
        quantity,
        intent.lead_worst_price,
        use_margin=rules.use_margin,
    )


def _in_doubt(position: Position) -> bool:
    """Tell whether a hedge or an unwind is unknown: sending either again could do it twice."""
    unresolved = any(not r.is_resolved for r in _unwinds(position))
    return bool(position.unresolved(position.hedge_leg)) or unresolved


def _unwinds(position: Position) -> tuple[OrderRecord, ...]:
    return position.of(order_class=OrderClass.UNWIND)


def _ask(position: Position, facts: EntryFacts) -> EntryStep:
    """Ask for what is unknown; what is in flight is about to tell of itself.

    A lead that rests meanwhile would go on filling, with nobody to hedge it: it is taken back.
    """
    keys = tuple(
        r.plan.client_order_id
        for r in position.of()
        if not r.is_resolved and r.plan.leg not in facts.in_flight
    )
    resting = (key for key in keys if position.orders[key].plan.post_only)
    if (key := next(resting, None)) is not None:
        return Withdraw(key)
    return Resolve(keys) if keys else Wait()


def _hedge_quantity(position: Position, open_quantity: Decimal) -> Decimal:
    """Return the hedge the venue would take for what is open; 0 below its minimum.

    Never more than the durable intent allows all hedges together.
    """
    rules = position.rules(position.hedge_leg)
    side = opening_side(position.hedge_leg)
    # What is open already has the hedges' fills taken off.
    quantity = scale_hedge_to_fills(open_quantity, _ZERO, side, rules)
    hedged = sum((r.executed for r in _hedges(position)), _ZERO)
    allowed = floor_to_lot(position.intent.hedge.largest_quantity - hedged, rules.lot_size)
    quantity = min(quantity, allowed)
    price = position.intent.hedge_reference
    return quantity if meets_minimum(quantity, price, rules) else _ZERO


def _hedges(position: Position) -> tuple[OrderRecord, ...]:
    return position.of(position.hedge_leg, OrderClass.HEDGE)


def _short_hedges(position: Position) -> list[OrderRecord]:
    """Return the attempts, newest first, at what is open now.

    A slice has a budget of attempts of its own, and so has a fill of an open lead: after a hedge
    that filled whole nothing was left to hedge, and bounds start narrow again.
    """
    hedges: list[OrderRecord] = []
    for record in reversed(position.of()):
        is_hedge = record.plan.order_class is OrderClass.HEDGE
        if record.plan.order_class is OrderClass.ENTRY:
            break
        if is_hedge and record.executed >= record.plan.quantity > 0:
            break
        if is_hedge:
            hedges.append(record)
    return hedges


def _may_hedge(position: Position, facts: EntryFacts, policy: EnginePolicy) -> bool:
    tried = _short_hedges(position)
    # Once the way back has begun, a hedge would race the unwind for the same quantity.
    if _is_refused(tried) or _unwinds(position):
        return False
    largest = policy.unhedged_notional_budget
    unhedged = exposure(position) * position.intent.lead_reference
    in_budget = (
        len(tried) < policy.hedge_attempts
        and facts.unhedged_for < policy.unhedged_time_budget
        and (largest is None or unhedged <= largest)
    )
    # The first hedge leaves whatever time the lead took to be known: it is cheaper than the way
    # back.
    return in_budget or not tried


def _pause(position: Position, policy: EnginePolicy) -> timedelta:
    """Return the wait before the next hedge: what was refused for now is refused at once again."""
    refused = 0
    for record in _short_hedges(position):
        if record.state is not OrderState.REJECTED:
            break
        refused += 1
    return backoff(refused, policy)


def _is_refused(tried: list[OrderRecord]) -> bool:
    return any(r.state is OrderState.REJECTED and not r.retryable for r in tried)


def _relieve(
    position: Position, open_quantity: Decimal, hedge: Decimal, policy: EnginePolicy
) -> EntryStep:
    """Trade back what has no hedge, else hedge it at the widest bound, else give it up as dust."""
    lead = position.lead_leg
    unwind = next_reduction(position, lead, open_quantity, OrderClass.UNWIND, policy)
    if unwind is not None:
        return unwind
    tried = _short_hedges(position)
    if hedge > 0 and not _is_refused(tried):
        # Here only the hedge can help: it goes on past the budget, but does not hammer the venue.
        delay = backoff(len(tried), policy)
        return SendOrder(hedge_plan(position, hedge, policy), delay)
    return BookDust(lead, signed(lead, open_quantity), "FILL_BELOW_MINIMUM")


def _give_back(position: Position, surplus: Decimal, policy: EnginePolicy) -> EntryStep:
    """Trade back what the hedge brought above the lead, else book it: the lead is not enlarged."""
    leg, lead = position.hedge_leg, position.lead_leg
    if position.held(lead) < 0:
        # The way back took more than there was: the hedge did not bring it, so none of it goes.
        return BookDust(lead, signed(lead, position.held(lead)), "BEYOND_ZERO")
    unwind = next_reduction(position, leg, surplus, OrderClass.UNWIND, policy)
    return unwind or BookDust(leg, signed(leg, surplus), "HEDGE_ABOVE_NEED")


def _settle(position: Position, policy: EnginePolicy) -> EntryStep:
    lead, hedge = position.lead_leg, position.hedge_leg
    if position.quantity(hedge) != 0:
        return Settle(PositionStatus.OPEN, _open_reason(position))
    left = exposure(position)
    if left != 0:
        # Within the tolerance of neutrality, yet nothing is hedged: what trades goes back.
        unwind = next_reduction(position, lead, left, OrderClass.UNWIND, policy)
        return unwind or BookDust(lead, signed(lead, left), "REST_BELOW_MINIMUM")
    return Settle(PositionStatus.FLAT, _flat_reason(position))


def _open_reason(position: Position) -> str:
    unwound = position.of(position.lead_leg, OrderClass.UNWIND)
    return "HEDGE_SHORT_REST_UNWOUND" if unwound else ""


def _flat_reason(position: Position) -> str:
    if _unwinds(position):
        refused = (r.reason for r in _short_hedges(position) if r.state is OrderState.REJECTED)
        return f"HEDGE_FAILED_LEAD_UNWOUND {next(refused, '')}".strip()
    leads = position.of(order_class=OrderClass.ENTRY)
    if any(r.executed > 0 for r in leads):
        return "FILL_BELOW_MINIMUM"
    rejected = next((r.reason for r in leads if r.state is OrderState.REJECTED), "")
    return f"LEAD_REJECTED {rejected}".strip() if rejected else "LEAD_NOT_FILLED"
