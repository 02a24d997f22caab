"""Each rule passes a sound history and finds the one that breaks it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.instruments import InstrumentKind, LegSide
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.pockets import Pocket, PocketKind
from services.engine.position import begin, fold_all
from services.engine.position_view import view_of
from services.engine.views import PositionStatus, PositionView
from simulation import invariants_books as books_rules
from simulation import invariants_exposure as exposure_rules
from simulation import invariants_identity as identity_rules
from simulation import invariants_service as service_rules
from simulation.evidence import Arrival, Execution, VenueBooks, Violation, parse_name
from simulation.invariants import RULES, Judge
from tests.support.engine_rig import make_rules

KEY = "p000000000000000"
LEAD, HEDGE = f"{KEY}le0000", f"{KEY}sh0000"
UNWIND, EXIT_LONG, EXIT_SHORT = f"{KEY}lu0000", f"{KEY}lx0000", f"{KEY}sx0000"
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
LONG = make_rules("spot", InstrumentKind.SPOT, base_fee_ratio=Decimal(0))
SHORT = make_rules("perp", InstrumentKind.PERPETUAL)
ONE = Decimal(1)


def intent(**changes: object) -> ev.EntryIntended:
    """Return an entry of one coin, long spot leading."""
    made = ev.EntryIntended(
        KEY,
        AT,
        LONG,
        SHORT,
        LegSide.LONG,
        ONE,
        ONE,
        Decimal(100),
        Decimal(101),
        Decimal(100),
        ev.OrderAllowance(LegSide.SHORT, OrderSide.SELL, ONE, Decimal(99)),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # test builder


def plan(key: str, quantity: Decimal = ONE, price: Decimal | None = Decimal(100)) -> OrderPlan:
    """Return the order that an id names."""
    name = parse_name(key)
    assert name is not None
    opens = name.order_class in (OrderClass.ENTRY, OrderClass.HEDGE)
    is_buy = opens == (name.leg is LegSide.LONG)
    rules = LONG if name.leg is LegSide.LONG else SHORT
    return OrderPlan(
        key,
        rules.ref,
        name.leg,
        name.order_class,
        OrderSide.BUY if is_buy else OrderSide.SELL,
        quantity,
        price,
        reduce_only=rules is SHORT and not opens,
    )


def arrival(key: str, quantity: Decimal = ONE, **changes: object) -> Arrival:
    """Return the order that an id names, at its venue's door."""
    asked = plan(key, quantity)
    came = Arrival(
        asked.instrument.exchange,
        key,
        asked.instrument.symbol,
        asked.side,
        quantity,
        asked.worst_price,
        asked.reduce_only,
        1.0,
    )
    return replace(came, **changes)  # type: ignore[arg-type]  # test builder


def intended(key: str, quantity: Decimal = ONE) -> ev.OrderIntended:
    """Return the row of an order."""
    return ev.OrderIntended(KEY, AT, plan(key, quantity))


def observed(key: str, executed: Decimal = ONE, *, closed: bool = True) -> ev.OrderObserved:
    """Return a venue's word on an order."""
    outcome = OrderOutcome(key, closed, executed, executed)
    return ev.OrderObserved(KEY, AT, plan(key).leg, outcome)


def books(*filled: tuple[str, Decimal], live: tuple[str, ...] = ()) -> VenueBooks:
    """Return books with these orders filled and closed, and these at rest."""
    made = VenueBooks()
    for key, quantity in filled:
        made.arrive(arrival(key, max(quantity, Decimal("0.001"))))
        made.execute(Execution("", key, quantity, Decimal(0), Decimal(100), 1.0))
        made.end(key)
    for key in live:
        made.arrive(arrival(key))
    return made


def view(status: PositionStatus = PositionStatus.OPEN) -> PositionView:
    """Return what the engine shows of the position."""
    return replace(view_of(begin(intent())), status=status)


def rules_of(found: list[Violation]) -> list[str]:
    """Return the numbers of the rules that were broken."""
    return [one.rule for one in found]


