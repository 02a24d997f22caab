"""What is known of crossing both books of a pair, and which fees are asked again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.common.errors import UnimplementedError, UnreachableError
from services.scanner.books import Book, Level
from services.scanner.caveats import Caveat
from services.scanner.costs import cost_caveats, crossing_budget, net_carry
from services.scanner.crossing import clock_lead, crossing_of, pair_capacity
from services.scanner.fees import FeeBook
from services.scanner.instruments import InstrumentKey, InstrumentKind, RateRow
from services.scanner.market import VenueView
from services.scanner.pairs import PairOfLegs
from services.scanner.rules import CostRules
from services.scanner.task_runner import TaskEnd
from services.scanner.tasks import ReadFees

NOW = datetime(2026, 3, 20, tzinfo=UTC)
LONG = InstrumentKey("s", "AAAUSDT", InstrumentKind.SPOT)
SHORT = InstrumentKey("p", "AAAUSDT", InstrumentKind.PERPETUAL)
PAIR = PairOfLegs(LONG, SHORT)


def view(leg: InstrumentKey, *, lead: timedelta | None = None) -> VenueView:
    """Return a venue received now, whose clock ours leads by so much when it stamps rates."""
    row = RateRow(leg.symbol, None, None, None if lead is None else NOW - lead, None)
    return VenueView(leg.venue, leg.kind, {}, {}, NOW, rates={leg.symbol: row})


VIEWS = {"s": view(LONG), "p": view(SHORT)}


def book(quantity: str = "1000", age: timedelta = timedelta(0)) -> Book:
    """Return a book of one level a side around a hundred."""
    levels = [(Level(Decimal(price), Decimal(quantity)),) for price in ("99.9", "100.1")]
    return Book(levels[0], levels[1], NOW - age, NOW)


def test_sound_books_are_walked_at_the_wanted_size() -> None:
    """Nothing is doubted where both hold it."""
    crossing = crossing_of(PAIR, {LONG: book(), SHORT: book()}, VIEWS, CostRules())
    assert crossing.notional == CostRules().notional
    assert crossing.caveats == frozenset()
    assert crossing.books.keys() == {LONG, SHORT}


@pytest.mark.parametrize(
    ("books", "caveats", "walked"),
    [
        ({}, {Caveat.BOOK_UNREAD}, set()),
        ({LONG: None, SHORT: None}, {Caveat.BOOK_MISSING}, set()),
        ({LONG: book(), SHORT: None}, {Caveat.BOOK_MISSING}, {LONG}),
        ({LONG: book()}, {Caveat.BOOK_UNREAD}, {LONG}),
        ({LONG: book(), SHORT: book(age=timedelta(minutes=1))}, {Caveat.BOOK_STALE}, {LONG}),
        ({LONG: book("10"), SHORT: book()}, {Caveat.BOOK_SHALLOW}, {LONG, SHORT}),
    ],
)
def test_each_lack_of_a_book_is_named(
    books: dict[InstrumentKey, Book | None], caveats: set[Caveat], walked: set[InstrumentKey]
) -> None:
    """What cannot be walked is doubted, and no capacity is told without both books."""
    crossing = crossing_of(PAIR, books, VIEWS, CostRules())
    assert crossing.caveats == caveats
    assert crossing.books.keys() == walked
    assert (crossing.notional is None) == (not walked)
    told = pair_capacity(PAIR, crossing, Decimal(1))
    assert (told is not None) == (walked == {LONG, SHORT})


def test_a_venue_whose_clock_is_behind_makes_no_book_old() -> None:
    """Its book and its rates are stamped by the same clock; without stamps ours is taken."""
    old = book(age=timedelta(minutes=1))
    behind = {**VIEWS, "p": view(SHORT, lead=timedelta(seconds=55))}
    assert clock_lead(behind["p"]) == timedelta(seconds=55)
    assert clock_lead(VIEWS["s"]) == timedelta(0)
    crossing = crossing_of(PAIR, {LONG: book(), SHORT: old}, behind, CostRules())
    assert Caveat.BOOK_STALE not in crossing.caveats


def test_a_book_of_next_to_nothing_is_walked_at_no_size() -> None:
    """Less than a step of the quote asset is no size to tell a price for."""
    books = {LONG: book("0.000000000001"), SHORT: book()}
    crossing = crossing_of(PAIR, books, VIEWS, CostRules())
    assert crossing.notional is None
    assert crossing.caveats == {Caveat.BOOK_SHALLOW}


@pytest.mark.parametrize("thin", [LONG, SHORT])
def test_capacity_is_that_of_the_thinner_leg(thin: InstrumentKey) -> None:
    """Ten coins at a hundred are all that either leg can be traded for."""
    books = {LONG: book(), SHORT: book(), thin: book("10")}
    told = pair_capacity(PAIR, crossing_of(PAIR, books, VIEWS, CostRules()), Decimal(1))
    assert told is not None
    assert told.notional == 1000
    assert told.is_book_end


def test_budget_of_crossing_is_what_leaves_the_wanted_net_apr() -> None:
    """Spending all of it, net APR is the least that is wanted."""
    fees = {"long_taker_fee": Decimal("0.002"), "short_taker_fee_default": Decimal("0.001")}
    holding = timedelta(hours=73)
    costs = {**fees, "long_half_spread": Decimal(1), "short_slippage": Decimal(1)}
    budget = crossing_budget(Decimal("0.72"), Decimal("0.12"), costs, holding)
    assert budget == Decimal("0.002")
    spent = net_carry(Decimal("0.72"), Decimal(0), {**fees, "crossing": budget}, holding)
    assert spent.net_apr == Decimal("0.12")


def test_costs_on_defaults_are_doubts() -> None:
    """Their names tell; costs the venue told are none."""
    names = ("long_taker_fee_default", "short_half_spread_default", "short_taker_fee")
    assert cost_caveats(dict.fromkeys(names, Decimal(0))) == {
        Caveat.FEE_DEFAULT,
        Caveat.SPREAD_DEFAULT,
    }
    assert cost_caveats({"long_taker_fee": Decimal(0)}) == frozenset()


def test_fee_told_by_symbol_is_asked_again_after_a_day() -> None:
    """Until then it stands in the views of later scans."""
    fees, told = FeeBook(), ReadFees("p", "AAAUSDT")
    assert fees.tasks([SHORT], VIEWS) == [told]
    fees.learn(told, {"AAAUSDT": Decimal("0.0004")}, NOW)
    assert fees.completed(VIEWS)["p"].taker_fee("AAAUSDT") == Decimal("0.0004")
    fees.forget_old(NOW + timedelta(hours=23))
    assert fees.tasks([SHORT], VIEWS) == []
    fees.forget_old(NOW + timedelta(hours=24))
    assert fees.tasks([SHORT], VIEWS) == [told]
    assert fees.completed(VIEWS) is VIEWS


def test_what_a_venue_tells_of_fees_is_believed_and_not_asked_twice() -> None:
    """The symbol's own word first, nothing is an answer, bulk stands, and only a refusal ends the
    asking in bulk.
    """
    fees, told, bulk = FeeBook(), ReadFees("p", "AAAUSDT"), ReadFees("p")
    fees.learn(told, {}, NOW)
    assert fees.tasks([SHORT], VIEWS) == []
    assert fees.completed(VIEWS) is VIEWS
    fees.learn(told, {"": Decimal("0.001"), "AAAUSDT": Decimal("0.0004")}, NOW)
    assert fees.completed(VIEWS)["p"].taker_fee("AAAUSDT") == Decimal("0.0004")
    whole = {**VIEWS, "p": replace(VIEWS["p"], fees={"": Decimal("0.0003")})}
    assert fees.completed(whole) is whole
    fees.note_refusals([TaskEnd(bulk, None, UnreachableError("no route"))])
    assert fees.worth_asking([bulk]) == [bulk]
    fees.note_refusals([TaskEnd(bulk, None, UnimplementedError("no such call"))])
    assert fees.worth_asking([bulk]) == []
