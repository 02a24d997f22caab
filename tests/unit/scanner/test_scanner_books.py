"""Order books: reading, walking at a size, and how much a pair of legs carries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from google.type import decimal_pb2
from hypothesis import given
from hypothesis import strategies as st

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.common.codec import to_timestamp
from services.common.errors import InvalidFieldError
from services.scanner.book_codec import read_book
from services.scanner.books import Book, Level, book_problem, is_stale
from services.scanner.capacity import CAPACITY_STEP, capacity
from services.scanner.caveats import Caveat
from services.scanner.costs import LegCost, crossing_budget, net_carry, round_trip_costs
from services.scanner.instruments import InstrumentKind
from services.scanner.rules import CostRules
from services.scanner.slippage import crossing_ratio, ladder, leg_book, slippage_ratio

NOW = datetime(2026, 3, 20, tzinfo=UTC)
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "quality-score.md"
Side = Sequence[tuple[str, str]]


def levels(rows: Side) -> tuple[Level, ...]:
    """Return levels of (price, quantity)."""
    return tuple(Level(Decimal(price), Decimal(quantity)) for price, quantity in rows)


def book(bids: Side, asks: Side) -> Book:
    """Return a book observed now."""
    return Book(levels(bids), levels(asks), NOW, NOW)


def answer(bids: Side, asks: Side) -> exchange_pb2.GetOrderBookResponse:
    """Return a connector's answer with these levels."""
    sides = [
        [
            resources_pb2.OrderBookLevel(
                price=decimal_pb2.Decimal(value=price), quantity=decimal_pb2.Decimal(value=quantity)
            )
            for price, quantity in side
        ]
        for side in (bids, asks)
    ]
    return exchange_pb2.GetOrderBookResponse(
        symbol="AAAUSDT", bids=sides[0], asks=sides[1], observe_time=to_timestamp(NOW)
    )


def test_book_is_read_level_by_level() -> None:
    """Prices and quantities come exactly, with the venue's time and ours."""
    told = answer([("99.5", "2"), ("99", "1")], [("100.5", "3")])
    read = read_book(told, "AAAUSDT", NOW + timedelta(seconds=1))
    assert read.bids == levels([("99.5", "2"), ("99", "1")])
    assert read.asks == levels([("100.5", "3")])
    assert (read.observed, read.received) == (NOW, NOW + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([("99", "1"), ("99.5", "1")], [("100", "1")]),
        ([("99", "1")], [("101", "1"), ("100", "1")]),
        ([("0", "1")], [("100", "1")]),
        ([("99", "0")], [("100", "1")]),
        ([("-1", "1")], [("100", "1")]),
        ([("99", "1")], [("NaN", "1")]),
        ([("99", "")], [("100", "1")]),
    ],
)
def test_malformed_book_is_refused(bids: Side, asks: Side) -> None:
    """Levels out of order, or without a price and quantity above zero, make no book."""
    with pytest.raises(InvalidFieldError):
        read_book(answer(bids, asks), "AAAUSDT", NOW)


@pytest.mark.parametrize(
    ("price", "named"),
    [
        ("101\n102", "asks.price"),
        ("", "asks.price"),
        (" 101", "asks.price"),
        ("1_01", "asks.price"),
        ("1e2", "asks.price"),
        ("-101", "asks.price"),
    ],
)
def test_one_number_that_is_none_is_named(price: str, named: str) -> None:
    """Reading all numbers at once lets nothing through that one alone would not."""
    with pytest.raises(InvalidFieldError) as refused:
        read_book(answer([("99", "1")], [("100", "1"), (price, "1")]), "AAAUSDT", NOW)
    assert refused.value.field == named


def test_book_of_another_symbol_or_without_time_is_refused() -> None:
    """A book that is not surely the one asked for is not walked."""
    told = answer([("99", "1")], [("100", "1")])
    with pytest.raises(InvalidFieldError, match="another book"):
        read_book(told, "BBBUSDT", NOW)
    told.ClearField("observe_time")
    with pytest.raises(InvalidFieldError, match="observe_time"):
        read_book(told, "AAAUSDT", NOW)


@pytest.mark.parametrize(
    ("bids", "asks", "problem"),
    [
        ([], [("100", "1")], "no bids"),
        ([("99", "1")], [], "no asks"),
        ([], [], "no bids and no asks"),
        ([("101", "1")], [("100", "1")], "crossed: bid 101 over ask 100"),
    ],
)
def test_empty_one_sided_and_crossed_books_have_a_problem(
    bids: Side, asks: Side, problem: str
) -> None:
    """What cannot be crossed in and out is named."""
    assert problem in (book_problem(book(bids, asks)) or "")


