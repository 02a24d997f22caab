"""Ledger against venues, as pure functions: breaks, what is missing, and whose the rest is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from services.common.errors import UnreachableError
from services.engine import events as ev
from services.engine.baselines import adopted_baselines, declared_baselines, first_baselines
from services.engine.instruments import InstrumentKind, InstrumentRules, LegSide
from services.engine.orders import AssetAmount, OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.pockets import Holdings, Pocket, PocketKind, pocket_of
from services.engine.position import Position, begin, fold
from services.engine.reconcile_ledger import LedgerLine, PocketLedger, moving_pockets
from services.engine.reconcile_look import Look
from services.engine.reconciliation import (
    Break,
    Expectation,
    MissingLeg,
    breaks,
    is_covered,
    missing_leg,
    missing_of,
    stopping,
    text_of,
)
from services.engine.views import PositionStatus
from tests.support.engine_rig import make_rules

D = Decimal
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
LOT = D("0.001")
SPOT = make_rules("spot", InstrumentKind.SPOT)
PERP = make_rules("perp", InstrumentKind.PERPETUAL)
MARGIN = replace(SPOT, use_margin=True, margin_allowed=True)
COINS = Pocket("spot", PocketKind.SPOT, "BTC")
CONTRACTS = Pocket("perp", PocketKind.PERPETUAL, "BTCUSDT")


def opened(
    key: str = "p000000000000000",
    *,
    long: InstrumentRules = SPOT,
    short: InstrumentRules = PERP,
    fee: AssetAmount | None = None,
) -> Position:
    """Return a position whose lead bought one coin and whose hedge is in doubt."""
    allowance = ev.OrderAllowance(LegSide.SHORT, OrderSide.SELL, D(1), D(99))
    intent = ev.EntryIntended(
        key, AT, long, short, LegSide.LONG, D(1), D(1), D(100), D(101), D(100), allowance
    )
    lead = OrderPlan(
        f"{key}le0000", long.ref, LegSide.LONG, OrderClass.ENTRY, OrderSide.BUY, D(1), D(101)
    )
    hedge = OrderPlan(
        f"{key}sh0000", short.ref, LegSide.SHORT, OrderClass.HEDGE, OrderSide.SELL, D(1), D(99)
    )
    fees = () if fee is None else (fee,)
    outcome = OrderOutcome(lead.client_order_id, True, D(1), D("0.999"), D(100), fees)
    position = begin(intent)
    for event in (
        ev.OrderIntended(key, AT, lead),
        ev.OrderObserved(key, AT, LegSide.LONG, outcome),
        ev.OrderIntended(key, AT, hedge),
    ):
        position = fold(position, event)
    return position


def hedged(position: Position, executed: str = "0.999") -> Position:
    """Return the position with its hedge filled."""
    key = f"{position.position_id}sh0000"
    outcome = OrderOutcome(key, True, D(executed), D(executed), D(100))
    return fold(position, ev.OrderObserved(position.position_id, AT, LegSide.SHORT, outcome))


def expectation(ledger: str, baseline: str = "0") -> Expectation:
    """Return what a pocket with the usual lot is to hold."""
    return Expectation(D(baseline), D(ledger), LOT)


@pytest.mark.parametrize(
    ("told", "is_break"),
    [
        ("2.999", False),
        ("2.9981", False),
        ("2.9999", False),
        ("2.998", True),
        ("3", True),
        ("0", True),
    ],
)
def test_a_break_begins_at_one_lot(told: str, is_break: bool) -> None:
    """Less than a lot is rounding, above and below."""
    found = breaks({COINS: expectation("0.999", "2")}, {COINS: D(told)}, ())
    assert found == ((Break(COINS, D("2.999"), D(told)),) if is_break else ())


def test_without_a_lot_any_difference_is_a_break() -> None:
    """And none is none."""
    exact = Expectation(D(0), D(1), D(0))
    assert breaks({COINS: exact}, {COINS: D(1)}, ()) == ()
    assert breaks({COINS: exact}, {COINS: D("1.00000001")}, ()) != ()


def test_what_moves_or_is_not_told_is_no_break() -> None:
    """An order in flight is in one number only; silence is no number at all."""
    expected = {COINS: expectation("1"), CONTRACTS: expectation("-1")}
    told = {COINS: D(0), CONTRACTS: D(0)}
    assert [one.pocket for one in breaks(expected, told, ())] == [CONTRACTS, COINS]
    assert [one.pocket for one in breaks(expected, told, {COINS})] == [CONTRACTS]
    assert [one.pocket for one in breaks(expected, {COINS: D(0)}, ())] == [COINS]


@pytest.mark.parametrize(
    ("ledger", "told", "missing"),
    [
        ("1", "3", "0"),
        ("1", "1", "0"),
        ("1", "0.4", "0.6"),
        ("1", "0", "1"),
        ("1", "-2", "1"),
        ("-1", "-1.5", "0"),
        ("-1", "-0.25", "0.75"),
        ("-1", "2", "1"),
        ("0", "5", "0"),
        ("0", "-5", "0"),
    ],
)
def test_missing_is_what_nobody_else_can_have_lost(ledger: str, told: str, missing: str) -> None:
    """The user's own part of a pocket goes first."""
    assert missing_of(D(ledger), D(told)) == D(missing)


