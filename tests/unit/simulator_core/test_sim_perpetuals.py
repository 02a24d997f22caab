"""Perpetual positions: netting, margin, reduce-only, hedge mode, liquidation, funding."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.core.errors import VenueError
from services.simulator.core.events import OrderEvent
from services.simulator.core.funding import may_settle, payment
from services.simulator.core.income import IncomeType
from services.simulator.core.orders import OrderStatus, PositionSide, Product, Side
from services.simulator.core.positions import Position, apply, liquidation_price
from services.simulator.market.source import FundingSettlement
from tests.support.tiny_market import START
from tests.support.venue_rig import Rig, make_rig

BOTH = PositionSide.BOTH
SIGNED = st.decimals("-5", "5", places=3).filter(bool)
PRICES = st.decimals("50", "150", places=1)


def position_of(rig: Rig, side: PositionSide = BOTH) -> Position:
    """Return the account's position in BTCUSDT."""
    return rig.account.futures.position("BTCUSDT", side)


@given(st.lists(st.tuples(SIGNED, PRICES), min_size=1, max_size=12), PRICES)
def test_profit_is_what_was_paid_against_what_it_is_worth(
    trades: list[tuple[Decimal, Decimal]], mark: Decimal
) -> None:
    """Realized plus unrealized equals signed quantities times mark less cost, for any path."""
    position = Position("BTCUSDT", BOTH)
    cash = Decimal(0)
    for signed, price in trades:
        apply(position, signed, price, START)
        cash -= signed * price
    profit = position.realized + position.unrealized(mark)
    assert abs(profit - (cash + position.quantity * mark)) < Decimal("1e-15")


def test_a_reversal_takes_the_new_entry_price() -> None:
    """Selling through zero realizes the old side and opens the new one at the trade's price."""
    position = Position("BTCUSDT", BOTH)
    apply(position, Decimal(2), Decimal(100), START)
    realized = apply(position, Decimal(-3), Decimal(110), START)
    assert (realized, position.quantity, position.entry_price) == (
        Decimal(20),
        Decimal(-1),
        Decimal(110),
    )


def test_fee_and_profit_go_through_the_wallet_and_the_income() -> None:
    """Opening and closing one unit costs the spread and two taker fees."""
    rig = make_rig()
    rig.place(Side.BUY, "1")
    rig.place(Side.SELL, "1")
    fees = (Decimal("100.10") + Decimal("99.90")) * Decimal("0.0005")
    assert rig.account.futures.balance("USDT") == 1000 - Decimal("0.20") - fees
    rows = rig.exchange.income.rows("trader")
    assert sum(row.amount for row in rows) == -Decimal("0.20") - fees
    assert {row.type for row in rows} == {IncomeType.COMMISSION, IncomeType.REALIZED_PNL}
    assert not position_of(rig).quantity


def test_an_order_the_margin_does_not_carry_is_refused() -> None:
    """At leverage one, 1000 USDT do not carry eleven units; at ten they do."""
    rig = make_rig(level_quantity=Decimal(50))
    rig.account.futures.leverage["BTCUSDT"] = 1
    with pytest.raises(VenueError) as caught:
        rig.place(Side.BUY, "11")
    assert caught.value.code == -2019
    rig.account.futures.leverage["BTCUSDT"] = 10
    assert rig.place(Side.BUY, "11").status is OrderStatus.FILLED


def test_reducing_needs_no_margin() -> None:
    """A close goes through although nothing is available."""
    rig = make_rig(level_quantity=Decimal(50))
    rig.account.futures.leverage["BTCUSDT"] = 10
    rig.place(Side.BUY, "90")
    assert rig.place(Side.SELL, "90", reduce_only=True).status is OrderStatus.FILLED


def test_reduce_only_is_cut_to_the_position_and_never_crosses_zero() -> None:
    """Asking for five against a position of two closes two."""
    rig = make_rig()
    rig.place(Side.SELL, "2")
    order = rig.place(Side.BUY, "5", reduce_only=True)
    assert order.quantity == order.executed == 2
    assert not position_of(rig).quantity