def test_sound_and_locked_books_have_no_problem() -> None:
    """A bid at the ask leaves no spread, and can be crossed."""
    assert book_problem(book([("99", "1")], [("100", "1")])) is None
    locked = book([("100", "5")], [("100", "5")])
    assert book_problem(locked) is None
    assert crossing_ratio(leg_book(locked), Decimal(500)) == 0


def test_age_of_a_book_is_judged_by_its_venue_clock() -> None:
    """Half a minute is stale at 29 s and fresh at 30 s; a venue's slow clock makes no book old."""
    old = Book((), (), NOW - timedelta(seconds=30), NOW)
    assert is_stale(old, timedelta(0), timedelta(seconds=29))
    assert not is_stale(old, timedelta(0), timedelta(seconds=30))
    assert not is_stale(old, timedelta(seconds=10), timedelta(seconds=29))
    ahead = Book((), (), NOW + timedelta(hours=1), NOW)
    assert not is_stale(ahead, timedelta(0), timedelta(seconds=29))


def test_walk_takes_the_best_levels_first() -> None:
    """Three coins cost one at 100 and two at 101; more than is there is refused."""
    side = ladder(levels([("100", "1"), ("101", "4")]))
    assert side.amount(Decimal(3)) == Decimal(302)
    assert side.amount(Decimal("0.5")) == Decimal(50)
    assert side.amount(Decimal(5)) == Decimal(504)
    with pytest.raises(ValueError, match="less than that quantity"):
        side.amount(Decimal("5.1"))


def test_walk_keeps_every_digit() -> None:
    """Sums of long prices and quantities are not rounded to the 28 digits of the context."""
    price, quantity = "123456789012.000000000000000001", "987654321098.000000000000000001"
    side = ladder(levels([(price, quantity)]))
    exact = Fraction(price) * Fraction(quantity)
    assert Fraction(side.amounts[0]) == exact


def test_size_within_the_best_level_slips_nothing() -> None:
    """Then crossing costs the spread alone; past it the deeper levels cost more."""
    deep = leg_book(book([("99", "10"), ("98", "10")], [("101", "10"), ("102", "10")]))
    assert deep.mid == 100
    assert deep.half_spread_ratio == Decimal("0.01")
    assert slippage_ratio(deep, Decimal(1000)) == 0
    # Of 15 coins, 10 at the best price and 5 one off: a third of a per cent on each side.
    assert slippage_ratio(deep, Decimal(1500)) == pytest.approx(Decimal(1) / 300)
    with pytest.raises(ValueError, match="less than that notional"):
        slippage_ratio(deep, Decimal(2001))


prices = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@st.composite
def books(draw: st.DrawFn) -> Book:
    """Draw a sound book around a hundred, ticks of a cent, up to six levels a side."""
    spread = draw(st.integers(0, 30))
    sides: list[list[Level]] = []
    for sign in (-1, 1):
        price = 10_000 + sign * spread
        side: list[Level] = []
        for step in draw(prices):
            quantity = Decimal(draw(st.integers(1, 5000))) / 100
            side.append(Level(Decimal(price) / 100, quantity))
            price += sign * step
        sides.append(side)
    return Book(tuple(sides[0]), tuple(sides[1]), NOW, NOW)


def plain_cost(book: Book, notional: Fraction) -> Fraction:
    """Walk both sides the obvious way, in exact fractions."""
    mid = (Fraction(book.bids[0].price) + Fraction(book.asks[0].price)) / 2
    total = Fraction(0)
    for side, sign in ((book.asks, 1), (book.bids, -1)):
        left = notional / mid
        for level in side:
            taken = min(left, Fraction(level.quantity))
            total += sign * taken * Fraction(level.price)
            left -= taken
        assert left <= 0
    return total / notional


def plain_held(book: Book) -> Fraction:
    """Return the notional that the thinner side holds."""
    mid = (Fraction(book.bids[0].price) + Fraction(book.asks[0].price)) / 2
    sides = (book.bids, book.asks)
    return min(sum(Fraction(level.quantity) for level in side) for side in sides) * mid


@given(books(), st.integers(1, 1000))
def test_walk_equals_the_obvious_one(drawn: Book, share: int) -> None:
    """Running sums tell what walking level by level tells."""
    notional = Decimal(int(plain_held(drawn) * share)) / 1000
    if notional:
        told = crossing_ratio(leg_book(drawn), notional)
        assert abs(Fraction(told) - plain_cost(drawn, Fraction(notional))) < Fraction(1, 10**60)


