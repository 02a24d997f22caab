"""From venue rows to order states: units, merging of what was seen, fees, net quantity. Pure.

Merging is a join: the same fills seen twice, out of order or only in total give the same state.
Cumulative executed quantity never falls, and a closed order opens no more, but a late fill counts.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from services.common.codec import limit_fraction
from services.connector.instruments import Instrument, InstrumentKind
from services.connector.order_types import (
    ZERO,
    Fill,
    OrderIntent,
    OrderState,
    OrderStatus,
    Side,
    VenueFill,
    VenueOrder,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

Fees = tuple[tuple[str, Decimal], ...]


def to_fill(fill: VenueFill, side: Side, instrument: Instrument, client_order_id: str = "") -> Fill:
    """Return a venue fill in single coins and canonical names."""
    fee, asset = fill.fee, fill.fee_asset
    if fee is not None and asset is not None:
        fee, asset = instrument.to_asset_amount(asset, fee), instrument.to_asset(asset)
    return Fill(
        trade_id=fill.trade_id,
        exchange_order_id=fill.exchange_order_id,
        symbol=instrument.symbol,
        side=fill.side or side,
        price=instrument.to_base_price(fill.price),
        quantity=instrument.to_base_quantity(fill.quantity),
        fee=fee,
        fee_asset=asset,
        time=fill.time,
        maker=fill.maker,
        realized_pnl=fill.realized_pnl,
        client_order_id=client_order_id or None,
    )


def to_state(row: VenueOrder, instrument: Instrument, client_order_id: str) -> OrderState:
    """Return the state a venue row describes, under the caller's own client order id."""
    fills = tuple(to_fill(fill, row.side, instrument, client_order_id) for fill in row.fills)
    executed = instrument.to_base_quantity(row.executed)
    quote = row.cumulative_quote
    if quote is None and row.average_price is not None:
        quote = executed * instrument.to_base_price(row.average_price)
    state = OrderState(
        client_order_id=client_order_id,
        exchange_order_id=row.exchange_order_id,
        symbol=instrument.symbol,
        side=row.side,
        type=row.type,
        time_in_force=row.time_in_force,
        status=row.status,
        quantity=instrument.to_base_quantity(row.quantity),
        executed=executed,
        price=None if row.price is None else instrument.to_base_price(row.price),
        cumulative_quote=quote,
        fills=fills,
        reduce_only=row.reduce_only,
        post_only=row.post_only,
        create_time=row.create_time,
        update_time=row.update_time,
    )
    return complete_state(state)


def apply_intent(state: OrderState, intent: OrderIntent) -> OrderState:
    """Return the state with what only we know: class, margin, and the type the caller asked for."""
    # The caller sees its own words, not the limit price its bound became.
    asked_market = intent.asked_type != intent.type
    return replace(
        state,
        type=intent.asked_type,
        price=None if asked_market else state.price or intent.price,
        time_in_force=state.time_in_force or intent.time_in_force,
        post_only=intent.post_only,
        use_margin=intent.use_margin,
        order_class=intent.order_class,
    )


def merge_states(known: OrderState | None, seen: OrderState) -> OrderState:
    """Return what is true after seeing `seen`, whichever came first."""
    if known is None:
        return complete_state(seen)
    newer = seen if _is_newer(seen, known) else known
    fills = merge_fills(known.fills, seen.fills)
    more = seen if seen.executed > known.executed else known
    quote = more.cumulative_quote
    if quote is None and seen.executed == known.executed:
        quote = seen.cumulative_quote
    status = newer.status
    # A late message of an open order does not reopen it, though its fill counts.
    if known.is_closed and not seen.is_closed:
        status = known.status
    # Nor is an end forgotten because it tells less executed than another message did.
    elif seen.is_closed and not known.is_closed:
        status = seen.status
    merged = replace(
        newer,
        client_order_id=known.client_order_id,
        exchange_order_id=known.exchange_order_id or seen.exchange_order_id,
        status=status,
        executed=more.executed,
        cumulative_quote=quote,
        average_price=None,
        fees=None,
        fills=fills,
        type=known.type,
        price=known.price,
        post_only=known.post_only,
        use_margin=known.use_margin,
        order_class=known.order_class,
        create_time=known.create_time or seen.create_time,
        update_time=_latest(known, seen),
    )
    return complete_state(merged)


def merge_fills(known: Iterable[Fill], seen: Iterable[Fill]) -> tuple[Fill, ...]:
    """Return the union of fills by trade id; of two sightings the one that knows more stays."""
    # Trade ids are the only key: price and quantity repeat in real books.
    by_id = {fill.trade_id: fill for fill in known}
    for fill in seen:
        held = by_id.get(fill.trade_id)
        if held is None or _knows(fill) > _knows(held):
            by_id[fill.trade_id] = fill
    return tuple(by_id.values())


