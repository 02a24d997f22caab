"""What a position has made so far: quote flows, fees, funding and what is held at its mark."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal

from services.engine.instruments import InstrumentRules, LegSide
from services.engine.orders import OrderSide
from services.engine.position import OrderRecord, Position
from services.engine.position_view import quote_of
from services.engine.risk_exposure import Marks

_ZERO = Decimal(0)


def utc_day(at: datetime) -> date:
    """Return the UTC day of an instant: the day that daily bounds count by."""
    return at.astimezone(UTC).date()


def position_result(position: Position, marks: Marks) -> Decimal:
    """Return realised and unrealised profit with funding, less fees, in quote asset.

    A leg without a mark is valued at its last fill, so it makes nothing until it is read. Funding
    in another asset than the quote is left out.
    """
    total = _ZERO
    quote = position.intent.long_rules.quote_asset
    for leg in LegSide:
        records = [r for r in position.of(leg) if r.executed > 0]
        for record in records:
            sign = -1 if record.plan.side is OrderSide.BUY else 1
            total += sign * quote_of(record)
            # Base fees are in the quantity already, which is net of them.
            total -= paid_fee(record, position.rules(leg), with_base=False)
        mark = marks.get(position.rules(leg).ref)
        price = mark if mark is not None else _last_price(records)
        total += position.quantity(leg) * price
        funding = position.funding.get(leg)
        if funding is not None and funding.asset == quote:
            total += funding.amount
    return total


def paid_fee(record: OrderRecord, rules: InstrumentRules, *, with_base: bool) -> Decimal:
    """Return the fees of what an order executed, in quote asset; those in the base coin if wished.

    A fee in a third asset, whose price is not known here, or one that nobody has told yet, counts
    as the taker fee.
    """
    if record.executed == 0:
        return _ZERO
    estimate = quote_of(record) * rules.taker_fee_ratio
    if not record.fees:
        # Net below executed tells of a base fee that has no row.
        in_base = record.net != record.executed
        return _ZERO if in_base and not with_base else estimate
    total = _ZERO
    for fee in record.fees:
        if fee.asset == rules.quote_asset:
            total += fee.amount
        elif fee.asset == rules.base_asset:
            total += fee.amount * _average(record) if with_base else _ZERO
        else:
            return estimate
    return total


def worst_fee(record: OrderRecord, rules: InstrumentRules) -> Decimal:
    """Return the most that an order costs in fees: in doubt, what is not executed counts too."""
    paid = paid_fee(record, rules, with_base=True)
    if record.is_resolved:
        return paid
    price = record.plan.worst_price or _average(record)
    return paid + (record.plan.quantity - record.executed) * price * rules.taker_fee_ratio


def fees_of_day(positions: Iterable[Position], day: date) -> Decimal:
    """Return what the orders of a UTC day cost in fees, at worst, in quote asset."""
    return sum(
        (
            worst_fee(record, position.rules(record.plan.leg))
            for position in positions
            # A position changes with its orders: one older than the day has none of it.
            if utc_day(position.update_time) >= day
            for record in position.orders.values()
            if utc_day(record.create_time) == day
        ),
        _ZERO,
    )


def _average(record: OrderRecord) -> Decimal:
    if record.average_price is not None:
        return record.average_price
    if record.executed > 0:
        return quote_of(record) / record.executed
    return record.plan.worst_price or _ZERO


def _last_price(records: list[OrderRecord]) -> Decimal:
    return _average(records[-1]) if records else _ZERO