def test_ids_are_read_back_or_refused() -> None:
    """An id says position, leg, class and attempt; a foreign one says nothing."""
    name = parse_name(f"{KEY}sx000z")
    assert name is not None
    assert (name.leg, name.order_class, name.attempt) == (LegSide.SHORT, OrderClass.EXIT, 35)
    assert parse_name("web_17") is None


def test_an_id_may_arrive_once() -> None:
    """I1: the second arrival of an id is found, though the first is long closed."""
    assert identity_rules.one_order_per_id(arrival(LEAD), books()) == []
    found = identity_rules.one_order_per_id(arrival(LEAD), books((LEAD, ONE)))
    assert rules_of(found) == ["I1"]


@pytest.mark.parametrize(
    "changed",
    [
        {"quantity": Decimal(2)},
        {"worst_price": None},
        {"side": OrderSide.SELL},
        {"symbol": "ETHUSDT"},
        {"exchange": "perp"},
        {"reduce_only": True},
    ],
)
def test_an_order_needs_its_own_durable_row(changed: dict[str, object]) -> None:
    """I2: the row must be of this very order, in every figure."""
    durable: list[ev.Event] = [intent(), intended(LEAD)]
    assert identity_rules.intent_before_order(arrival(LEAD), durable) == []
    assert rules_of(identity_rules.intent_before_order(arrival(LEAD), [intent()])) == ["I2"]
    found = identity_rules.intent_before_order(arrival(LEAD, **changed), durable)  # type: ignore[arg-type]  # test data
    assert rules_of(found) == ["I2"]


def test_a_hedge_may_leave_within_the_entry_s_allowance() -> None:
    """I2: the entry's row stands for hedges within its bounds, and for no others."""
    durable = [intent()]
    assert identity_rules.intent_before_order(arrival(HEDGE), durable) == []
    for beyond in ({"worst_price": Decimal(98)}, {"worst_price": None}, {"quantity": Decimal(2)}):
        found = identity_rules.intent_before_order(arrival(HEDGE, **beyond), durable)
        assert rules_of(found) == ["I2"]


def test_attempts_of_a_leg_do_not_overlap() -> None:
    """I3: no order beside a live one of its leg, none that a later attempt has overtaken."""
    assert identity_rules.one_attempt_at_a_time(arrival(UNWIND), books((LEAD, ONE))) == []
    assert identity_rules.one_attempt_at_a_time(arrival(HEDGE), books(live=(LEAD,))) == []
    beside = identity_rules.one_attempt_at_a_time(arrival(UNWIND), books(live=(LEAD,)))
    late = identity_rules.one_attempt_at_a_time(arrival(HEDGE), books((f"{KEY}sh0001", ONE)))
    assert (rules_of(beside), rules_of(late)) == (["I3"], ["I3"])


def test_absence_must_be_true() -> None:
    """I4: what the journal calls absent or refused has no fill and is not live."""
    absent = [ev.OrderNotSent(KEY, AT, HEDGE)]
    refused = [ev.OrderRejected(KEY, AT, HEDGE, "NO", retryable=False)]
    assert identity_rules.absence_is_true(absent, books()) == []
    assert rules_of(identity_rules.absence_is_true(absent, books((HEDGE, ONE)))) == ["I4"]
    assert rules_of(identity_rules.absence_is_true(refused, books(live=(HEDGE,)))) == ["I4"]


def test_an_id_names_its_own_leg() -> None:
    """I5: an id of another form, or at another leg's venue, is found."""
    assert identity_rules.id_names_its_order(arrival(LEAD), [intent()]) == []
    foreign = replace(arrival(LEAD), client_order_id="web_1")
    elsewhere = arrival(LEAD, exchange="perp")
    for wrong in (foreign, elsewhere):
        assert rules_of(identity_rules.id_names_its_order(wrong, [intent()])) == ["I5"]


def test_a_superseded_epoch_reaches_no_venue() -> None:
    """I6: an order of an older epoch is found, one of the newest is not."""
    assert identity_rules.newest_epoch_only(arrival(LEAD, epoch=2), 2) == []
    assert rules_of(identity_rules.newest_epoch_only(arrival(LEAD, epoch=1), 2)) == ["I6"]


