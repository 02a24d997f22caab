"""Messages of a connector as values of the core; an absent figure stays unknown or is refused.

Whatever is wrong with an answer is a FatalError: the fault is the connector's, and an error that
names a field would tell the engine's own caller to mend a request that was right.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import instrument_pb2, types_pb2
from services.common.codec import optional_decimal
from services.common.errors import (
    FatalError,
    InvalidFieldError,
    OutcomeUnknownError,
    PreconditionError,
)
from services.common.time_codec import from_duration, from_millis, require_time
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
    from datetime import datetime

    from google.protobuf.message import Message

    from opensqt.market_maker.v1 import events_pb2, exchange_pb2, resources_pb2

_ZERO = Decimal(0)
_ONE = Decimal(1)


def incomplete(what: str) -> FatalError:
    """Return the error of an answer that lacks `what`."""
    return FatalError(f"the connector left out {what}", reason="CONNECTOR_INCOMPLETE")


def _invalid(message: Message, error: Exception) -> FatalError:
    kind = message.DESCRIPTOR.name
    return FatalError(f"the connector sent a bad {kind}: {error}", reason="CONNECTOR_INVALID")


def optional_figure(
    message: Message, field: str, *, positive: bool = False, minimum: Decimal | None = None
) -> Decimal | None:
    """Read a figure of an answer, None when it is absent; raise FatalError for a broken one."""
    try:
        return optional_decimal(message, field, positive=positive, minimum=minimum)
    except InvalidFieldError as error:
        raise _invalid(message, error) from error


def required_figure(
    message: Message, field: str, *, positive: bool = False, minimum: Decimal | None = None
) -> Decimal:
    """Read a figure the engine cannot do without; raise FatalError where it is absent or broken."""
    value = optional_figure(message, field, positive=positive, minimum=minimum)
    if value is None:
        raise incomplete(f"{message.DESCRIPTOR.name}.{field}")
    return value


def fees_from_proto(fees: Iterable[resources_pb2.AssetAmount]) -> tuple[AssetAmount, ...]:
    """Decode fees by asset."""
    return tuple(AssetAmount(fee.asset, required_figure(fee, "amount")) for fee in fees)


def order_from_proto(order: resources_pb2.Order) -> OrderOutcome:
    """Decode what a venue says of an order.

    The status only tells whether more can fill; how much did is `executed_qty`. An order that
    filled without a net quantity is refused: hedging the gross would be a guess. An order without
    a status is the connector's word that the outcome is not known: OutcomeUnknownError.
    """
    if order.status == types_pb2.ORDER_STATUS_UNSPECIFIED:
        raise OutcomeUnknownError(
            "the connector does not know what became of the order",
            client_order_id=order.client_order_id,
        )
    # Absent is not zero: a fill taken for none would leave its leg without a hedge.
    executed = required_figure(order, "executed_qty", minimum=_ZERO)
    return OrderOutcome(
        client_order_id=order.client_order_id,
        closed=order.status in wire.CLOSED_ORDER_STATUSES,
        executed=executed,
        net=required_figure(order, "net_quantity", minimum=_ZERO) if executed else _ZERO,
        average_price=optional_figure(order, "avg_price", positive=True) if executed else None,
        fees=fees_from_proto(order.fees),
        cumulative_quote=optional_figure(order, "cumulative_quote", minimum=_ZERO)
        if executed
        else None,
        update_time=venue_time(order),
        quantity=optional_figure(order, "quantity", positive=True),
    )


def venue_time(order: resources_pb2.Order | events_pb2.OrderUpdate) -> datetime | None:
    """Decode the venue's time of an order's last change; None where it is not known."""
    if not order.update_time:
        return None
    try:
        return from_millis(order.update_time)
    except OverflowError as error:
        raise _invalid(order, error) from error


def _levels(levels: Iterable[resources_pb2.OrderBookLevel]) -> tuple[BookLevel, ...]:
    return tuple(
        BookLevel(
            required_figure(level, "price", positive=True),
            required_figure(level, "quantity", minimum=_ZERO),
        )
        for level in levels
    )


def book_from_proto(book: exchange_pb2.GetOrderBookResponse) -> Book:
    """Decode an order book."""
    return Book(bids=_levels(book.bids), asks=_levels(book.asks))


def _taker_fee(fees: Sequence[resources_pb2.TradingFee], symbol: str) -> Decimal:
    rates = [optional_figure(fee, "taker_fee_ratio") for fee in fees if fee.symbol == symbol]
    # A missing fee read as 0 would hedge the gross of a fill and leave the fee naked.
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
    kind = wire.KIND_FROM_WIRE.get(info.kind)
    if kind is None:
        raise incomplete("SymbolInfo.kind")
    taker_fee = _taker_fee(fees, info.symbol)
    return InstrumentRules(
        ref=InstrumentRef(exchange, info.symbol, kind),
        base_asset=info.base_asset,
        quote_asset=info.quote_asset,
        lot_size=required_figure(info, "step_size", positive=True),
        tick_size=required_figure(info, "tick_size", positive=True),
        min_quantity=required_figure(info, "min_quantity", minimum=_ZERO),
        # A venue without such a rule leaves the field out.
        min_notional=optional_figure(info, "min_notional", minimum=_ZERO) or _ZERO,
        max_quantity=optional_figure(info, "max_quantity", positive=True),
        max_market_quantity=optional_figure(info, "max_market_quantity", positive=True),
        trading=info.trading_status == instrument_pb2.TRADING_STATUS_TRADING,
        use_margin=use_margin,
        # Absent reads as false here on purpose: what is not known to be allowed is refused.
        margin_allowed=info.margin_allowed,
        # Spot venues take the fee of a buy in the coin that was bought.
        base_fee_ratio=taker_fee if kind is InstrumentKind.SPOT else _ZERO,
        taker_fee_ratio=taker_fee,
        # With unknown leverage the whole notional must be free: refusing is cheaper than a margin
        # call.
        initial_margin_ratio=_ONE / leverage
        if kind is InstrumentKind.PERPETUAL and leverage > 0
        else _ONE,
    )


def funding_from_proto(payment: resources_pb2.FundingPayment) -> FundingPayment:
    """Decode one funding payment; one without its time or its id could not be booked once."""
    if not payment.payment_id:
        raise incomplete("FundingPayment.payment_id")
    try:
        settle_time = require_time(payment, "settle_time")
    except InvalidFieldError as error:
        raise _invalid(payment, error) from error
    return FundingPayment(
        asset=payment.asset,
        amount=required_figure(payment, "amount"),
        settle_time=settle_time,
        payment_id=payment.payment_id,
    )


def fence_from_proto(answer: exchange_pb2.GetTypeResponse) -> timedelta | None:
    """Decode how long after sending "not found" proves nothing; None: it never proves anything.

    Raises FatalError for one below 0: believing absence too early would send an order twice.
    """
    if not answer.HasField("fence"):
        return None
    try:
        fence = from_duration(answer.fence, "fence")
    except InvalidFieldError as error:
        raise _invalid(answer, error) from error
    if fence < timedelta(0):
        raise FatalError("the connector names a fence below zero", reason="CONNECTOR_INVALID")
    return fence
