"""Edges of what venues tell of losses: prices of what left, whose pocket a fee and a break is."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.baselines import declared_baselines
from services.engine.gone_record import GoneRecord, joined
from services.engine.instruments import InstrumentKind, LegSide
from services.engine.orders import (
    AssetAmount,
    GoneCause,
    OrderClass,
    OrderOutcome,
    OrderPlan,
    OrderSide,
)
from services.engine.pockets import Pocket, PocketKind
from services.engine.position import Position, begin, fold
from services.engine.reconcile_ledger import PocketLedger
from services.engine.reconciliation import Break, MissingLeg, missing_leg
from tests.support.engine_rig import make_rules

D = Decimal
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
SPOT = make_rules("spot", InstrumentKind.SPOT, base_fee_ratio=D(0))
PERP = make_rules("perp", InstrumentKind.PERPETUAL)
CONTRACTS = Pocket("perp", PocketKind.PERPETUAL, "BTCUSDT")


def position_with(key: str, contracts: str, fee: AssetAmount | None = None) -> Position:
    """Return a position whose hedge sold so many contracts, with a fee."""
    allowance = ev.OrderAllowance(LegSide.SHORT, OrderSide.SELL, D(1), D(99))
    position = begin(
        ev.EntryIntended(
            key, AT, SPOT, PERP, LegSide.LONG, D(1), D(1), D(100), D(101), D(100), allowance
        )
    )
    order = f"{key}sh0000"
    plan = OrderPlan(order, PERP.ref, LegSide.SHORT, OrderClass.HEDGE, OrderSide.SELL, D(1), D(99))
    fees = () if fee is None else (fee,)
    outcome = OrderOutcome(order, True, D(contracts), D(contracts), D(100), fees)
    position = fold(position, ev.OrderIntended(key, AT, plan))
    return fold(position, ev.OrderObserved(key, AT, LegSide.SHORT, outcome))


def told(*words: tuple[str, str, str | None]) -> GoneRecord:
    """Return the record after (quantity, evidence, price) in turn."""
    record = GoneRecord()
    for quantity, evidence, price in words:
        cause = GoneCause.LIQUIDATED if evidence else GoneCause.UNEXPLAINED
        value = None if price is None else D(price)
        record = joined(record, D(quantity), evidence, cause, value)
    return record


@pytest.mark.parametrize(
    ("words", "average"),
    [
        ((), None),
        ((("2", "", None),), None),
        ((("2", "a", "90"),), "90"),
        ((("2", "a", "90"), ("2", "b", "80")), "85"),
        ((("2", "a", "90"), ("2", "", None)), "90"),
        ((("2", "a", "90"), ("3", "", None)), None),
        ((("2", "a", "90"), ("2", "b", None)), None),
        ((("2", "a", "90"), ("3", "a", "88")), "88"),
        ((("2", "a", "90"), ("2", "a", None)), "90"),
        ((("2", "a", "90"), ("2", "a", "80"), ("1", "a", "70")), "90"),
    ],
)
def test_what_left_has_a_price_where_every_part_of_it_has_one(
    words: tuple[tuple[str, str, str | None], ...], average: str | None
) -> None:
    """A reading that finds no more than the forced fills told leaves them their price."""
    assert told(*words).average_price == (None if average is None else D(average))


def test_a_leg_that_holds_nothing_is_not_asked_for_what_is_missing() -> None:
    """Of two live positions in a pocket only the one with something on can have lost it."""
    holder = position_with("p000000000000000", "1")
    empty = position_with("p000000000000001", "0")
    found = Break(CONTRACTS, D(-1), D("-0.4"))
    missing = MissingLeg(holder.position_id, LegSide.SHORT, D("0.6"))
    assert missing_leg(found, [holder, empty], PERP.lot_size) == missing
    second = position_with("p000000000000001", "1")
    assert missing_leg(found, [holder, second], PERP.lot_size) is None


def test_a_fee_of_a_perpetual_leaves_no_wallet_of_the_spot_venue() -> None:
    """It is paid out of the futures account, whose coins are in no pocket here."""
    position = position_with("p000000000000000", "1", AssetAmount("BNB", D("0.01")))
    lines = PocketLedger().update([position])
    assert {pocket.name for pocket in lines} == {"BTC", "BTCUSDT"}


def test_a_break_of_a_pocket_nobody_expects_anything_of_stays() -> None:
    """Resuming cannot declare what has no baseline."""
    one = ev.ReconciliationBroke(AT, CONTRACTS, D(1), D(0), ("BTCUSDT",))
    assert declared_baselines([one], {}, AT) == ()