def test_every_prefix_must_be_legal() -> None:
    """I7: a row before its intent breaks the journal; a sound one folds."""
    sound: list[ev.Event] = [intent(), intended(LEAD), observed(LEAD)]
    assert identity_rules.every_prefix_folds(sound) == []
    assert rules_of(identity_rules.every_prefix_folds(sound[1:])) == ["I7"]
    assert rules_of(identity_rules.every_prefix_folds([intent(), observed(LEAD)])) == ["I7"]


def test_a_settled_position_is_neutral() -> None:
    """I8: the venues' books cancel within a step and booked dust."""
    step = Decimal("0.001")
    neutral, naked = books((LEAD, ONE), (HEDGE, ONE)), books((LEAD, ONE))
    assert exposure_rules.settled_is_neutral(view(), neutral, step) == []
    assert rules_of(exposure_rules.settled_is_neutral(view(), naked, step)) == ["I8"]


def test_tradable_rests_are_not_dust() -> None:
    """I8: dust adds up, and an exit takes up what was given up before."""
    untradable = {(KEY, LegSide.LONG): Decimal("0.05")}
    dust = ev.DustBooked(KEY, AT, LegSide.LONG, Decimal("0.03"), "REST")
    again = ev.ExitRequested(KEY, AT, "")
    assert exposure_rules.dust_is_untradable([dust, again, dust], untradable) == []
    assert rules_of(exposure_rules.dust_is_untradable([dust, dust], untradable)) == ["I8"]


def test_exposure_stays_within_a_clip() -> None:
    """I9: too much net delta and more entered than intended are found."""
    fill = Execution("spot", LEAD, ONE, Decimal(0), Decimal(100), 1.0)
    assert exposure_rules.exposure_within_clip(fill, books((LEAD, ONE)), [intent()]) == []
    twice = books((LEAD, ONE), (f"{KEY}le0001", ONE))
    assert rules_of(exposure_rules.exposure_within_clip(fill, twice, [intent()])) == ["I9"]
    more = exposure_rules.exposure_within_clip(
        fill, books((LEAD, ONE)), [intent(quantity=Decimal("0.5"))]
    )
    assert rules_of(more) == ["I9"]


def test_hedges_follow_fills() -> None:
    """I9: with what was hedged before, a hedge stays within the lead's fills."""
    half = Decimal("0.5")
    before = books((LEAD, ONE), (HEDGE, half))
    second = f"{KEY}sh0001"
    assert exposure_rules.hedge_follows_fills(arrival(second, half), before, [intent()]) == []
    found = exposure_rules.hedge_follows_fills(arrival(second), before, [intent()])
    assert rules_of(found) == ["I9"]


def test_reductions_stay_within_what_is_held() -> None:
    """I10, I15: too large, on the wrong side, or not reduce-only is found."""
    held = books((LEAD, ONE), (HEDGE, ONE))
    within = exposure_rules.reduction_stays_within
    assert within(arrival(EXIT_LONG), held, [intent()]) == []
    assert within(arrival(EXIT_SHORT), held, [intent()]) == []
    too_much = arrival(EXIT_LONG, Decimal("1.001"))
    assert rules_of(within(too_much, held, [intent()])) == ["I15"]
    wrong = arrival(EXIT_LONG, side=OrderSide.BUY)
    assert rules_of(within(wrong, held, [intent()])) == ["I10"]
    loose = arrival(EXIT_SHORT, reduce_only=False)
    assert rules_of(within(loose, held, [intent()])) == ["I10"]


