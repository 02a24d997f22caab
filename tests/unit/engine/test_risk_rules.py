"""Every bound of risk just below it, at it and just above it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine import events as ev
from services.engine.halt_flag import HaltFlagFile, halt_path
from services.engine.instruments import LegSide
from services.engine.ledger import Ledger
from services.engine.orders import AssetAmount, OrderClass
from services.engine.policy import EngineLimits
from services.engine.position import Position, fold
from services.engine.pretrade import Exposures, check_limits
from services.engine.risk_checks import RiskFacts, check_risk
from services.engine.risk_cooldown import check_cooldown
from services.engine.risk_day import check_daily_fees, check_daily_loss
from services.engine.risk_exposure import (
    LegExposure,
    PlannedEntry,
    check_exposure,
    leg_exposures,
    pair_notional,
    worst_case_quantity,
)
from services.engine.risk_failures import (
    consecutive_failures,
    consecutive_losses,
    is_too_many,
)
from services.engine.risk_halt import HaltFlag, halt_at_start
from services.engine.risk_limits import RiskLimits
from services.engine.risk_rate import check_order_rate, orders_of_last_minute
from services.engine.risk_result import fees_of_day, position_result, utc_day
from services.engine.risk_staleness import is_stale
from services.engine.risk_state import may_send, state_of
from services.engine.views import EngineMode, PositionStatus
from tests.support.risk_positions import (
    PERP,
    SPOT,
    closed,
    entering,
    failed,
    opened,
    ordered,
    settled,
)
from tests.support.virtual_clock import START

D = Decimal
LONG, SHORT = LegSide.LONG, LegSide.SHORT
SECOND = timedelta(seconds=1)


def planned(long: str = "100", short: str = "100", order: str = "100") -> PlannedEntry:
    """Return an entry on both venues."""
    return PlannedEntry(
        {LONG: SPOT.ref, SHORT: PERP.ref},
        {LONG: D(long), SHORT: D(short)},
        {LONG: D(order), SHORT: D(order)},
    )


@pytest.mark.parametrize(("order", "refused"), [("99", 0), ("100", 0), ("101", 2)])
def test_an_order_is_bounded(order: str, refused: int) -> None:
    """The largest order of each leg may reach its bound, not pass it."""
    limits = RiskLimits(max_order_notional=D(100))
    failures = check_exposure(planned(order=order), (), limits)
    assert [f.reason for f in failures] == ["ORDER_NOTIONAL_LIMIT"] * refused


@pytest.mark.parametrize(("adds", "refused"), [("899", False), ("900", False), ("901", True)])
def test_a_venue_is_bounded(adds: str, refused: bool) -> None:
    """What is on a venue and what comes may reach the bound together."""
    limits = RiskLimits(max_venue_notional=D(1000))
    held = leg_exposures([opened(), closed("p2")], {})
    failures = check_exposure(planned(long=adds), held, limits)
    assert [(f.reason, f.leg) for f in failures] == [("VENUE_NOTIONAL_LIMIT", LONG)] * refused


def test_both_legs_on_one_venue_count_together() -> None:
    """The second leg is judged with the first in it."""
    limits = RiskLimits(max_venue_notional=D(150))
    both = replace(planned(), refs={LONG: SPOT.ref, SHORT: SPOT.ref})
    assert [f.leg for f in check_exposure(both, (), limits)] == [SHORT]


def test_an_entry_under_way_counts_whole() -> None:
    """Slices that were not sent yet may still come: limits see what was asked."""
    position = ordered(entering(quantity="5"), LONG, OrderClass.ENTRY, filled="1")
    assert [worst_case_quantity(position, leg) for leg in LegSide] == [D(5), D(5)]


def test_an_order_in_doubt_counts_as_filled() -> None:
    """Once an exit stopped the entry, only what is sent may still fill, and it counts whole."""
    position = ordered(entering(quantity="5"), LONG, OrderClass.ENTRY, filled="2")
    position = ordered(position, SHORT, OrderClass.HEDGE, quantity="2")
    position = fold(position, ev.ExitRequested("p1", START, "CLOSE_REQUESTED"))
    assert [worst_case_quantity(position, leg) for leg in LegSide] == [D(2), D(2)]


def test_an_exit_in_doubt_counts_as_not_filled() -> None:
    """Until there is evidence, what an exit may have sold is still on."""
    position = fold(opened(), ev.ExitRequested("p1", START, "CLOSE_REQUESTED"))
    position = ordered(position, LONG, OrderClass.EXIT)
    assert worst_case_quantity(position, LONG) == D(1)


def test_a_reduced_position_frees_what_it_gave_up() -> None:
    """Limits count what may be on, not what was once asked; of a pair the dearer leg."""
    position = fold(opened(quantity="2"), ev.ReduceRequested("p1", START, D(1), D(1), D(1)))
    for leg in LegSide:
        position = ordered(position, leg, OrderClass.EXIT, filled="1")
    position = settled(position, PositionStatus.OPEN)
    rows = leg_exposures([position, opened("p2")], {PERP.ref: D(110)})
    assert pair_notional(rows) == D(220)


@pytest.mark.parametrize(
    ("bound", "reason"),
    [
        ("max_leg_notional", "LEG_NOTIONAL_LIMIT"),
        ("max_symbol_notional", "SYMBOL_NOTIONAL_LIMIT"),
        ("max_total_notional", "TOTAL_NOTIONAL_LIMIT"),
    ],
)
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_pairs_are_bounded(bound: str, reason: str, beyond: int) -> None:
    """The bounds of a leg, a symbol and of all may be reached, not passed."""
    held = {"max_leg_notional": 0, "max_symbol_notional": 30, "max_total_notional": 50}[bound]
    limits = replace(EngineLimits(), **{bound: D(100 + held - beyond)})  # type: ignore[arg-type]  # a name out of a table
    failures = check_limits(D(100), limits, Exposures(D(30), D(50), 0))
    assert [f.reason for f in failures] == ([reason] if beyond > 0 else [])


@pytest.mark.parametrize(("count", "refused"), [(99, False), (100, True), (101, True)])
def test_positions_are_counted(count: int, refused: bool) -> None:
    """One more must fit under the bound."""
    failures = check_limits(D(1), EngineLimits(), Exposures(D(0), D(0), count))
    assert [f.reason for f in failures] == ["POSITION_COUNT_LIMIT"] * refused


def test_legs_are_valued_at_their_marks() -> None:
    """A mark that is known replaces what the entry was decided by."""
    rows = leg_exposures([opened(quantity="2")], {PERP.ref: D(110)})
    assert rows == (
        LegExposure("p1", LONG, SPOT.ref, D(2), D(200)),
        LegExposure("p1", SHORT, PERP.ref, D(2), D(220)),
    )


@pytest.mark.parametrize(
    ("result", "refused"), [("1000", False), ("-99", False), ("-100", True), ("-101", True)]
)
def test_a_day_may_lose_so_much(result: str, refused: bool) -> None:
    """Entries stop once the loss has reached the bound."""
    failures = check_daily_loss(D(result), RiskLimits(max_daily_loss=D(100)))
    assert [f.reason for f in failures] == ["DAILY_LOSS_LIMIT"] * refused


@pytest.mark.parametrize(("spent", "refused"), [("89", False), ("90", False), ("91", True)])
def test_a_day_may_cost_so_much(spent: str, refused: bool) -> None:
    """The entry's own fees, both ways, must fit into what is left."""
    failures = check_daily_fees(D(spent), D(10), RiskLimits(max_daily_fees=D(100)))
    assert [f.reason for f in failures] == ["DAILY_FEE_LIMIT"] * refused


