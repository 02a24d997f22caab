"""Answers of a connector: what is missing stays unknown or is refused, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from opensqt.market_maker.v1 import (
    exchange_pb2,
    instrument_pb2,
    resources_pb2,
    types_pb2,
)
from services.common.errors import FatalError, OutcomeUnknownError, PreconditionError
from services.engine import wire_enums as wire
from services.engine.connector_codec import (
    book_from_proto,
    fence_from_proto,
    funding_from_proto,
    order_from_proto,
    rules_from_proto,
)
from services.engine.instruments import (
    Book,
    BookLevel,
    InstrumentKind,
    InstrumentRef,
    InstrumentRules,
)
from services.engine.order_request import place_request
from services.engine.orders import AssetAmount, OrderClass, OrderOutcome, OrderSide
from services.engine.ports import FundingPayment
from tests.support.connector_messages import (
    UPDATED_MILLIS,
    funding_payment,
    number,
    order,
    order_book,
    symbol_info,
    trading_fee,
)
from tests.support.engine_views import SPOT, order_plan

BAD_FIGURES = ("", "NaN", "Infinity", "1e999999", "1_000", "١", "0x1", " 1", "-0")
STATUSES = [value for value in types_pb2.OrderStatus.values() if value]


def fault(call: Callable[[], object]) -> FatalError:
    """Return the connector's fault that a decoding finds."""
    with pytest.raises(FatalError) as caught:
        call()
    return caught.value


def rules(info: resources_pb2.SymbolInfo, leverage: int = 5, **options: Any) -> InstrumentRules:
    """Decode rules with the fees of their symbol."""
    fees = options.pop("fees", [trading_fee()])
    return rules_from_proto("binanceusdm", info, fees, leverage, use_margin=False, **options)