def test_reduce_only_with_nothing_to_reduce_is_refused() -> None:
    """Flat, or the same direction: -2022."""
    rig = make_rig()
    with pytest.raises(VenueError) as caught:
        rig.place(Side.SELL, "1", reduce_only=True)
    assert caught.value.code == -2022
    rig.place(Side.BUY, "1")
    with pytest.raises(VenueError):
        rig.place(Side.BUY, "1", reduce_only=True)


def test_hedge_mode_keeps_two_positions() -> None:
    """Long and short stand side by side; BOTH is refused; a close cannot exceed its side."""
    rig = make_rig()
    rig.account.futures.is_hedge_mode = True
    rig.place(Side.BUY, "2", position_side=PositionSide.LONG)
    rig.place(Side.SELL, "1", position_side=PositionSide.SHORT)
    assert position_of(rig, PositionSide.LONG).quantity == 2
    assert position_of(rig, PositionSide.SHORT).quantity == -1
    for fields, code in (
        ({"position_side": BOTH}, -4061),
        ({"position_side": PositionSide.LONG, "reduce_only": True}, -1106),
        ({"position_side": PositionSide.LONG, "quantity": "3"}, -2022),
    ):
        with pytest.raises(VenueError) as caught:
            rig.place(Side.SELL, **fields)
        assert caught.value.code == code


def test_resting_closes_in_hedge_mode_never_turn_a_side_over() -> None:
    """Two closes of the whole long rest without margin; the second one expires when both fill."""
    rig = make_rig()
    rig.account.futures.is_hedge_mode = True
    rig.place(Side.BUY, "2", position_side=PositionSide.LONG)
    closes = [rig.place(Side.SELL, "2", "105", position_side=PositionSide.LONG) for _ in range(2)]
    assert rig.exchange.perpetual.summary(rig.account, "USDT").order_margin == 0
    rig.source.price = Decimal(110)
    rig.wire.move(20)
    rig.exchange.advance()
    assert [order.status for order in closes] == [OrderStatus.FILLED, OrderStatus.EXPIRED]
    assert position_of(rig, PositionSide.LONG).quantity == 0


def test_all_orders_of_a_symbol_are_cancelled_at_one_instant() -> None:
    """What the market reaches is filled first; the rest is cancelled and told."""
    rig = make_rig()
    reached, *resting = [rig.place(Side.BUY, "1", price) for price in ("95", "88", "87")]
    rig.source.price = Decimal(94)
    cancelled = rig.exchange.cancel_all(rig.account, Product.PERPETUAL, "BTCUSDT")
    assert reached.status is OrderStatus.FILLED
    assert cancelled == resting
    assert {order.status for order in resting} == {OrderStatus.CANCELED}
    assert not rig.exchange.store.open_orders()


def test_liquidation_price_is_where_equity_meets_maintenance() -> None:
    """At the price given, wallet plus profit equals the maintenance margin."""
    for quantity in (Decimal(10), Decimal(-10)):
        position = Position("BTCUSDT", BOTH, quantity, Decimal(100))
        ratio = Decimal("0.005")
        price = liquidation_price(position, Decimal(200), ratio, Decimal(0), Decimal(0))
        equity = 200 + position.unrealized(price)
        assert abs(equity - abs(quantity) * price * ratio) < Decimal("1e-20")


def test_an_account_under_its_maintenance_margin_is_liquidated() -> None:
    """The venue closes the position by an order of its own that says so."""
    rig = make_rig(level_quantity=Decimal(50))
    rig.place(Side.BUY, "90")
    rig.source.price = Decimal(89)
    rig.exchange.advance()
    assert not position_of(rig).quantity
    last = [event for event in rig.events if isinstance(event, OrderEvent)][-1]
    assert last.order.request.client_order_id.startswith("autoclose-")


def test_a_position_in_a_delisted_symbol_is_settled_at_mark() -> None:
    """When a symbol stops trading the venue closes what is open, without a fee."""
    rig = make_rig()
    rig.place(Side.SELL, "1")
    before = rig.account.futures.balance("USDT")
    rig.source.changes["BTCUSDT"] = {"status": "SETTLING"}
    rig.wire.move(61)
    rig.exchange.advance()
    assert not position_of(rig).quantity
    assert rig.account.futures.balance("USDT") == before + Decimal("99.90") - Decimal(100)


