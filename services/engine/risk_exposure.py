"""What is on at worst, and what one more entry would make of it.

Worst case for limits: an order in doubt that makes a leg larger counts as filled whole, one that
makes it smaller as not filled. Hedges are sized by confirmed fills alone (`entry.exposure`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from services.engine.instruments import InstrumentRef, LegSide
from services.engine.orders import OrderClass
from services.engine.position import Position
from services.engine.risk_failure import CheckFailure
from services.engine.risk_limits import RiskLimits

_ZERO = Decimal(0)
_OPENING = frozenset({OrderClass.ENTRY, OrderClass.HEDGE})
Marks = Mapping[InstrumentRef, Decimal]


@dataclass(frozen=True, slots=True)
class LegExposure:
    """One leg at worst: unsigned quantity in base units and its notional in quote asset."""

    position_id: str
    leg: LegSide
    ref: InstrumentRef
    quantity: Decimal
    notional: Decimal


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """What an entry would add at its worst prices: per leg the whole and the largest order."""

    refs: Mapping[LegSide, InstrumentRef]
    leg_notionals: Mapping[LegSide, Decimal]
    order_notionals: Mapping[LegSide, Decimal]


def worst_case_quantity(position: Position, leg: LegSide) -> Decimal:
    """Return the most that a leg may hold now, unsigned, in base units."""
    held = abs(position.quantity(leg))
    # Until the entry rests, every slice that was asked may still come, sent or not.
    if not position.entry_settled and position.exit is None:
        return max(held, position.intent.quantity)
    doubtful = sum(
        (
            record.plan.quantity - record.executed
            for record in position.of(leg)
            if record.plan.order_class in _OPENING and not record.is_resolved
        ),
        _ZERO,
    )
    return held + doubtful


def leg_price(position: Position, leg: LegSide, marks: Marks) -> Decimal:
    """Return what a leg is valued at: its mark, else what the entry was decided by."""
    mark = marks.get(position.rules(leg).ref)
    if mark is not None:
        return mark
    intent = position.intent
    return intent.lead_reference if leg is intent.lead_leg else intent.hedge_reference


def leg_exposures(positions: Iterable[Position], marks: Marks) -> tuple[LegExposure, ...]:
    """Return every leg that may hold something, at worst."""
    found = []
    for position in positions:
        for leg in LegSide:
            # Nothing is in doubt in a closed position; its dust is too small to trade.
            quantity = _ZERO if position.status.is_final else worst_case_quantity(position, leg)
            if quantity > 0:
                notional = quantity * leg_price(position, leg, marks)
                ref = position.rules(leg).ref
                found.append(LegExposure(position.position_id, leg, ref, quantity, notional))
    return tuple(found)


def pair_notional(rows: Iterable[LegExposure]) -> Decimal:
    """Return the sum over positions of the dearer leg's notional, as bounds of pairs count it."""
    largest: dict[str, Decimal] = {}
    for row in rows:
        largest[row.position_id] = max(largest.get(row.position_id, _ZERO), row.notional)
    return sum(largest.values(), _ZERO)


def check_exposure(
    planned: PlannedEntry, held: Iterable[LegExposure], limits: RiskLimits
) -> tuple[CheckFailure, ...]:
    """Check the bounds per order and per venue, with the entry counted as filled whole."""
    failures = []
    on_venues: dict[str, Decimal] = {}
    for row in held:
        on_venues[row.ref.exchange] = on_venues.get(row.ref.exchange, _ZERO) + row.notional
    for leg, ref in planned.refs.items():
        order, bound = planned.order_notionals[leg], limits.max_order_notional
        if bound is not None and order > bound:
            text = f"an order of {order:.2f} is above max_order_notional, {bound}"
            failures.append(CheckFailure("ORDER_NOTIONAL_LIMIT", leg, text))
        # Both legs may be on one venue: the second is judged with the first in it.
        total = on_venues.get(ref.exchange, _ZERO) + planned.leg_notionals[leg]
        on_venues[ref.exchange] = total
        bound = limits.max_venue_notional
        if bound is not None and total > bound:
            text = f"{total:.2f} on {ref.exchange} is above max_venue_notional, {bound}"
            failures.append(CheckFailure("VENUE_NOTIONAL_LIMIT", leg, text))
    return tuple(failures)
