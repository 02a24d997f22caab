"""What entries that are under way will still take of an account's free funds.

A venue locks funds when an order arrives. Two entries that are checked at the same moment would
each find all of them free; the second's hedge would be refused then, and its lead unwound at a
loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from services.engine.instruments import InstrumentRules, LegSide
from services.engine.position import Position
from services.engine.sizing import gross_up

_ZERO = Decimal(0)


def funds_needed(rules: InstrumentRules, quantity: Decimal, price: Decimal) -> Decimal:
    """Return what opening so much of a leg takes of its quote asset: price or margin, and fee."""
    ratio = rules.initial_margin_ratio if rules.is_perpetual else Decimal(1)
    gross = gross_up(quantity, rules.base_fee_ratio)
    return gross * price * (ratio + rules.taker_fee_ratio)


def claimed_funds(
    exchange: str, quote_asset: str, before: Iterable[Position], now: Iterable[Position]
) -> Decimal:
    """Return what entries may still take of funds that were read between two looks at the ledger.

    What was held at the first look has left the free funds by then. What filled since counts in
    full, although some of it may have left them: too little is entered at worst, never too much.
    """
    known = {position.position_id: position for position in before}
    total = _ZERO
    for position in now:
        first = known.get(position.position_id)
        if not _is_entering(position if first is None else first):
            continue
        for leg in LegSide:
            rules = position.rules(leg)
            if (rules.ref.exchange, rules.quote_asset) == (exchange, quote_asset):
                quantity = position.intent.quantity - _taken(first, leg)
                total += funds_needed(rules, max(quantity, _ZERO), _dearest(position, leg))
    return total


def _is_entering(position: Position) -> bool:
    return not position.entry_settled and position.exit is None


def _taken(first: Position | None, leg: LegSide) -> Decimal:
    if first is None:
        return _ZERO
    held = abs(first.quantity(leg))
    if not (first.intent.passive and leg is first.lead_leg):
        return held
    # A lead that rests has its funds locked for as long as it does.
    resting = (r.plan.quantity - r.executed for r in first.of(leg) if not r.is_resolved)
    return held + sum(resting, _ZERO)


def _dearest(position: Position, leg: LegSide) -> Decimal:
    intent = position.intent
    if leg is position.lead_leg:
        return max(intent.lead_reference, intent.lead_worst_price)
    return max(intent.hedge_reference, intent.hedge.widest_price or _ZERO)
