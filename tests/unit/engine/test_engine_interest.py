"""Interest of borrowed coins: what is charged to whom, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.correction import correction
from services.engine.instruments import InstrumentKind, LegSide
from services.engine.margin_interest import interest_charges
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.pockets import pocket_of
from services.engine.position import Position, begin, fold
from services.engine.reconciliation import Expectation
from services.engine.views import PositionStatus
from tests.support.engine_rig import make_rules
from tests.support.virtual_clock import START

D = Decimal
SPOT = replace(make_rules("spot", InstrumentKind.SPOT, base_fee_ratio=D(0)), use_margin=True)
PERP = make_rules("perp", InstrumentKind.PERPETUAL)
POCKET = pocket_of(SPOT)
LOT = SPOT.lot_size


def short_spot(key: str = "p000000000000000", quantity: str = "10") -> Position:
    """Return an open position whose short leg is borrowed spot."""
    size = D(quantity)
    allowance = ev.OrderAllowance(LegSide.LONG, OrderSide.BUY, size, D(200))
    position = begin(
        ev.EntryIntended(
            key, START, PERP, SPOT, LegSide.SHORT, size, size, D(100), D(99), D(100), allowance
        )
    )
    for leg, rules, kind, side in (
        (LegSide.SHORT, SPOT, OrderClass.ENTRY, OrderSide.SELL),
        (LegSide.LONG, PERP, OrderClass.HEDGE, OrderSide.BUY),
    ):
        plan = OrderPlan(f"{key}-{leg}", rules.ref, leg, kind, side, size, D(100))
        filled = OrderOutcome(plan.client_order_id, True, size, size, D(100), (), None)
        position = fold(position, ev.OrderIntended(key, START, plan))
        position = fold(position, ev.OrderObserved(key, START, leg, filled))
    return fold(position, ev.PositionSettled(key, START, PositionStatus.OPEN, ""))


def charges(
    told: str, owed: str, *positions: Position, baseline: str = "0"
) -> list[tuple[str, Decimal]]:
    """Return the charges of a pocket that is told so, by position."""
    ledger = sum((one.quantity(LegSide.SHORT) for one in positions), D(0))
    expected = {POCKET: Expectation(D(baseline), ledger, LOT)}
    found = interest_charges(expected, {POCKET: D(told)}, {POCKET: D(owed)}, positions, START)
    return [(one.position_id, one.total) for one in found]


@pytest.mark.parametrize(
    ("lots", "owed_lots", "charged_lots"),
    [
        ("0", "0", None),
        ("0.9", "0.9", None),
        ("1", "1", "1"),
        ("7.5", "7.5", "7"),
        # No more than the venue calls interest: the rest is the user's, or a break.
        ("7", "2", "2"),
        ("-5", "3", None),
    ],
)
def test_a_debt_above_the_ledger_is_charged_in_whole_lots(
    lots: str, owed_lots: str, charged_lots: str | None
) -> None:
    """As much as the venue names as interest, and only where more is owed than was sold."""
    told = str(D(-10) - D(lots) * LOT)
    expected = [] if charged_lots is None else [("p000000000000000", D(charged_lots) * LOT)]
    assert charges(told, str(D(owed_lots) * LOT), short_spot()) == expected


def test_interest_beside_a_debt_of_the_user_is_nobodys() -> None:
    """Nobody can say who owes it; coins of the user's own owe nothing."""
    assert charges("-16", "1", short_spot(), baseline="-5") == []
    assert charges("-6", "1", short_spot(), baseline="5") == [("p000000000000000", D(1))]


def test_interest_is_shared_by_what_each_position_owes() -> None:
    """Three times the debt, three times the interest."""
    one, three = short_spot("p00000000000000a", "10"), short_spot("p00000000000000b", "30")
    assert charges("-44", "4", one, three) == [(one.position_id, D(1)), (three.position_id, D(3))]


def test_a_charge_is_a_total_and_grows_the_short_leg() -> None:
    """Told twice it counts once; the legs come apart, and the larger one comes down."""
    position = short_spot()
    charge = ev.InterestCharged(position.position_id, START, D("0.5"))
    charged = fold(position, charge)
    assert charged.quantity(LegSide.SHORT) == D("-10.5")
    assert fold(charged, charge) is charged
    follows = correction(charged, START)
    assert isinstance(follows, ev.ReduceRequested)
    assert (follows.long_target, follows.short_target) == (D(10), D(10))
    assert follows.reason == "INTEREST_OWED"
    assert correction(position, START) is None


def test_an_ended_position_goes_on_where_interest_is_left() -> None:
    """The exit repaid interest first and left as much of the debt."""
    position = replace(short_spot(), orders={}, status=PositionStatus.CLOSED)
    charged = fold(position, ev.InterestCharged(position.position_id, START, D("0.5")))
    follows = correction(charged, START)
    assert isinstance(follows, ev.ExitResumed)
    assert follows.reason == "INTEREST_OWED"
