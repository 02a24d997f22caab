"""The exchange: order kinds, money of spot orders, ids, late executions."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from services.simulator.core.errors import VenueError
from services.simulator.core.events import Event, Execution, OrderEvent
from services.simulator.core.exchange import Interference
from services.simulator.core.orders import OrderStatus, OrderType, Product, Side, TimeInForce
from services.simulator.dialects.binance_spot_events import execution_report
from tests.support.venue_rig import make_rig

SPOT = Product.SPOT


def test_spot_buy_pays_its_fee_in_the_base_coin() -> None:
    """One unit at 100.10 costs 100.10 and brings one unit less a tenth of a percent."""
    rig = make_rig()
    order = rig.place(Side.BUY, "1", product=SPOT)
    assert (order.status, order.fills[0].fee_asset) == (OrderStatus.FILLED, "BTC")
    assert rig.account.spot.get("BTC").free == Decimal("10.999")
    assert rig.account.spot.get("USDT").free == Decimal("9899.90")


def test_spot_sell_pays_its_fee_in_quote() -> None:
    """One unit at 99.90 brings that less a tenth of a percent."""
    rig = make_rig()
    order = rig.place(Side.SELL, "1", product=SPOT)
    assert order.fills[0].fee_asset == "USDT"
    assert rig.account.spot.get("USDT").free == Decimal("10099.80010")
    assert rig.account.spot.get("BTC").free == 9


def test_trades_add_up_to_the_order() -> None:
    """Fills through three levels sum to the executed quantity and the quote."""
    order = make_rig().place(Side.BUY, "2.5", product=SPOT)
    assert [fill.price for fill in order.fills] == [
        Decimal("100.10"),
        Decimal("100.20"),
        Decimal("100.30"),
    ]
    assert sum(fill.quantity for fill in order.fills) == order.executed == Decimal("2.5")
    assert sum(fill.quote for fill in order.fills) == order.quote


def test_ioc_beyond_its_price_fills_partly_and_expires() -> None:
    """Two levels are within the worst price; the rest expires and locks nothing."""
    rig = make_rig()
    order = rig.place(Side.BUY, "5", "100.20", product=SPOT, tif=TimeInForce.IOC)
    assert (order.status, order.executed) == (OrderStatus.EXPIRED, Decimal(2))
    assert rig.account.spot.get("USDT").locked == 0
    assert not rig.exchange.store.open_orders()


def test_spot_fok_that_cannot_fill_expires_unfilled() -> None:
    """All or nothing gives nothing."""
    order = make_rig().place(Side.BUY, "5", "100.20", product=SPOT, tif=TimeInForce.FOK)
    assert (order.status, order.executed) == (OrderStatus.EXPIRED, Decimal(0))


def test_perpetual_fok_that_cannot_fill_is_refused() -> None:
    """The futures venue has a code for it and keeps no row."""
    rig = make_rig()
    with pytest.raises(VenueError) as caught:
        rig.place(Side.BUY, "5", "100.20", tif=TimeInForce.FOK)
    assert caught.value.code == -5021
    assert list(rig.exchange.store) == []


@pytest.mark.parametrize(
    ("product", "fields", "code"),
    [
        (SPOT, {"type": OrderType.LIMIT_MAKER}, -2010),
        (Product.PERPETUAL, {"tif": TimeInForce.GTX}, -5022),
    ],
)
def test_post_only_that_would_take_is_refused(
    product: Product, fields: dict[str, object], code: int
) -> None:
    """A maker order through the book is refused with the venue's own code."""
    with pytest.raises(VenueError) as caught:
        make_rig().place(Side.BUY, "1", "100.50", product=product, **fields)  # type: ignore[arg-type]  # a table of keywords
    assert caught.value.code == code


def test_resting_order_locks_funds_and_fills_when_the_market_comes() -> None:
    """A limit under the market waits, then fills at its own price as maker."""
    rig = make_rig()
    order = rig.place(Side.BUY, "1", "99.00", product=SPOT)
    assert (order.status, rig.account.spot.get("USDT").locked) == (OrderStatus.NEW, Decimal(99))
    rig.source.price = Decimal(98)
    rig.exchange.advance()
    assert order.status is OrderStatus.FILLED
    assert (order.fills[0].price, order.fills[0].is_maker) == (Decimal("99.00"), True)
    assert rig.account.spot.get("USDT").locked == 0
    assert rig.account.spot.get("USDT").free == 10_000 - 99