def test_a_short_of_coins_is_covered_until_a_lot_of_ours_is_gone() -> None:
    """Below one lot the rest may be the user's."""
    held = expectation("0.999", "2")
    assert is_covered(held, D("0.9981"))
    assert not is_covered(held, D("0.998"))


def test_the_leg_that_lost_something_is_named() -> None:
    """By position, leg and quantity."""
    position = hedged(opened())
    found = Break(CONTRACTS, D("-0.999"), D("-0.4"))
    missing = MissingLeg(position.position_id, LegSide.SHORT, D("0.599"))
    assert missing_leg(found, [position], LOT) == missing
    assert missing_leg(replace(found, told=D("-0.9985")), [position], LOT) is None
    assert missing_leg(replace(found, told=D("-2")), [position], LOT) is None


def test_two_live_positions_of_one_coin_leave_the_loser_open() -> None:
    """Nobody can say whose coins went, so nobody is told to unwind."""
    other = replace(SPOT, ref=replace(SPOT.ref, symbol="BTCUSDC"))
    pair = [hedged(opened()), hedged(opened("p000000000000001", long=other))]
    assert missing_leg(Break(COINS, D("1.998"), D("0.5")), pair, LOT) is None


def test_an_ended_position_loses_nothing() -> None:
    """Its dust may be swept by the user."""
    ended = ev.PositionSettled("p000000000000000", AT, PositionStatus.CLOSED, "")
    position = fold(hedged(opened()), ended)
    assert missing_leg(Break(CONTRACTS, D("-0.999"), D(0)), [position], LOT) is None


def broke(pocket: Pocket, *symbols: str) -> ev.ReconciliationBroke:
    """Return a break of one coin."""
    return ev.ReconciliationBroke(AT, pocket, D(1), D(0), symbols)


def test_several_broken_symbols_stop_all_entries() -> None:
    """Both legs of one position are one symbol; from the limit on nothing is trusted."""
    pair = [broke(COINS, "BTCUSDT"), broke(CONTRACTS, "BTCUSDT")]
    assert stopping("BTCUSDT", pair, 2) == tuple(pair)
    assert stopping("ETHUSDT", pair, 2) == ()
    several = [*pair, broke(Pocket("spot", PocketKind.SPOT, "SOL"), "SOLUSDT")]
    assert stopping("ETHUSDT", several, 2) == tuple(several)
    assert stopping("ETHUSDT", several, 3) == ()


def test_a_break_is_told_with_both_numbers() -> None:
    """Venue, book and name of what is broken are in the text."""
    assert text_of(broke(COINS, "BTCUSDT")) == ("BTC (spot) at spot should be 1, the venue tells 0")


def test_pockets_follow_what_an_order_moves() -> None:
    """A perpetual by its symbol, coins and debts by the asset."""
    assert pocket_of(PERP) == CONTRACTS
    assert pocket_of(SPOT) == COINS
    assert pocket_of(MARGIN) == Pocket("spot", PocketKind.MARGIN, "BTC")


def test_what_is_not_named_is_held_at_zero_and_what_is_not_told_is_none() -> None:
    """An unread margin account is not a debt of zero."""
    holdings = Holdings(spot={"BTC": D(2)})
    assert holdings.told(COINS) == 2
    assert holdings.told(replace(COINS, name="ETH")) == 0
    assert holdings.told(replace(COINS, kind=PocketKind.MARGIN)) is None
    assert holdings.told(CONTRACTS) is None


def test_the_ledger_follows_every_change_of_a_position() -> None:
    """Quantities, orders, doubts and live positions are sums that go down again."""
    ledger = PocketLedger()
    lines = ledger.update([opened()])
    assert lines[COINS] == LedgerLine(D("0.999"), 1, 0, 1, LOT, ("BTCUSDT",))
    assert lines[CONTRACTS] == LedgerLine(D(0), 0, 1, 1, LOT, ("BTCUSDT",))
    settled = hedged(opened())
    lines = ledger.update([settled])
    assert lines[CONTRACTS] == LedgerLine(D("-0.999"), 1, 0, 1, LOT, ("BTCUSDT",))
    ended = ev.PositionSettled(settled.position_id, AT, PositionStatus.CLOSED, "")
    lines = ledger.update([fold(settled, ended)])
    assert (lines[COINS].live, lines[CONTRACTS].live) == (0, 0)
    assert lines == PocketLedger().update([fold(settled, ended)])