@pytest.mark.parametrize(("count", "stops"), [(2, False), (3, True), (4, True)])
def test_so_many_entries_may_fail(count: int, stops: bool) -> None:
    """The bound itself is one too many."""
    rows = [failed(f"p{i}", "LEAD_REJECTED X", at=START + i * SECOND) for i in range(count)]
    found = consecutive_failures(rows, None)
    assert found == count
    assert is_too_many(found, RiskLimits(max_consecutive_failures=3)) is stops


def test_an_open_position_ends_the_row_of_failures() -> None:
    """Only failures after the last success count, however late that success was changed."""
    paid, late = AssetAmount("USDT", D(1)), START + 9 * SECOND
    success, failure = opened("p2", at=START + 2 * SECOND), "HEDGE_FAILED_LEAD_UNWOUND"
    looked_at = failed("p3", failure, at=START + 3 * SECOND)
    # Not in the order of their starts: a clock was put back.
    rows = [
        failed("p4", "LEAD_NOT_FILLED", at=START + 4 * SECOND),
        failed("p1", "LEAD_REJECTED X", at=START + SECOND),
        fold(success, ev.FundingRead("p2", late, SHORT, paid)),
        # Nor is one that was looked at new again by what is read of it later.
        fold(looked_at, ev.FundingRead("p3", late, SHORT, paid)),
    ]
    ledger = Ledger(START)
    for position in rows:
        ledger.put(position)
    newest = [ledger.positions[intent.position_id] for intent in reversed(ledger.starts)]
    assert consecutive_failures(newest, None) == 1
    assert consecutive_failures(newest, START + 3 * SECOND) == 0