@given(books(), books(), st.integers(-100, 2000), st.integers(24, 720), st.integers(-10, 50))
def test_net_apr_holds_up_to_the_capacity_and_no_further(
    first: Book, second: Book, gross: int, hours: int, least: int
) -> None:
    """At the capacity net APR is at or above the threshold, a step beyond it is under it."""
    carry, wanted = Decimal(gross) / 1000, Decimal(least) / 1000
    fees = {"long_taker_fee": Decimal("0.002"), "short_taker_fee_default": Decimal("0.001")}
    holding = timedelta(hours=hours)
    budget = crossing_budget(carry, wanted, fees, holding)
    found = capacity([leg_book(first), leg_book(second)], budget)

    def net_apr(notional: Fraction) -> Fraction:
        cost = plain_cost(first, notional) + plain_cost(second, notional) + Fraction(3, 1000)
        return Fraction(carry) - cost * 8760 / hours

    trace = Fraction(1, 10**20)
    held = min(plain_held(first), plain_held(second))
    if found.notional:
        assert net_apr(Fraction(found.notional)) >= Fraction(wanted) - trace
    beyond = Fraction(found.notional + CAPACITY_STEP)
    if found.is_book_end:
        assert held - beyond < 0 <= held - Fraction(found.notional)
    elif beyond <= held:
        assert net_apr(beyond) < Fraction(wanted) + trace


@given(books(), books(), st.integers(0, 60), st.integers(0, 60))
def test_capacity_never_falls_with_the_budget(
    first: Book, second: Book, small: int, more: int
) -> None:
    """Who may spend more on crossing can trade at least as much."""
    both = [leg_book(first), leg_book(second)]
    low = capacity(both, Decimal(small) / 5000)
    high = capacity(both, Decimal(small + more) / 5000)
    assert low.notional <= high.notional


def test_capacity_is_nothing_where_the_spread_costs_more_than_is_earned() -> None:
    """Not even the best prices are worth it then."""
    wide = leg_book(book([("99", "10")], [("101", "10")]))
    assert capacity([wide, wide], Decimal("0.0399")).notional == 0
    assert capacity([wide, wide], Decimal("0.04")).notional == 1000
    assert capacity([wide, wide], Decimal("0.04")).is_book_end


def test_capacity_of_a_book_beyond_belief_fits_the_wire() -> None:
    """A number no market holds must not keep the list from being told."""
    vast = leg_book(book([("100", "9" * 18)], [("100", "9" * 18)]))
    assert capacity([vast], Decimal(1)).notional == Decimal(10) ** 15


def test_worked_example_of_the_document_costs_what_it_says() -> None:
    """docs/quality-score.md's books, costs, net APR and capacity come out of the code."""
    text = DOCUMENT.read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| ([0-9.]+) % \|$", text, re.MULTILINE))
    spot = leg_book(
        book([("99.98", "60"), ("99.90", "400")], [("100.02", "60"), ("100.10", "400")])
    )
    perpetual = leg_book(
        book([("100.04", "50"), ("99.95", "500")], [("100.06", "50"), ("100.15", "500")])
    )
    size, holding = CostRules().notional, timedelta(hours=240)
    costs = round_trip_costs(
        LegCost(
            InstrumentKind.SPOT,
            Decimal("0.001"),
            spot.half_spread_ratio,
            slippage_ratio(spot, size),
        ),
        LegCost(
            InstrumentKind.PERPETUAL,
            Decimal("0.0005"),
            perpetual.half_spread_ratio,
            slippage_ratio(perpetual, size),
        ),
        CostRules(),
    )
    assert {name: f"{cost * 100:.4f}" for name, cost in costs.items()} == told
    net = net_carry(Decimal("0.438"), Decimal(0), costs, holding)
    budget = crossing_budget(Decimal("0.438"), Decimal("0.20"), costs, holding)
    found = capacity([spot, perpetual], budget)
    assert net.break_even_hours is not None
    for figure in (
        f"round trip is {net.round_trip_cost_ratio * 100:.4f} %",
        f"{net.round_trip_cost_ratio * 3650:.2f} % a year",
        f"net APR {net.net_apr * 100:.2f} %",
        f"break-even after {net.break_even_hours:.1f} hours",
        f"the {spot.held_notional:,.0f} USDT that spot holds",
        f"capacity is {found.notional:,.2f} USDT",
    ):
        assert figure in text, figure


def test_every_caveat_is_explained() -> None:
    """Whoever reads a caveat finds what it means."""
    told = set(re.findall(r"`([A-Z_]+)`", DOCUMENT.read_text(encoding="utf-8")))
    assert sorted(set(Caveat) - told) == []