def test_limits_count_live_orders_as_filled() -> None:
    """I11, I12: what is live counts whole, and an order has a bound of its own."""
    limits = exposure_rules.NotionalLimits(per_order=Decimal(150), total=Decimal(150))
    judged = exposure_rules.worst_case_within_limits
    assert judged(arrival(LEAD), books(), limits, Decimal(100)) == []
    live = judged(arrival(f"{KEY}le0001"), books(live=(LEAD,)), limits, Decimal(100))
    large = judged(arrival(LEAD, Decimal(2)), books(), limits, Decimal(100))
    assert rules_of(live) == ["I11"]
    assert rules_of(large) == ["I12", "I11"]
    hedged = books((HEDGE, ONE))
    assert rules_of(judged(arrival(LEAD), hedged, limits, Decimal(100))) == ["I11"]
    # What the venue closed by force is on no more.
    hedged.take(KEY, LegSide.SHORT, ONE)
    assert judged(arrival(LEAD), hedged, limits, Decimal(100)) == []


def test_a_halt_stops_what_is_decided_after_it() -> None:
    """I13: an entry decided before the halt may arrive, one decided after it may not."""
    halt = ev.EngineHalted(AT + timedelta(seconds=1), "drill")
    later = replace(intended(LEAD), at=AT + timedelta(seconds=2))
    resumed = ev.EngineResumed(AT + timedelta(seconds=1), "")
    judged = exposure_rules.no_entry_while_halted
    assert judged(arrival(LEAD), [intended(LEAD), halt]) == []
    assert judged(arrival(LEAD), [halt, resumed, later]) == []
    assert rules_of(judged(arrival(LEAD), [halt, later])) == ["I13"]


def test_refused_exits_and_ended_positions_with_a_rest_are_found() -> None:
    """I14, I16: no exit is refused, and what has ended holds nothing tradable."""
    assert rules_of(exposure_rules.exits_are_taken([(KEY, "ENGINE_HALTED")])) == ["I14"]
    rests = {leg: Decimal("0.001") for leg in LegSide}
    naked = books((LEAD, ONE))
    closed = exposure_rules.closed_is_flat(view(PositionStatus.CLOSED), naked, rests)
    assert rules_of(closed) == ["I16"]
    assert exposure_rules.closed_is_flat(view(), naked, rests) == []


def test_ledger_account_and_equity_agree() -> None:
    """I17, I19: a difference of the ledger, the account or the equity is found."""
    history: list[ev.PositionEvent] = [intent(), intended(LEAD), observed(LEAD)]
    positions = fold_all(history).values()
    assert books_rules.ledger_is_venue(positions, books((LEAD, ONE))) == []
    assert rules_of(books_rules.ledger_is_venue(positions, books())) == ["I17"]
    robbed = books((LEAD, ONE))
    robbed.take(KEY, LegSide.LONG, -ONE)
    for symbol, found in (("ETHUSDT", ["I17"]), ("BTCUSDT", [])):
        pocket = Pocket("spot", PocketKind.SPOT, "BTC")
        broke = ev.ReconciliationBroke(AT, pocket, ONE, Decimal(0), (symbol,))
        broken = books_rules.broken_symbols([*history, broke])
        assert rules_of(books_rules.ledger_is_venue(positions, robbed, broken)) == found
    place = ("spot", "BTCUSDT")
    ours, own = {place: ONE}, {place: Decimal(5)}
    assert books_rules.account_is_sum(ours, own, {place: Decimal(6)}) == []
    assert rules_of(books_rules.account_is_sum(ours, own, {place: ONE})) == ["I17"]
    assert books_rules.profit_is_equity_change(ONE, ONE, Decimal(0)) == []
    assert rules_of(books_rules.profit_is_equity_change(ONE, Decimal(2), ONE / 2)) == ["I19"]


def test_fills_join_whatever_their_order() -> None:
    """I18: the engine's own fold passes with a growing and a repeated fill."""
    half = observed(LEAD, Decimal("0.5"), closed=False)
    assert books_rules.fills_join([intent(), intended(LEAD), half, half, observed(LEAD)]) == []


def test_every_order_stands_once_in_journal_and_ledger() -> None:
    """I20: an order nobody wrote down and a row that stands twice are found."""
    known = books((LEAD, ONE))
    assert books_rules.every_order_is_known([intended(LEAD)], known) == []
    assert rules_of(books_rules.every_order_is_known([], known)) == ["I20"]
    assert books_rules.one_row_per_order([LEAD], known) == []
    assert rules_of(books_rules.one_row_per_order([], known)) == ["I20"]
    assert rules_of(books_rules.one_row_per_order([LEAD, LEAD], known)) == ["I20"]