def vanished_state(known: OrderState, fills: Iterable[Fill]) -> OrderState:
    """Return the end of an order that the venue had and lists no more, by all of its fills.

    Venues forget orders that were canceled with nothing filled (OKX: after two hours).
    """
    merged = merge_fills(known.fills, fills)
    executed = max(known.executed, sum((fill.quantity for fill in merged), ZERO))
    filled = executed >= known.quantity
    return complete_state(
        replace(
            known,
            status=OrderStatus.FILLED if filled else OrderStatus.CANCELED,
            executed=executed,
            fills=merged,
        )
    )


def complete_state(state: OrderState) -> OrderState:
    """Return the state with fees and average price worked out as far as they are known."""
    # Nothing executed, nothing paid: known without asking for fills.
    if state.executed <= ZERO:
        if state.fees == () and state.average_price is None:
            return state
        return replace(state, fees=(), average_price=None)
    fees = sum_fees(state.fills, state.executed)
    # The fills first: they are exact, and the USD-M stream's average price is rounded.
    quote = _fills_quote(state.fills, state.executed)
    if quote is None and state.cumulative_quote is not None and state.cumulative_quote > ZERO:
        quote = state.cumulative_quote
    average = None if quote is None else limit_fraction(quote / state.executed)
    return replace(state, fees=fees, cumulative_quote=quote, average_price=average)


def sum_fees(fills: Iterable[Fill], executed: Decimal) -> Fees | None:
    """Return fees by asset, None unless the fills account for all that was executed."""
    total, fees = ZERO, dict[str, Decimal]()
    for fill in fills:
        if fill.fee is None or (fill.fee_asset is None and fill.fee != ZERO):
            return None
        total += fill.quantity
        if fill.fee_asset is not None:
            fees[fill.fee_asset] = fees.get(fill.fee_asset, ZERO) + fill.fee
    # Fills short of the total mean some fee is not known: say nothing then.
    return tuple(sorted(fees.items())) if total == executed else None


def net_quantity(state: OrderState, instrument: Instrument) -> Decimal | None:
    """Return what the account gained (buy) or gave (sell) in the base, None while fees are unknown.

    On spot a fee in the base comes out of what was bought, or on top of what was sold. On a
    perpetual no fee touches the position.
    """
    if state.fees is None:
        return None
    if instrument.kind is not InstrumentKind.SPOT:
        return state.executed
    # Fees paid in BNB or the quote leave the base as it is.
    fee = sum((amount for asset, amount in state.fees if asset == instrument.base_asset), ZERO)
    return state.executed - fee if state.side is Side.BUY else state.executed + fee


def rejected_state(intent: OrderIntent) -> OrderState:
    """Return the state of an order that never lived: refused, or proven not to have arrived."""
    return OrderState(
        client_order_id=intent.client_order_id,
        exchange_order_id="",
        symbol=intent.symbol,
        side=intent.side,
        type=intent.asked_type,
        time_in_force=intent.time_in_force,
        status=OrderStatus.REJECTED,
        quantity=intent.quantity,
        executed=ZERO,
        price=intent.price if intent.asked_type is intent.type else None,
        fees=(),
        reduce_only=intent.reduce_only,
        post_only=intent.post_only,
        use_margin=intent.use_margin,
        order_class=intent.order_class,
    )


def matches_intent(row: VenueOrder, intent: OrderIntent, instrument: Instrument) -> bool:
    """Tell whether a row is about the order that was sent: an echo of another is no evidence."""
    quantity = instrument.to_base_quantity(row.quantity)
    # Venues cut an order that reduces to what there is to reduce.
    fits = quantity == intent.quantity or (intent.reduce_only and quantity < intent.quantity)
    return row.exchange_symbol == instrument.exchange_symbol and row.side is intent.side and fits


def _knows(fill: Fill) -> tuple[bool, bool]:
    return fill.fee is not None, fill.time is not None


def _is_newer(seen: OrderState, known: OrderState) -> bool:
    if seen.executed != known.executed:
        return seen.executed > known.executed
    if seen.is_closed != known.is_closed:
        return seen.is_closed
    if seen.update_time is None or known.update_time is None:
        return known.update_time is None
    return seen.update_time >= known.update_time


def _latest(known: OrderState, seen: OrderState) -> datetime | None:
    times = [time for time in (known.update_time, seen.update_time) if time is not None]
    return max(times, default=None)


def _fills_quote(fills: Iterable[Fill], executed: Decimal) -> Decimal | None:
    pairs = [(fill.quantity, fill.price) for fill in fills]
    if sum((quantity for quantity, _ in pairs), ZERO) != executed:
        return None
    return sum((quantity * price for quantity, price in pairs), ZERO)