def test_an_order_arrives_whole() -> None:
    """Every figure of the outcome comes from its own field."""
    assert order_from_proto(order()) == OrderOutcome(
        client_order_id="aorder1",
        closed=True,
        executed=Decimal("0.4"),
        net=Decimal("0.3996"),
        average_price=Decimal("64100.25"),
        fees=(AssetAmount("BTC", Decimal("0.0004")),),
        cumulative_quote=Decimal("25640.1"),
        update_time=datetime.fromtimestamp(UPDATED_MILLIS // 1000, UTC)
        + timedelta(milliseconds=125),
        quantity=Decimal("0.5"),
    )


def test_what_an_order_does_not_say_stays_unknown() -> None:
    """No time, no price, no quantity asked: None, not zero."""
    outcome = order_from_proto(
        order(avg_price=None, cumulative_quote=None, quantity=None, update_time=0, fees=[])
    )
    assert outcome == OrderOutcome(
        client_order_id="aorder1", closed=True, executed=Decimal("0.4"), net=Decimal("0.3996")
    )


@pytest.mark.parametrize("status", STATUSES)
def test_the_status_never_decides_how_much_was_executed(status: int) -> None:
    """An order called filled that executed part executed part; one called rejected, too."""
    outcome = order_from_proto(order(status=status))
    assert outcome.executed == Decimal("0.4")
    assert outcome.net == Decimal("0.3996")
    nothing = order_from_proto(
        order(status=status, executed_qty="0", net_quantity=None, avg_price=None)
    )
    assert nothing.executed == 0
    assert nothing.net == 0


@pytest.mark.parametrize("status", [*STATUSES, 99])
def test_only_the_status_tells_whether_more_can_fill(status: int) -> None:
    """A status from a newer connector may still fill."""
    full = order(status=status, executed_qty="0.5", net_quantity="0.5")
    assert order_from_proto(full).closed is (status in wire.CLOSED_ORDER_STATUSES)


def test_an_order_without_a_status_is_an_unknown_outcome() -> None:
    """It is the connector's own word for not knowing."""
    with pytest.raises(OutcomeUnknownError) as caught:
        order_from_proto(order(status=types_pb2.ORDER_STATUS_UNSPECIFIED))
    assert caught.value.client_order_id == "aorder1"


def test_a_filled_order_without_net_quantity_is_refused() -> None:
    """Hedging the gross would leave the fee unhedged."""
    error = fault(lambda: order_from_proto(order(net_quantity=None)))
    assert error.reason == "CONNECTOR_INCOMPLETE"
    assert "Order.net_quantity" in error.message


def test_an_order_without_executed_quantity_is_refused() -> None:
    """Absent is unknown, not zero, even where the status says rejected."""
    missing = order(executed_qty=None, status=types_pb2.ORDER_STATUS_REJECTED)
    assert "Order.executed_qty" in fault(lambda: order_from_proto(missing)).message


def test_a_fee_without_its_amount_is_refused() -> None:
    """A fee of nobody knows how much is no fee of zero."""
    missing = order(fees=[resources_pb2.AssetAmount(asset="BNB")])
    assert "AssetAmount.amount" in fault(lambda: order_from_proto(missing)).message


@pytest.mark.parametrize(
    "field", ["executed_qty", "net_quantity", "avg_price", "cumulative_quote", "quantity"]
)
@pytest.mark.parametrize("text", [*BAD_FIGURES, "-1"])
def test_a_bad_figure_of_an_order_is_the_connectors_fault(field: str, text: str) -> None:
    """It is named, and it is not blamed on a field of some caller's request."""
    error = fault(lambda: order_from_proto(order(**{field: text})))
    assert error.reason == "CONNECTOR_INVALID"
    assert f"Order: {field}" in error.message


def test_a_time_beyond_the_calendar_is_the_connectors_fault() -> None:
    """Milliseconds of another planet do not stop the engine."""
    assert fault(lambda: order_from_proto(order(update_time=2**62))).reason == "CONNECTOR_INVALID"


def test_the_rules_of_a_perpetual_arrive_whole() -> None:
    """Every rule comes from its own field; the margin ratio from the leverage."""
    assert rules(symbol_info(), leverage=5) == InstrumentRules(
        ref=InstrumentRef("binanceusdm", "BTCUSDT", InstrumentKind.PERPETUAL),
        base_asset="BTC",
        quote_asset="USDT",
        lot_size=Decimal("0.001"),
        tick_size=Decimal("0.1"),
        min_quantity=Decimal("0.002"),
        min_notional=Decimal(5),
        max_quantity=Decimal(1000),
        max_market_quantity=Decimal(120),
        trading=True,
        use_margin=False,
        margin_allowed=True,
        base_fee_ratio=Decimal(0),
        taker_fee_ratio=Decimal("0.0005"),
        initial_margin_ratio=Decimal("0.2"),
    )


def test_spot_pays_the_fee_of_a_buy_in_its_base_and_posts_all_of_the_notional() -> None:
    """The leverage of a spot account is none."""
    info = symbol_info(kind=instrument_pb2.INSTRUMENT_KIND_SPOT)
    spot = rules_from_proto("binance", info, [trading_fee()], 5, use_margin=True)
    assert spot.base_fee_ratio == Decimal("0.0005")
    assert spot.initial_margin_ratio == 1
    assert spot.use_margin
    assert not rules(info).use_margin


@pytest.mark.parametrize("leverage", [0, -3])
def test_an_unknown_leverage_counts_as_one(leverage: int) -> None:
    """More margin asked than needed is safe; less is not."""
    assert rules(symbol_info(), leverage).initial_margin_ratio == 1


def test_rules_a_venue_does_not_have_are_absent() -> None:
    """No largest quantity is None; no least notional is zero."""
    bare = rules(symbol_info(max_quantity=None, max_market_quantity=None, min_notional=None))
    assert bare.max_quantity is None
    assert bare.max_market_quantity is None
    assert bare.min_notional == 0


@pytest.mark.parametrize("status", instrument_pb2.TradingStatus.values())
def test_only_a_trading_instrument_trades(status: int) -> None:
    """Unknown is not trading."""
    info = symbol_info(trading_status=status)
    assert rules(info).trading is (status == instrument_pb2.TRADING_STATUS_TRADING)


@pytest.mark.parametrize(
    "fees",
    [[], [trading_fee("ETHUSDT")], [trading_fee(taker_fee_ratio=None)]],
    ids=["none", "another", "maker-only"],
)
def test_missing_fees_refuse_the_entry(fees: list[resources_pb2.TradingFee]) -> None:
    """A hedge sized without the taker fee would not match."""
    with pytest.raises(PreconditionError) as caught:
        rules(symbol_info(), fees=fees)
    assert caught.value.reason == "FEES_UNKNOWN"


def test_fees_are_those_of_the_symbol() -> None:
    """The first row of a longer list is not taken for all."""
    other = trading_fee("ETHUSDT", taker_fee_ratio="0.01")
    assert rules(symbol_info(), fees=[other, trading_fee()]).taker_fee_ratio == Decimal("0.0005")


@pytest.mark.parametrize("field", ["step_size", "tick_size", "min_quantity"])
def test_rules_without_a_needed_figure_are_refused(field: str) -> None:
    """Nothing can be sized without them."""
    error = fault(lambda: rules(symbol_info(**{field: None})))
    assert error.reason == "CONNECTOR_INCOMPLETE"
    assert field in error.message


@pytest.mark.parametrize("field", ["step_size", "tick_size"])
@pytest.mark.parametrize("text", ["0", "-1", *BAD_FIGURES])
def test_a_lot_or_tick_that_divides_by_zero_is_refused(field: str, text: str) -> None:
    """A lot of zero is no lot."""
    assert fault(lambda: rules(symbol_info(**{field: text}))).reason == "CONNECTOR_INVALID"


def test_an_instrument_of_unknown_kind_is_refused() -> None:
    """Whether it pays funding decides everything."""
    unknown = symbol_info(kind=instrument_pb2.INSTRUMENT_KIND_UNSPECIFIED)
    assert "kind" in fault(lambda: rules(unknown)).message


def test_a_book_keeps_its_levels_in_order() -> None:
    """Best first, both sides on their own."""
    assert book_from_proto(order_book()) == Book(
        bids=(
            BookLevel(Decimal("99.5"), Decimal(2)),
            BookLevel(Decimal(99), Decimal("3.25")),
        ),
        asks=(BookLevel(Decimal("100.5"), Decimal(1)),),
    )


def test_an_empty_book_is_a_book() -> None:
    """That nobody trades is an answer."""
    assert book_from_proto(exchange_pb2.GetOrderBookResponse()) == Book((), ())


@pytest.mark.parametrize("text", ["0", "-1", *BAD_FIGURES])
def test_a_bad_price_in_a_book_is_the_connectors_fault(text: str) -> None:
    """A price of zero would make any order look well priced."""
    book = order_book()
    book.asks[0].price.CopyFrom(number(text))
    assert fault(lambda: book_from_proto(book)).reason == "CONNECTOR_INVALID"


def test_a_level_without_quantity_is_refused() -> None:
    """Depth nobody knows is not depth."""
    book = order_book()
    book.bids[1].ClearField("quantity")
    assert "OrderBookLevel.quantity" in fault(lambda: book_from_proto(book)).message


def test_a_funding_payment_keeps_its_sign_and_its_time() -> None:
    """What was paid is below zero."""
    assert funding_from_proto(funding_payment()) == FundingPayment(
        "USDT", Decimal("-0.75"), datetime.fromtimestamp(1_772_366_400, UTC), "4711"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"amount": None},
        {"amount": "NaN"},
        {"settle_time": None},
        {"settle_time": Timestamp(seconds=2**50)},
        {"payment_id": ""},
    ],
)
def test_a_funding_payment_that_cannot_be_booked_is_refused(change: dict[str, Any]) -> None:
    """Without its time it would be of 1970, without its id it would count twice."""
    assert fault(lambda: funding_from_proto(funding_payment(**change))).reason in (
        "CONNECTOR_INCOMPLETE",
        "CONNECTOR_INVALID",
    )