def test_orders_are_on_the_grid() -> None:
    """I21: broken lots, prices off the tick and figures that are none are found."""
    judged = books_rules.order_is_on_grid
    assert judged(arrival(LEAD), LONG) == []
    assert rules_of(judged(arrival(LEAD, Decimal("0.0005")), LONG)) == ["I21"]
    assert rules_of(judged(arrival(LEAD, worst_price=Decimal("1.001")), LONG)) == ["I21"]
    assert rules_of(judged(arrival(LEAD, Decimal("NaN")), LONG)) == ["I21"]


def test_opportunities_and_commands_are_used_once() -> None:
    """I22, I27: a second position of an opportunity and a command taken twice are found."""
    first = intent(opportunity_id="one")
    second = replace(first, position_id="p000000000000001")
    assert books_rules.opportunity_is_used_once([first, first]) == []
    assert rules_of(books_rules.opportunity_is_used_once([first, second])) == ["I22"]
    taken = ev.CommandAccepted(AT, "request", "hash", (KEY,))
    assert books_rules.command_is_done_once([taken]) == []
    assert rules_of(books_rules.command_is_done_once([taken, taken])) == ["I27"]


def test_the_services_rules_find_what_breaks_them() -> None:
    """I23 to I29: bans, bounds, readiness, liveness, traces and secrets."""
    ban = service_rules.Ban("spot", 0.5, 2.0)
    assert service_rules.silent_while_banned(arrival(LEAD, sent_at=0.4), [ban]) == []
    assert rules_of(service_rules.silent_while_banned(arrival(LEAD), [ban])) == ["I23"]
    assert rules_of(service_rules.counts_are_bounded({"queue": 3}, {"queue": 2})) == ["I24"]
    assert service_rules.entry_after_reconciliation(2.0, is_reconciled=True) == []
    early = service_rules.entry_after_reconciliation(2.0, is_reconciled=False)
    assert rules_of(early) == ["I25"]
    moving = {KEY: PositionStatus.OPENING}
    assert service_rules.settles_in_time(moving, 1.0, 8.0) == []
    assert rules_of(service_rules.settles_in_time(moving, 8.0, 8.0)) == ["I26"]
    assert rules_of(service_rules.runs_are_equal(["a", "b"])) == ["I28"]
    found = service_rules.canaries_stay_inside(["x canary y"], ["canary"])
    assert rules_of(found) == ["I29"]
    assert "canary" not in found[0].text


def test_the_judge_passes_a_sound_life_and_asks_every_rule() -> None:
    """A hedged entry breaks nothing; the same without its hedge is naked at rest."""
    durable: list[ev.Event] = [intent(), intended(LEAD)]
    judge = Judge(lambda: durable)
    judge.arrived(arrival(LEAD))
    judge.executed(Execution("spot", LEAD, ONE, Decimal(0), Decimal(100), 1.0))
    judge.ended(LEAD)
    judge.rested([view()], healed_for=9.0, bound=8.0)
    assert rules_of(judge.violations) == ["I8"]
    judge.violations.clear()
    judge.arrived(arrival(HEDGE))
    judge.executed(Execution("perp", HEDGE, ONE, Decimal(0), Decimal(100), 2.0))
    judge.ended(HEDGE)
    judge.rested([view()], healed_for=9.0, bound=8.0)
    durable += [observed(LEAD), intended(HEDGE), observed(HEDGE)]
    judge.books_agree(durable, [LEAD, HEDGE])
    assert judge.violations == []


def test_a_halt_that_is_forgotten_is_found() -> None:
    """I13: what an operator was told stands in the durable journal."""
    judge = Judge(list, is_halted=True)
    judge.rested([], healed_for=0.0, bound=8.0)
    assert rules_of(judge.violations) == ["I13"]


def test_every_invariant_has_a_number_and_a_meaning() -> None:
    """The table is whole: I1 to I29."""
    assert list(RULES) == [f"I{number}" for number in range(1, 30)]
