"""The read model of a position, computed from its fold."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext

from services.engine.instruments import InstrumentRules, LegSide
from services.engine.orders import AssetAmount, OrderClass, OrderSide, OrderState
from services.engine.position import OrderRecord, Position
from services.engine.views import LegView, OrderView, PositionView

_ZERO = Decimal(0)
_FRACTION = Decimal(1).scaleb(-18)
VIEW_ORDERS = 300
"""Orders a view shows, the newest: an exit refused for days must still fit into one message."""
_OPENING = frozenset({OrderClass.ENTRY, OrderClass.HEDGE})


def view_of(position: Position) -> PositionView:
    """Return the whole position as the API shows it."""
    lead, hedge = position.lead_leg, position.hedge_leg
    leads = position.of(lead, OrderClass.ENTRY)
    hedges = position.of(hedge, OrderClass.HEDGE)
    return PositionView(
        position_id=position.position_id,
        revision=position.revision,
        symbol=position.symbol,
        status=position.status,
        long_leg=_leg(position, LegSide.LONG),
        short_leg=_leg(position, LegSide.SHORT),
        lead_leg=lead,
        lead_requested_quantity=position.intent.quantity,
        lead_executed_quantity=sum((r.executed for r in leads), _ZERO),
        lead_net_quantity=abs(sum((r.change for r in leads), _ZERO)),
        hedge_executed_quantity=sum((r.executed for r in hedges), _ZERO),
        residual_quantity=position.residual,
        dust_quantity=position.total_dust,
        unhedged_time=position.unhedged_time,
        max_unhedged_notional=position.max_unhedged_notional,
        dispatch_skew=position.dispatch_skew,
        funding_received=_funding(position),
        fees_paid=_fees_paid(position),
        trading_pnl=_trading_pnl(position) if position.status.is_final else None,
        create_time=position.intent.at,
        update_time=position.update_time,
        close_time=position.close_time,
        state_reason=position.reason,
        opportunity_id=position.intent.opportunity_id,
        orders=tuple(_order(r) for r in tuple(position.orders.values())[-VIEW_ORDERS:]),
    )


def quote_of(record: OrderRecord) -> Decimal:
    """Return the quote an order moved, from the venue's sum or else from its average price."""
    if record.cumulative_quote is not None:
        return record.cumulative_quote
    return record.executed * (record.average_price or _ZERO)


def _leg(position: Position, leg: LegSide) -> LegView:
    records = position.of(leg)
    funding = position.funding.get(leg)
    return LegView(
        instrument=position.rules(leg).ref,
        quantity=position.quantity(leg),
        average_entry_price=_average(r for r in records if r.plan.order_class in _OPENING),
        average_exit_price=_average(r for r in records if r.plan.order_class not in _OPENING),
        fees=_sum_fees(records),
        funding_received=funding.amount if funding is not None else None,
        outcome_unknown=any(r.state is OrderState.UNKNOWN for r in records),
    )


def _average(records: Iterable[OrderRecord]) -> Decimal | None:
    filled = [r for r in records if r.executed > 0]
    quantity = sum((r.executed for r in filled), _ZERO)
    if not filled or any(r.average_price is None and r.cumulative_quote is None for r in filled):
        return None
    with localcontext() as context:
        context.prec = 60
        return (sum((quote_of(r) for r in filled), _ZERO) / quantity).quantize(_FRACTION)


def _sum_fees(records: Iterable[OrderRecord]) -> tuple[AssetAmount, ...]:
    totals: dict[str, Decimal] = {}
    for record in records:
        for fee in record.fees:
            totals[fee.asset] = totals.get(fee.asset, _ZERO) + fee.amount
    return tuple(AssetAmount(asset, amount) for asset, amount in sorted(totals.items()))


def _funding(position: Position) -> Decimal | None:
    quote = position.intent.long_rules.quote_asset
    read = position.funding
    if not read or any(f.asset != quote for f in read.values()):
        return None
    # The sum of one leg is no word about the other.
    if any(leg not in read and _takes_funding(position, leg) for leg in LegSide):
        return None
    return sum((f.amount for f in position.funding.values()), _ZERO)


def _takes_funding(position: Position, leg: LegSide) -> bool:
    return position.rules(leg).is_perpetual and any(r.executed > 0 for r in position.of(leg))


def _fees_paid(position: Position) -> Decimal | None:
    """Value all fees in quote; None where a fee is in a third asset, whose price is not known."""
    total = _ZERO
    for record in position.orders.values():
        rules = position.rules(record.plan.leg)
        for fee in record.fees:
            value = fee_value(fee, record, rules)
            if value is None:
                return None
            total += value
    with localcontext() as context:
        context.prec = 60
        # A zero with eighteen places would look like a figure that was computed.
        return total.quantize(_FRACTION) if total else _ZERO


def fee_value(fee: AssetAmount, record: OrderRecord, rules: InstrumentRules) -> Decimal | None:
    """Return a fee of an order in quote; None in a third asset, whose price is not known."""
    if fee.asset == rules.quote_asset:
        return fee.amount
    price = _price_of(record)
    if fee.asset == rules.base_asset and price is not None:
        return fee.amount * price
    return None


def _price_of(record: OrderRecord) -> Decimal | None:
    """Return what a filled order paid on average; venues name the price, the quote, or both."""
    if record.average_price is None and record.cumulative_quote is not None:
        return record.cumulative_quote / record.executed
    return record.average_price


def _trading_pnl(position: Position) -> Decimal | None:
    """Return sells less buys, with base fees and dust valued, so that pnl - fees is what was made.

    None while a fill has neither an average price nor a quote sum.
    """
    total = _ZERO
    for leg in LegSide:
        price: Decimal | None = None
        for record in (r for r in position.of(leg) if r.executed > 0):
            price = _price_of(record)
            if price is None:
                return None
            sign = -1 if record.plan.side is OrderSide.BUY else 1
            total += sign * quote_of(record) + (record.executed - record.net) * price
        gone = position.gone_quantity(leg)
        if gone:
            # What the venue took was traded too; at which price only its forced fills tell.
            price = position.gone[leg].average_price
            if price is None:
                return None
            total += gone * price if leg is LegSide.LONG else -gone * price
        # What stays as dust is still the user's: it is worth its last price, not nothing.
        if price is not None:
            total += position.quantity(leg) * price
    with localcontext() as context:
        context.prec = 60
        return total.quantize(_FRACTION) if total else _ZERO


def _order(record: OrderRecord) -> OrderView:
    plan = record.plan
    return OrderView(
        client_order_id=plan.client_order_id,
        leg=plan.leg,
        order_class=plan.order_class,
        side=plan.side,
        quantity=plan.quantity,
        worst_price=plan.worst_price,
        executed_quantity=record.executed,
        net_quantity=record.net,
        average_price=record.average_price,
        fees=record.fees,
        state=record.state,
        create_time=record.create_time,
        reason=record.reason,
    )