def test_the_fence_arrives_exactly() -> None:
    """It decides when absence is a proof."""
    answer = exchange_pb2.GetTypeResponse(fence=Duration(seconds=16, nanos=500_000_000))
    assert fence_from_proto(answer) == timedelta(seconds=16.5)


def test_a_venue_without_a_fence_has_none() -> None:
    """Absent is not zero: absence would be believed at once."""
    assert fence_from_proto(exchange_pb2.GetTypeResponse()) is None


@pytest.mark.parametrize("fence", [Duration(seconds=-1), Duration(seconds=1, nanos=-1)])
def test_a_fence_that_proves_nothing_is_refused(fence: Duration) -> None:
    """Below zero, absence would be believed before anything was sent."""
    fault(lambda: fence_from_proto(exchange_pb2.GetTypeResponse(fence=fence)))


def test_a_bounded_order_is_a_limit_order_that_never_rests() -> None:
    """Every part of the plan is sent in its own field, and no other field is."""
    assert place_request(order_plan()) == resources_pb2.PlaceOrderRequest(
        symbol="BTCUSDT",
        side=types_pb2.ORDER_SIDE_BUY,
        type=types_pb2.ORDER_TYPE_LIMIT,
        time_in_force=types_pb2.TIME_IN_FORCE_IOC,
        quantity=number("0.5"),
        price=number("64000.1"),
        reduce_only=True,
        client_order_id="aorder1",
        order_class=types_pb2.ORDER_CLASS_EXIT,
    )


def test_an_order_without_bound_is_a_market_order() -> None:
    """No price goes with it, and no time in force."""
    plan = order_plan(
        instrument=SPOT,
        side=OrderSide.SELL,
        order_class=OrderClass.ENTRY,
        worst_price=None,
        reduce_only=False,
        use_margin=True,
    )
    assert place_request(plan) == resources_pb2.PlaceOrderRequest(
        symbol="BTCUSDT",
        side=types_pb2.ORDER_SIDE_SELL,
        type=types_pb2.ORDER_TYPE_MARKET,
        quantity=number("0.5"),
        client_order_id="aorder1",
        use_margin=True,
        order_class=types_pb2.ORDER_CLASS_ENTRY,
    )


def test_a_resting_order_is_post_only_and_answered_when_taken() -> None:
    """It names no time in force of its own, and nobody waits for it to fill."""
    request = place_request(order_plan(post_only=True, reduce_only=False))
    assert request.post_only
    assert request.time_in_force == types_pb2.TIME_IN_FORCE_UNSPECIFIED
    assert request.HasField("fill_timeout")
    assert request.fill_timeout == Duration()