def test_losses_count_from_the_last_gain() -> None:
    """Positions count by when they closed, newest first, up to one that did not lose."""
    rows = [
        closed("p1", at=START, gain="-1"),
        closed("p2", at=START + SECOND, gain="1"),
        closed("p3", at=START + 2 * SECOND, gain="-1"),
        closed("p4", at=START + 3 * SECOND, gain="-2"),
    ]
    assert consecutive_losses(rows, None, lambda p: position_result(p, {})) == 2
    late = START + 2 * SECOND
    assert consecutive_losses(rows, late, lambda p: position_result(p, {})) == 1


@pytest.mark.parametrize(("waited", "refused"), [(59, True), (60, False), (61, False)])
def test_a_symbol_cools_down(waited: int, refused: bool) -> None:
    """A symbol is entered again when the wait is over, to the second."""
    limits = RiskLimits(symbol_cooldown=timedelta(seconds=60))
    now = START + timedelta(seconds=waited)
    failures = check_cooldown([closed()], "BTCUSDT", now, limits)
    assert [f.reason for f in failures] == ["SYMBOL_COOLDOWN"] * refused
    assert check_cooldown([closed()], "ETHUSDT", now, limits) == ()


def test_what_was_never_filled_cools_nothing() -> None:
    """A lead that found no price has paid nothing."""
    limits = RiskLimits(symbol_cooldown=timedelta(seconds=60))
    assert check_cooldown([failed("p1", "LEAD_NOT_FILLED")], "BTCUSDT", START, limits) == ()


@pytest.mark.parametrize(("sent", "refused"), [(7, False), (8, False), (9, True)])
def test_orders_are_counted_by_the_minute(sent: int, refused: bool) -> None:
    """A lead and a hedge must fit under the bound."""
    failures = check_order_rate(sent, RiskLimits(max_orders_per_minute=10))
    assert [f.reason for f in failures] == ["ORDER_RATE_LIMIT"] * refused


@pytest.mark.parametrize(("seconds", "count"), [(59, 2), (60, 0), (61, 0)])
def test_an_order_counts_for_a_minute(seconds: int, count: int) -> None:
    """An order of sixty seconds ago does not count any more."""
    assert orders_of_last_minute([opened()], START + timedelta(seconds=seconds)) == count


@pytest.mark.parametrize(
    ("age", "stale"), [(-11, True), (-10, False), (9, False), (10, False), (11, True)]
)
def test_figures_have_an_age(age: int, stale: bool) -> None:
    """A figure at its bound still counts; one from far ahead tells of a wrong clock."""
    assert is_stale(age * SECOND, 10 * SECOND) is stale
    assert not is_stale(age * SECOND, None)


def test_what_is_not_set_bounds_nothing() -> None:
    """With no limit, nothing is refused, whatever happened."""
    rows = [opened(), *(failed(f"f{i}", "LEAD_REJECTED X") for i in range(9)), closed("p9")]
    facts = RiskFacts(rows, START, D(-(10**9)), 9)
    assert check_risk("BTCUSDT", planned(), D(10**9), facts, RiskLimits()) == ()


def test_all_failures_are_told_together() -> None:
    """An entry against which everything speaks is refused for every reason at once."""
    limits = RiskLimits(
        max_order_notional=D(1),
        max_venue_notional=D(1),
        max_daily_loss=D(1),
        max_daily_fees=D(1),
        max_consecutive_failures=1,
        symbol_cooldown=timedelta(hours=1),
        max_orders_per_minute=2,
    )
    rows = [closed("p1"), failed("p2", "LEAD_REJECTED X", at=START + SECOND)]
    facts = RiskFacts(rows, START + 2 * SECOND, D(-1), 1)
    found = {f.reason for f in check_risk("BTCUSDT", planned(), D(2), facts, limits)}
    assert found == {
        "ORDER_NOTIONAL_LIMIT",
        "VENUE_NOTIONAL_LIMIT",
        "DAILY_LOSS_LIMIT",
        "DAILY_FEE_LIMIT",
        "CONSECUTIVE_FAILURES",
        "SYMBOL_COOLDOWN",
        "ORDER_RATE_LIMIT",
    }


def test_a_result_counts_flows_marks_fees_and_funding() -> None:
    """Sells less buys, what is held at its mark, less quote fees, with funding."""
    position = entering()
    position = ordered(position, LONG, OrderClass.ENTRY, filled="1", price="100", fee="0.1")
    position = ordered(position, SHORT, OrderClass.HEDGE, filled="1", price="101", fee="0.05")
    position = settled(position, PositionStatus.OPEN)
    position = fold(position, ev.FundingRead("p1", START, SHORT, AssetAmount("USDT", D("0.5"))))
    assert position_result(position, {}) == D("0.35")
    marks = {SPOT.ref: D(110), PERP.ref: D(112)}
    assert position_result(position, marks) == D("-0.65")


