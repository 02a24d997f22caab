"""What entries under way will still take is not free; what they took has left the free funds."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.claimed_funds import claimed_funds, funds_needed
from services.engine.instruments import LegSide
from services.engine.orders import OrderClass
from services.engine.position import Position, begin, fold
from tests.support.risk_positions import PERP, SPOT, closed, entering, opened, ordered
from tests.support.virtual_clock import START

D = Decimal
LONG, SHORT = LegSide.LONG, LegSide.SHORT
ASKED = entering(quantity="5")
FILLED = ordered(ASKED, LONG, OrderClass.ENTRY, quantity="5", filled="2")
RESTING = begin(replace(ASKED.intent, passive=True))
RESTING_SENT = ordered(RESTING, LONG, OrderClass.ENTRY, quantity="3")
CLOSING = fold(FILLED, ev.ExitRequested("p1", START, "CLOSE_REQUESTED"))


def spot(quantity: str) -> Decimal:
    """Return what so much takes at the lead's worst price, 100.2."""
    return funds_needed(SPOT, D(quantity), D("100.2"))


@pytest.mark.parametrize(
    ("before", "now", "claimed"),
    [
        ([], [], D(0)),
        ([], [ASKED], spot("5")),
        ([ASKED], [ASKED], spot("5")),
        ([FILLED], [FILLED], spot("3")),
        # Whether the read saw the fill nobody knows.
        ([ASKED], [FILLED], spot("5")),
        ([ASKED], [opened(quantity="5")], spot("5")),
        ([], [opened(quantity="5")], D(0)),
        ([opened(quantity="5")], [opened(quantity="5")], D(0)),
        ([CLOSING], [CLOSING], D(0)),
        ([closed()], [closed(), entering("p2", quantity="1")], spot("1")),
        # The venue locks what a resting lead may take.
        ([RESTING_SENT], [RESTING_SENT], spot("2")),
        ([RESTING], [RESTING_SENT], spot("5")),
    ],
)
def test_an_entry_claims_what_it_has_not_taken(
    before: list[Position], now: list[Position], claimed: Decimal
) -> None:
    """It counts by what was held when the funds were read, at the dearest price it may pay."""
    assert claimed_funds("spot", "USDT", before, now) == claimed


def test_only_the_same_account_and_coin_are_claimed() -> None:
    """A leg claims nothing of another venue, and nothing of another coin."""
    assert claimed_funds("perp", "USDT", [], [ASKED]) == funds_needed(PERP, D(5), D(100))
    assert claimed_funds("perp", "USDC", [], [ASKED]) == 0
    assert claimed_funds("other", "USDT", [], [ASKED]) == 0


def test_a_perpetual_takes_its_margin_and_its_fee() -> None:
    """Spot takes its price; what a fee in the coin takes is bought besides."""
    perpetual = replace(PERP, initial_margin_ratio=D("0.1"), taker_fee_ratio=D("0.001"))
    assert funds_needed(perpetual, D(10), D(100)) == D(101)
    coin = replace(SPOT, base_fee_ratio=D("0.001"), taker_fee_ratio=D(0))
    assert funds_needed(coin, D("9.99"), D(100)) == pytest.approx(D(1000))
