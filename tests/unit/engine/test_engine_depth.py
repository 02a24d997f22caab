"""Sizing an entry by both books: the largest size whose walk stays within the bound."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine.depth import bearable, size_by_depth, thinner_leg
from services.engine.instruments import Book, BookLevel, InstrumentKind, LegSide
from services.engine.policy import EnginePolicy
from services.engine.pretrade import LegFacts
from services.engine.proposal import EntryWish, propose
from tests.support.engine_rig import make_rules

D = Decimal
POLICY = EnginePolicy()
SPOT = make_rules("spot", InstrumentKind.SPOT)
PERP = make_rules("perp", InstrumentKind.PERPETUAL)


def book(*depth: str, tick: str = "0.1") -> Book:
    """Return a book around 100 with this much on each level of both sides, a tick apart."""
    steps = [(D(index) * D(tick), D(quantity)) for index, quantity in enumerate(depth)]
    return Book(
        tuple(BookLevel(100 - away, quantity) for away, quantity in steps),
        tuple(BookLevel(D("100.01") + away, quantity) for away, quantity in steps),
    )


def facts(leg: LegSide, levels: Book) -> LegFacts:
    """Return a leg with this book: long spot with its fee in base, short perpetual."""
    rules = SPOT if leg is LegSide.LONG else PERP
    return LegFacts(leg, rules, levels, timedelta(0), D(10_000))


@pytest.mark.parametrize(
    ("leg", "worst", "size"),
    [
        (LegSide.SHORT, "100", "1"),
        (LegSide.SHORT, "99.9", "3"),
        (LegSide.SHORT, "99.85", "3"),
        (LegSide.SHORT, "100.01", "0"),
        # A buy that pays its fee in the coin needs more than its size.
        (LegSide.LONG, "100.01", "0.999"),
        (LegSide.LONG, "100.2", "2.997"),
    ],
)
def test_a_leg_bears_what_lies_within_its_worst_price(leg: LegSide, worst: str, size: str) -> None:
    """Levels up to the worst price count whole, those beyond it not at all."""
    assert bearable(facts(leg, book("1", "2", "4")), D(worst)) == D(size)


@pytest.mark.parametrize(
    ("long_depth", "short_depth", "wanted", "quantity", "lead"),
    [
        ("5", "7", "1", "1", LegSide.LONG),
        ("7", "5", "1", "1", LegSide.SHORT),
        ("5", "0.9", "1", "0.9", LegSide.SHORT),
        ("0.9", "5", "1", "0.899", LegSide.LONG),
        # Less than eight tenths: the wanted size stands, for the checks to refuse.
        ("5", "0.7", "1", "1", LegSide.SHORT),
    ],
)
def test_an_entry_is_sized_by_the_thinner_leg_which_leads(
    long_depth: str, short_depth: str, wanted: str, quantity: str, lead: LegSide
) -> None:
    """The smaller of what both books bear, in common lots."""
    long, short = facts(LegSide.LONG, book(long_depth)), facts(LegSide.SHORT, book(short_depth))
    proposal = propose(long, short, EntryWish(None, D(wanted), None, None), POLICY)
    assert (proposal.quantity, proposal.lead_leg) == (D(quantity), lead)


def test_the_whole_size_is_wanted_where_the_setting_says_so() -> None:
    """With a ratio of one nothing is entered in part."""
    short = facts(LegSide.SHORT, book("0.9"))
    policy = replace(POLICY, min_size_ratio=D(1))
    wish = EntryWish(None, D(1), None, None)
    assert propose(facts(LegSide.LONG, book("5")), short, wish, policy).quantity == 1


@given(st.lists(st.integers(0, 5000), min_size=2, max_size=2), st.integers(1, 5000))
def test_a_size_never_exceeds_the_wish_nor_a_book(depths: list[int], wanted: int) -> None:
    """Either the size is borne by both books, or it is the wish and too little is borne."""
    borne = dict(zip(LegSide, map(D, depths), strict=True))
    size = size_by_depth(D(wanted), borne, D("0.8"))
    assert size <= wanted
    assert size <= min(depths) or min(depths) < wanted * D("0.8")
    assert borne[thinner_leg(borne)] == min(depths)
