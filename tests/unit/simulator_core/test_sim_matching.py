"""Matching: what an order takes from the ladder, and how the ladder comes back."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.simulator.core.matching import (
    Liquidity,
    cap,
    is_marketable,
    take,
    take_quote,
    total,
    without,
)
from services.simulator.core.orders import Side
from services.simulator.market.source import BookLevel, Kind
from tests.support.tiny_market import LOT, START, TinyMarket

ASKS = (BookLevel(Decimal(100), Decimal(2)), BookLevel(Decimal(101), Decimal(3)))
QUANTITIES = st.decimals("0.001", "20", places=3)


def test_take_walks_the_ladder_best_level_first() -> None:
    """Three units cost two at the first price and one at the second."""
    taken = take(ASKS, Side.BUY, Decimal(3), None)
    assert [(row.price, row.quantity) for row in taken] == [
        (Decimal(100), Decimal(2)),
        (Decimal(101), Decimal(1)),
    ]


def test_take_stops_at_the_limit_price() -> None:
    """Nothing beyond the worst price is taken, in either direction."""
    assert total(take(ASKS, Side.BUY, Decimal(5), Decimal(100))) == 2
    assert take(ASKS, Side.BUY, Decimal(5), Decimal(99)) == ()
    bids = (BookLevel(Decimal(99), Decimal(1)),)
    assert take(bids, Side.SELL, Decimal(1), Decimal(100)) == ()


def test_take_is_partial_when_the_ladder_ends() -> None:
    """Asking for more than there is gives what there is."""
    assert total(take(ASKS, Side.BUY, Decimal(50), None)) == 5


def test_take_quote_spends_no_more_than_its_budget_in_whole_lots() -> None:
    """A budget in the quote asset buys whole lots at each price it reaches."""
    taken = take_quote(ASKS, Decimal("250.05"), Decimal("0.1"))
    spent = sum(row.price * row.quantity for row in taken)
    assert total(taken) == Decimal("2.4")
    assert spent <= Decimal("250.05")


def test_cap_keeps_the_best_executions() -> None:
    """A cap on liquidity cuts from the far end."""
    taken = cap(take(ASKS, Side.BUY, Decimal(5), None), Decimal("2.5"))
    assert [(row.price, row.quantity) for row in taken] == [
        (Decimal(100), Decimal(2)),
        (Decimal(101), Decimal("0.5")),
    ]


@given(consumed=QUANTITIES, wanted=QUANTITIES)
def test_what_is_consumed_cannot_be_taken_again(consumed: Decimal, wanted: Decimal) -> None:
    """Taken plus consumed never exceeds what the ladder held."""
    left = without(ASKS, consumed)
    assert total(take(left, Side.BUY, wanted, None)) + min(consumed, Decimal(5)) <= 5
    assert [row.price for row in left] == sorted(row.price for row in left)


def test_marketable_means_at_the_best_price_or_better() -> None:
    """Equality trades."""
    assert is_marketable(Side.BUY, Decimal(100), Decimal(100))
    assert is_marketable(Side.SELL, Decimal(100), Decimal(100))
    assert not is_marketable(Side.BUY, Decimal(99), Decimal(100))
    assert not is_marketable(Side.SELL, Decimal(101), Decimal(100))


def test_consumed_depth_comes_back_with_market_time() -> None:
    """Half of the replenishment time gives half back, all of it everything."""
    liquidity = Liquidity(TinyMarket(), timedelta(seconds=10), 20)
    args = (Kind.SPOT, "BTCUSDT", Side.BUY)
    liquidity.consume(*args, Decimal(2), START)
    assert liquidity.levels(*args, START)[0].price == Decimal("100.30")
    assert liquidity.consumed(*args, START + timedelta(seconds=5), LOT) == 1
    assert liquidity.levels(*args, START + timedelta(seconds=10))[0].price == Decimal("100.10")


def test_buyers_and_sellers_consume_different_sides() -> None:
    """A buy thins the asks and leaves the bids alone."""
    liquidity = Liquidity(TinyMarket(), timedelta(seconds=10), 20)
    liquidity.consume(Kind.SPOT, "BTCUSDT", Side.BUY, Decimal("0.4"), START)
    book = liquidity.book(Kind.SPOT, "BTCUSDT", START, 5)
    assert (book.asks[0].quantity, book.bids[0].quantity) == (Decimal("0.6"), Decimal(1))
    other = liquidity.book(Kind.PERPETUAL, "BTCUSDT", START, 5)
    assert other.asks[0].quantity == 1
