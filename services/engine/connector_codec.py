"""Messages of a connector as values of the core; an absent figure stays unknown or is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import instrument_pb2, types_pb2
from services.common.codec import decimal_from_proto
from services.common.errors import FatalError, PreconditionError
from services.common.time_codec import from_millis, from_timestamp
from services.engine import wire_enums as wire
from services.engine.instruments import (
    Book,
    BookLevel,
    InstrumentKind,
    InstrumentRef,
    InstrumentRules,
)
from services.engine.orders import AssetAmount, OrderOutcome
from services.engine.ports import FundingPayment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.message import Message

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2

_ZERO = Decimal(0)
_ONE = Decimal(1)


def _known(message: Message, field: str) -> Decimal:
    """Read a figure the engine cannot do without."""
    value = decimal_from_proto(message, field)
    if value is None:
        kind = message.DESCRIPTOR.name
        raise FatalError(f"the connector left out {kind}.{field}", reason="CONNECTOR_INCOMPLETE")
    return value


def fees_from_proto(fees: Iterable[resources_pb2.AssetAmount]) -> tuple[AssetAmount, ...]:
    """Decode fees by asset."""
    return tuple(AssetAmount(fee.asset, _known(fee, "amount")) for fee in fees)


def order_from_proto(order: resources_pb2.Order) -> OrderOutcome:
    """Decode what a venue says of an order.

    The status only tells whether more can fill; how much did is `executed_qty`. An order that
    filled without a net quantity is refused: hedging the gross would be a guess.
    """
    if order.status == types_pb2.ORDER_STATUS_UNSPECIFIED:
        raise FatalError(
            "the connector sent an order without status", reason="CONNECTOR_INCOMPLETE"
        )
    executed = _known(order, "executed_qty")
    return OrderOutcome(
        client_order_id=order.client_order_id,
        closed=order.status in wire.CLOSED_ORDER_STATUSES,
        executed=executed,
        net=_known(order, "net_quantity") if executed else _ZERO,
        average_price=decimal_from_proto(order, "avg_price") if executed else None,
        fees=fees_from_proto(order.fees),
        cumulative_quote=decimal_from_proto(order, "cumulative_quote") if executed else None,
        update_time=from_millis(order.update_time) if order.update_time else None,
    )


def _levels(levels: Iterable[resources_pb2.OrderBookLevel]) -> tuple[BookLevel, ...]:
    return tuple(BookLevel(_known(level, "price"), _known(level, "quantity")) for level in levels)


def book_from_proto(book: exchange_pb2.GetOrderBookResponse) -> Book:
    """Decode an order book."""
    return Book(bids=_levels(book.bids), asks=_levels(book.asks))


def _taker_fee(fees: Sequence[resources_pb2.TradingFee], symbol: str) -> Decimal:
    rates = [decimal_from_proto(fee, "taker_fee_ratio") for fee in fees if fee.symbol == symbol]
    known = [rate for rate in rates if rate is not None]
    if not known:
        raise PreconditionError(f"the taker fee of {symbol} is not known", reason="FEES_UNKNOWN")
    return known[0]


def rules_from_proto(
    exchange: str,
    info: resources_pb2.SymbolInfo,
    fees: Sequence[resources_pb2.TradingFee],
    leverage: int,
    *,
    use_margin: bool,
) -> InstrumentRules:
    """Decode the trading rules of one instrument with the account's fees and leverage.

    A `leverage` of 0 is unknown and counts as 1. Raises PreconditionError (FEES_UNKNOWN) where the
    account's taker fee is not known: a hedge sized without it would not match.
    """
    kind = wire.KIND_FROM_WIRE[info.kind]
    taker_fee = _taker_fee(fees, info.symbol)
    return InstrumentRules(
        ref=InstrumentRef(exchange, info.symbol, kind),
        base_asset=info.base_asset,
        quote_asset=info.quote_asset,
        lot_size=_known(info, "step_size"),
        tick_size=_known(info, "tick_size"),
        min_quantity=_known(info, "min_quantity"),
        # A venue without such a rule leaves the field out.
        min_notional=decimal_from_proto(info, "min_notional") or _ZERO,
        max_quantity=decimal_from_proto(info, "max_quantity"),
        max_market_quantity=decimal_from_proto(info, "max_market_quantity"),
        trading=info.trading_status == instrument_pb2.TRADING_STATUS_TRADING,
        use_margin=use_margin,
        margin_allowed=info.margin_allowed,
        # Spot venues take the fee of a buy in the coin that was bought.
        base_fee_ratio=taker_fee if kind is InstrumentKind.SPOT else _ZERO,
        taker_fee_ratio=taker_fee,
        initial_margin_ratio=_ONE / leverage
        if kind is InstrumentKind.PERPETUAL and leverage
        else _ONE,
    )


def funding_from_proto(payment: resources_pb2.FundingPayment) -> FundingPayment:
    """Decode one funding payment."""
    return FundingPayment(
        asset=payment.asset,
        amount=_known(payment, "amount"),
        settle_time=from_timestamp(payment.settle_time, "settle_time"),
        payment_id=payment.payment_id,
    )