def test_a_fee_nobody_can_value_counts_as_the_taker_fee() -> None:
    """Fees in a third coin, or not told yet, are taken at the rate the venue names."""
    told = ordered(entering(), LONG, OrderClass.ENTRY, filled="1", fee="0.001 BNB")
    silent = ordered(entering(), LONG, OrderClass.ENTRY, filled="1")
    assert fees_of_day([told], utc_day(START)) == D("0.1")
    assert fees_of_day([silent], utc_day(START)) == D("0.1")


def test_the_fees_of_a_day_count_what_is_in_doubt() -> None:
    """An order without an outcome may have filled whole; one of yesterday is yesterday's."""
    position = ordered(entering(), LONG, OrderClass.ENTRY)
    assert fees_of_day([position], utc_day(START)) == D("0.1")
    assert fees_of_day([position], date(2026, 1, 6)) == 0


def test_days_are_those_of_utc() -> None:
    """An instant belongs to the day that UTC has then."""
    at = datetime.fromisoformat("2026-01-06T00:30:00+02:00")
    assert utc_day(at) == date(2026, 1, 5)


@pytest.mark.parametrize("mode", EngineMode)
@pytest.mark.parametrize("order_class", OrderClass)
def test_no_state_blocks_what_reduces(mode: EngineMode, order_class: OrderClass) -> None:
    """Only a lead is kept, and only while the engine is not active."""
    kept = order_class is OrderClass.ENTRY and mode is not EngineMode.ACTIVE
    assert may_send(mode, order_class) is not kept


@pytest.mark.parametrize(
    ("mode", "tripped", "expected"),
    [
        (EngineMode.ACTIVE, False, EngineMode.ACTIVE),
        (EngineMode.ACTIVE, True, EngineMode.REDUCING),
        (EngineMode.REDUCING, False, EngineMode.REDUCING),
        (EngineMode.HALTED, True, EngineMode.HALTED),
    ],
)
def test_the_worse_state_holds(mode: EngineMode, tripped: bool, expected: EngineMode) -> None:
    """A symbol is in the worse of its own state and the engine's."""
    breakers = {"BTCUSDT": "why"} if tripped else {"ETHUSDT": "why"}
    assert state_of("BTCUSDT", mode, breakers) is expected


@pytest.mark.parametrize(
    ("flag", "word", "empty", "halted"),
    [
        (HaltFlag(known=False), "", True, False),
        (HaltFlag(known=False), "", False, True),
        (HaltFlag(known=False), "because", False, True),
        (HaltFlag(known=True), "", True, False),
        (HaltFlag(known=True), "", False, False),
        (HaltFlag(known=True, used=True), "", True, True),
        (HaltFlag(known=True, used=True), "", False, False),
        (HaltFlag(known=True, used=True, halted=True), "", False, True),
        (HaltFlag(known=True, used=True), "because", False, True),
        (HaltFlag(known=True, problem="torn"), "", False, True),
    ],
)
def test_either_word_of_a_halt_stands(flag: HaltFlag, word: str, empty: bool, halted: bool) -> None:
    """Halted are also a lost flag, a lost journal and a flag that cannot be read."""
    assert bool(halt_at_start(flag, word, journal_is_empty=empty)) is halted


def test_a_flag_survives_its_file(tmp_path: Path) -> None:
    """What is read is what was written last."""
    file = HaltFlagFile(halt_path(tmp_path / "deep" / "journal.db"))
    assert file.read() == HaltFlag(known=False)
    for flag in (HaltFlag(True, True, True, "why ünïcode"), HaltFlag(True, True)):
        file.write(flag)
        assert file.read() == flag


@given(body=st.binary(max_size=200))
def test_a_flag_that_cannot_be_read_is_a_halt(
    body: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever bytes lie there, the start is halted or they are a flag in full."""
    path = tmp_path_factory.getbasetemp() / "flag.halt"
    path.write_bytes(body)
    found = HaltFlagFile(path).read()
    assert found.problem
    assert halt_at_start(found, "", journal_is_empty=False)


@pytest.mark.parametrize(
    "body",
    ['{"used":1,"halted":false,"reason":""}', '{"halted":false,"reason":""}', "[]", "null", "{"],
)
def test_a_flag_of_another_shape_is_a_halt(body: str, tmp_path: Path) -> None:
    """A flag that is only nearly one is not believed."""
    path = tmp_path / "flag.halt"
    path.write_text(body)
    assert HaltFlagFile(path).read().problem


def test_a_flag_that_is_a_folder_is_a_halt(tmp_path: Path) -> None:
    """What cannot be opened cannot be believed."""
    assert HaltFlagFile(tmp_path).read().problem


def test_a_final_position_holds_nothing_at_worst() -> None:
    """Dust of a closed position is not exposure."""
    position: Position = closed()
    assert leg_exposures([position], {}) == ()