def test_a_fee_in_a_third_coin_leaves_the_pocket_of_that_coin() -> None:
    """Fees in the base coin are in the leg's own quantity."""
    lines = PocketLedger().update([opened(fee=AssetAmount("BNB", D("0.0002")))])
    assert lines[Pocket("spot", PocketKind.SPOT, "BNB")].quantity == D("-0.0002")
    plain = PocketLedger().update([opened(fee=AssetAmount("BTC", D("0.001")))])
    assert plain.keys() == {COINS, CONTRACTS}


def test_interest_of_a_short_sale_is_rounding_by_what_was_sold() -> None:
    """A repayment pays interest first; no fill tells of it."""
    perp = make_rules("perp", InstrumentKind.PERPETUAL)
    lines = PocketLedger().update([hedged(opened(long=perp, short=MARGIN), "1")])
    assert lines[pocket_of(MARGIN)].tolerance == LOT + D("0.002")


def test_the_first_baseline_is_all_that_is_not_ours() -> None:
    """Dust of earlier positions is ours."""
    lines = {COINS: LedgerLine(quantity=D("0.0004")), CONTRACTS: LedgerLine()}
    told = {COINS: D("2.0004"), CONTRACTS: D(0)}
    taken = first_baselines(lines, told, (), AT)
    assert [(one.pocket, one.quantity) for one in taken] == [(CONTRACTS, D(0)), (COINS, D(2))]
    assert [one.pocket for one in first_baselines(lines, told, {COINS}, AT)] == [CONTRACTS]
    with pytest.raises(UnreachableError):
        first_baselines(lines, {COINS: D(0)}, (), AT)


def test_positions_of_older_journals_get_a_baseline_while_they_are_on() -> None:
    """A perpetual was free of the user's when entered; of coins the rest is the user's."""
    lines = {
        COINS: LedgerLine(quantity=D(1), live=1),
        CONTRACTS: LedgerLine(quantity=D(-1), live=1),
        replace(COINS, name="ETH"): LedgerLine(quantity=D(1)),
    }
    told = {COINS: D(3), CONTRACTS: D("-0.4"), replace(COINS, name="ETH"): D(1)}
    taken = adopted_baselines(lines, told, (), AT)
    assert [(one.pocket, one.quantity) for one in taken] == [(CONTRACTS, D(0)), (COINS, D(2))]
    assert adopted_baselines(lines, told, {COINS, CONTRACTS}, AT) == ()
    assert adopted_baselines(lines, {}, (), AT) == ()


@pytest.mark.parametrize(
    ("expected_then", "ledger", "told", "declared"),
    [
        ("3", "1", "5", "4"),
        ("3", "1", "1", "0"),
        ("3", "1", "0.9", None),
        ("2", "0", "0", "0"),
        ("2", "0.5", "1", None),
    ],
)
def test_resuming_declares_only_what_is_not_ours(
    expected_then: str, ledger: str, told: str, declared: str | None
) -> None:
    """Nothing of ours may be missing, and the ledger must say what it said at the break."""
    one = ev.ReconciliationBroke(AT, COINS, D(expected_then), D(told), ("BTCUSDT",))
    taken = declared_baselines([one], {COINS: expectation(ledger, "2")}, AT)
    assert [event.quantity for event in taken] == ([] if declared is None else [D(declared)])


REST = LedgerLine(quantity=D(1), orders=2, live=1)


@pytest.mark.parametrize(
    ("before", "after", "is_moving"),
    [
        (REST, REST, False),
        (replace(REST, orders=1), REST, True),
        (replace(REST, quantity=D(2)), REST, True),
        (replace(REST, doubts=1), REST, True),
        (replace(REST, doubts=1), replace(REST, doubts=1), True),
        (None, REST, True),
        (None, LedgerLine(), False),
    ],
)
def test_a_pocket_moves_while_an_order_of_ours_works_on_it(
    before: LedgerLine | None, after: LedgerLine, is_moving: bool
) -> None:
    """Also where it was sent and answered within one reading."""
    lines = {} if before is None else {COINS: before}
    assert moving_pockets(lines, {COINS: after}, ()) == ({COINS} if is_moving else set())


def test_a_pocket_moves_while_its_orders_may_not_all_be_known() -> None:
    """An earlier run may have sent one without a row."""
    assert moving_pockets({COINS: REST}, {COINS: REST}, {COINS}) == {COINS}


@pytest.mark.parametrize(
    ("later", "quiet"),
    [
        (Look({COINS: REST}, {COINS: D(1)}, frozenset()), {COINS}),
        (Look({COINS: REST}, {COINS: D(2)}, frozenset()), set()),
        (Look({COINS: REST}, {}, frozenset()), set()),
        (Look({COINS: replace(REST, orders=4)}, {COINS: D(1)}, frozenset()), set()),
        (Look({COINS: REST}, {COINS: D(1)}, frozenset({COINS})), set()),
    ],
)
def test_two_looks_say_together_only_what_both_say(later: Look, quiet: set[Pocket]) -> None:
    """Equal readings, with no order of ours in, between or around them."""
    first = Look({COINS: REST}, {COINS: D(1)}, frozenset())
    assert first.joined(later).quiet == quiet
    assert later.joined(first).quiet == quiet