def test_cancel_gives_back_what_was_locked() -> None:
    """A canceled order leaves the wallet as it was."""
    rig = make_rig()
    order = rig.place(Side.BUY, "1", "99.00", product=SPOT)
    rig.exchange.cancel(rig.account, SPOT, "BTCUSDT", order.order_id, None)
    assert rig.account.spot.get("USDT").free == 10_000
    with pytest.raises(VenueError) as caught:
        rig.exchange.cancel(rig.account, SPOT, "BTCUSDT", order.order_id, None)
    assert caught.value.code == -2011


def test_client_order_id_is_unique_among_open_orders_only() -> None:
    """The same id is refused while its order is open and accepted again after it has filled."""
    rig = make_rig()
    rig.place(Side.BUY, "1", "99.00", product=SPOT, client_order_id="same")
    with pytest.raises(VenueError) as caught:
        rig.place(Side.BUY, "1", product=SPOT, client_order_id="same")
    assert (caught.value.code, caught.value.message) == (-2010, "Duplicate order sent.")
    rig.exchange.cancel(rig.account, SPOT, "BTCUSDT", None, "same")
    first = rig.place(Side.BUY, "1", product=SPOT, client_order_id="same")
    second = rig.place(Side.BUY, "1", product=SPOT, client_order_id="same")
    assert first.order_id != second.order_id
    found = rig.exchange.store.find("trader", SPOT, "BTCUSDT", None, "same")
    assert found is second


def test_spot_order_without_funds_is_refused_and_leaves_no_trace() -> None:
    """Selling more than one has is -2010."""
    rig = make_rig()
    with pytest.raises(VenueError) as caught:
        rig.place(Side.SELL, "11", product=SPOT)
    assert caught.value.code == -2010
    assert (list(rig.exchange.store), rig.events) == ([], [])


def test_partial_and_zero_liquidity_cut_what_fills() -> None:
    """A ratio of the quantity fills, in whole lots; zero fills nothing."""
    rig = make_rig()
    partial = rig.place(interference=Interference(Decimal("0.3337")))
    assert (partial.status, partial.executed) == (OrderStatus.EXPIRED, Decimal("0.333"))
    nothing = rig.place(interference=Interference(Decimal(0)))
    assert (nothing.status, nothing.executed) == (OrderStatus.EXPIRED, Decimal(0))


def test_late_execution_answers_unknown_and_executes_within_the_bound() -> None:
    """The caller gets -1007; the order appears later, never after the processing bound."""
    rig = make_rig()
    with pytest.raises(VenueError) as caught:
        rig.place(client_order_id="late", interference=Interference(late=timedelta(seconds=60)))
    assert (caught.value.code, caught.value.status) == (-1007, 408)
    rig.wire.move(9.9)
    rig.exchange.advance()
    assert list(rig.exchange.store) == []
    rig.wire.move(0.1)
    rig.exchange.advance()
    order = rig.exchange.store.find("trader", Product.PERPETUAL, "BTCUSDT", None, "late")
    assert order.status is OrderStatus.FILLED


def test_events_tell_the_story_in_order() -> None:
    """NEW, a TRADE per fill, the end, then the wallet."""
    rig = make_rig()
    rig.place(Side.BUY, "5", "100.20", product=SPOT, tif=TimeInForce.IOC)
    story = [e.execution if isinstance(e, OrderEvent) else "wallet" for e in rig.events]
    assert story == [
        Execution.NEW,
        Execution.TRADE,
        Execution.TRADE,
        Execution.EXPIRED,
        "wallet",
    ]


def test_execution_reports_of_two_orders_share_no_number() -> None:
    """However many fills an order has, its reports are told from those of the next one."""
    rig = make_rig()
    numbers: list[object] = []
    orders: list[object] = []

    def note(event: Event) -> None:
        # At once: the order in an event goes on changing.
        if isinstance(event, OrderEvent):
            report = execution_report(event)
            numbers.append(report["I"])
            orders.append(report["i"])

    rig.exchange.listeners.append(note)
    for _ in range(3):
        rig.place(Side.BUY, "25", product=SPOT)
    assert len(set(orders)) == 3
    assert len(orders) > 9
    assert len(set(numbers)) == len(numbers)