@pytest.mark.parametrize("product", [Product.PERPETUAL, Product.SPOT])
def test_an_order_in_a_symbol_that_is_taken_off_expires(product: Product) -> None:
    """The venue clears its books; what the order held back is free again, coins stay."""
    rig = make_rig()
    resting = rig.place(Side.BUY, "1", "90.00", product=product)
    other = rig.place(Side.BUY, "1", "90.00", product=product, symbol="ETHUSDT")
    status = "SETTLING" if product is Product.PERPETUAL else "BREAK"
    rig.source.changes["BTCUSDT"] = {"status": status}
    rig.wire.move(61)
    rig.exchange.advance()
    assert (resting.status, other.status) == (OrderStatus.EXPIRED, OrderStatus.NEW)
    if product is Product.SPOT:
        assert rig.account.spot.get("USDT").locked == 90
        assert rig.account.spot.get("BTC").free == 10


def test_a_halt_ends_nothing() -> None:
    """Trading goes on later: the position stays, and the order rests without being filled."""
    rig = make_rig()
    rig.place(Side.SELL, "1")
    resting = rig.place(Side.BUY, "1", "90.00")
    rig.source.changes["BTCUSDT"] = {"status": "TRADING_HALT"}
    rig.source.price = Decimal(80)
    rig.wire.move(61)
    rig.exchange.advance()
    assert position_of(rig).quantity == -1
    assert resting.status is OrderStatus.NEW


def test_funding_is_paid_at_the_settlement_to_the_side_it_is_due() -> None:
    """A positive rate moves money from longs to shorts, once."""
    rig = make_rig()
    rig.place(Side.SELL, "2")
    before = rig.account.futures.balance("USDT")
    hour = START.replace(minute=0) + timedelta(hours=1)
    eight = timedelta(hours=8)
    rig.source.paid = [
        FundingSettlement("BTCUSDT", hour, Decimal("0.001"), Decimal(100), eight),
        FundingSettlement("ETHUSDT", hour, Decimal("0.01"), Decimal(100), eight),
    ]
    rig.wire.move(1799)
    rig.exchange.advance()
    assert rig.account.futures.balance("USDT") == before
    rig.wire.move(2)
    rig.exchange.advance()
    rig.exchange.advance()
    assert rig.account.futures.balance("USDT") == before + Decimal("0.2")
    row = rig.exchange.income.rows("trader")[-1]
    assert (row.type, row.amount, row.time) == (IncomeType.FUNDING_FEE, Decimal("0.2"), hour)


def test_a_position_opened_after_the_settlement_is_not_paid() -> None:
    """Who was flat at the settlement gets nothing, even when the clock jumped over it."""
    rig = make_rig()
    hour = START.replace(minute=0) + timedelta(hours=1)
    rate = Decimal("0.001")
    rig.source.paid = [FundingSettlement("BTCUSDT", hour, rate, Decimal(100), timedelta(hours=8))]
    rig.wire.move(3600)
    rig.place(Side.SELL, "2")
    rig.exchange.advance()
    kinds = {row.type for row in rig.exchange.income.rows("trader")}
    assert IncomeType.FUNDING_FEE not in kinds


def test_payment_is_minus_position_times_mark_times_rate() -> None:
    """Longs pay a positive rate and receive a negative one."""
    long = Position("BTCUSDT", BOTH, Decimal(3), Decimal(90))
    eight = timedelta(hours=8)
    for rate, expected in (("0.0001", "-0.03"), ("-0.0002", "0.06")):
        row = FundingSettlement("BTCUSDT", START, Decimal(rate), Decimal(100), eight)
        assert payment(long.quantity, row) == Decimal(expected)


def test_settlements_are_looked_for_whenever_one_can_lie_between() -> None:
    """A span over a full hour, or right after one, may hold a settlement; the middle may not."""
    at = START.replace(minute=0)
    minute = timedelta(minutes=1)
    assert may_settle(at - minute, at)
    assert may_settle(at, at + minute)
    assert may_settle(at + 50 * minute, at + 61 * minute)
    assert not may_settle(at + 10 * minute, at + 50 * minute)
