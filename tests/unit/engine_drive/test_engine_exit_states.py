"""Exits in every state, losses at the venue and late fills, against the venues' own books."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from services.common.errors import OpensqtError
from services.engine import events as ev
from services.engine.commands import CloseAllCommand, CloseCommand, ReduceAllCommand, ReduceCommand
from services.engine.instruments import LegSide
from services.engine.leg_gone import ForcedFill, by_reading
from services.engine.orders import GoneCause, OrderClass, OrderOutcome, OrderSide, OrderState
from services.engine.policy import EnginePolicy
from services.engine.ports import OrderEvent
from services.engine.position import Position
from services.engine.views import PositionStatus, PositionView
from tests.support.crash_gate import CrashGate
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal
HANGS = Fault(latency=9.0)


@pytest.fixture
async def rig() -> AsyncIterator[EngineRig]:
    """Give a started engine: long spot with its fee in base, short perpetual."""
    made = EngineRig(VirtualClock(), MemoryJournal())
    await made.start()
    yield made
    await made.close_rig()


def ledger(rig: EngineRig, position_id: str) -> Position:
    """Return a position as the engine's book has it."""
    position = rig.engine._book.get(position_id)
    assert position is not None
    return position


async def begin(rig: EngineRig) -> str:
    """Start an entry and return its id while it runs."""
    return (await rig.call(rig.engine.open(rig.open_command("1")))).position_id


def exits(view: PositionView, leg: LegSide) -> int:
    """Return how many exit orders a leg had."""
    return sum(o.leg is leg and o.order_class is OrderClass.EXIT for o in view.orders)


async def close_now(rig: EngineRig, position_id: str) -> None:
    """Ask for an exit and return while it runs."""
    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), position_id)))


@pytest.mark.parametrize(
    ("lead", "hedge", "closed_after"),
    [
        ([Fault(latency=0.5)], [], 0.1),
        ([Fault(fill_ratio=D("0.5"), late_ratio=D("0.3"))], [], 0.1),
        ([], [Fault(latency=0.5)], 0.1),
        ([], [Fault(fill_ratio=D("0.5")), Fault(latency=0.5)], 0.1),
        ([], [Fault(reply_lost=True)], 0.1),
        ([], [Fault(arrives_after=1.0)], 0.1),
        ([Fault(reply_lost=True)], [], 0.005),
        ([Fault(lost=True)], [], 0.02),
        ([Fault(), Fault(latency=0.5)], [Fault(reject=True)], 0.1),
        ([Fault(), Fault(arrives_after=0.7)], [Fault(reject=True)], 0.1),
    ],
)
async def test_an_exit_in_the_middle_of_an_entry_ends_flat(
    rig: EngineRig, lead: list[Fault], hedge: list[Fault], closed_after: float
) -> None:
    """Entering, hedging, unwinding and in doubt: the exit is taken and nothing stays on."""
    rig.long_venue.script.extend(lead)
    rig.short_venue.script.extend(hedge)
    position_id = await begin(rig)
    await rig.clock.pass_time(closed_after)
    await close_now(rig, position_id)
    view = await rig.settled(position_id)
    assert view.status in (PositionStatus.CLOSED, PositionStatus.FLAT)
    assert abs(rig.net_delta()) < D("0.001") + abs(view.dust_quantity)
    assert rig.short_venue.filled() == 0
    rig.check_books()


async def test_an_exit_does_not_wait_for_an_entry_order_that_hangs() -> None:
    """While a slice of the lead hangs, the hedge of the first slice leaves at once."""
    policy = EnginePolicy(max_slice_notional=D(50))
    rig = EngineRig(VirtualClock(), MemoryJournal(), policy=policy)
    await rig.start()
    rig.long_venue.script.extend([Fault(), HANGS])
    position_id = await begin(rig)
    await rig.clock.run_until(lambda: len(rig.long_venue.offered) == 2)
    await rig.clock.pass_time(0.5)
    asked = rig.clock.monotonic()
    await close_now(rig, position_id)
    await rig.clock.run_until(lambda: rig.short_venue.filled() == 0)
    assert rig.clock.monotonic() - asked < 0.1
    view = await rig.settled(position_id)
    assert view.status is PositionStatus.CLOSED
    assert [o.state for o in view.orders] == [OrderState.ENDED] * len(view.orders)
    rig.check_books()
    await rig.close_rig()


async def test_an_exit_does_not_wait_for_a_question_that_hangs(rig: EngineRig) -> None:
    """While the venue of a lead in doubt answers no question, an exit is taken up at once."""
    rig.long_venue.script.append(Fault(reply_lost=True))
    position_id = await begin(rig)
    rig.long_venue.reads_fail = lambda: True
    await rig.clock.pass_time(1)
    await close_now(rig, position_id)
    await rig.clock.pass_time(1)
    assert rig.engine.get(position_id).status is PositionStatus.CLOSING
    rig.long_venue.reads_fail = lambda: False
    assert (await rig.settled(position_id)).status is PositionStatus.FLAT
    assert rig.long_venue.filled() < D("0.001")
    rig.check_books()


async def test_exits_at_the_same_time_send_one_attempt_per_leg(rig: EngineRig) -> None:
    """Close, close-all and a reduce at once are one exit of each leg."""
    opened = await rig.open("1")
    key = opened.position_id
    commands = asyncio.gather(
        rig.engine.close(CloseCommand("a", key)),
        rig.engine.close_all(CloseAllCommand("b")),
        rig.engine.close(CloseCommand("c", key)),
        rig.engine.reduce_all(ReduceAllCommand("d", D("0.5"))),
        return_exceptions=True,
    )
    await rig.clock.run_until(commands.done)
    view = await rig.settled(key)
    assert view.status is PositionStatus.CLOSED
    assert [exits(view, leg) for leg in LegSide] == [1, 1]
    rig.check_books()


async def test_a_close_in_a_reduces_backoff_leaves_at_once(rig: EngineRig) -> None:
    """A wider exit does not wait for the pause of the one before."""
    opened = await rig.open("1")
    rig.short_venue.choose = lambda _: Fault(reject=True, retryable=True)
    reduce = ReduceCommand("half", opened.position_id, ratio=D("0.5"))
    await rig.call(rig.engine.reduce(reduce))
    await rig.clock.pass_time(30)
    rig.short_venue.choose = None
    sent = len(rig.short_venue.arrivals)
    await close_now(rig, opened.position_id)
    await rig.clock.pass_time(0.1)
    assert len(rig.short_venue.arrivals) == sent + 1
    assert (await rig.settled(opened.position_id)).status is PositionStatus.CLOSED
    rig.check_books()


def losing(
    rig: EngineRig, position_id: str, quantity: str, cause: GoneCause
) -> Coroutine[None, None, bool]:
    """Let the short leg's venue take a quantity; what is returned tells the engine of it."""
    rig.short_venue.foreign += D(quantity)
    ref = rig.short_venue.instrument.ref
    if cause is GoneCause.UNEXPLAINED:
        position = ledger(rig, position_id)
        event = by_reading(position, LegSide.SHORT, D(quantity), rig.clock.now())
        assert event is not None
        return rig.engine.news.leg_gone(event)
    fill = ForcedFill(ref.exchange, ref.symbol, OrderSide.BUY, D(quantity), "77", cause, D(100))
    return rig.engine.news.forced_fill(fill)


async def lose(rig: EngineRig, position_id: str, quantity: str, cause: GoneCause) -> bool:
    """Let a venue take a quantity, and tell the engine of it; true where that was new."""
    return await rig.call(losing(rig, position_id, quantity, cause))


def check_gone(rig: EngineRig, view: PositionView) -> None:
    """Assert that what is on is hedged by the venues' own books, and nothing crossed zero."""
    for venue in rig.venues:
        assert venue.problems == []
    short = rig.short_venue.filled() + rig.short_venue.foreign
    assert view.short_leg.quantity == short <= 0
    assert view.long_leg.quantity == rig.long_venue.filled() >= 0
    assert abs(rig.long_venue.filled() + short) < D("0.001") + abs(view.dust_quantity)


@pytest.mark.parametrize(
    ("quantity", "cause", "status", "left"),
    [
        ("0.999", GoneCause.LIQUIDATED, PositionStatus.CLOSED, "0"),
        ("0.4", GoneCause.LIQUIDATED, PositionStatus.CLOSED, "0"),
        ("0.4", GoneCause.AUTO_DELEVERAGED, PositionStatus.OPEN, "-0.599"),
        ("0.4", GoneCause.UNEXPLAINED, PositionStatus.OPEN, "-0.599"),
        ("0.999", GoneCause.UNEXPLAINED, PositionStatus.CLOSED, "0"),
        ("0.98", GoneCause.AUTO_DELEVERAGED, PositionStatus.CLOSED, "0"),
    ],
)
async def test_a_leg_that_is_gone_takes_the_other_down(
    rig: EngineRig, quantity: str, cause: GoneCause, status: PositionStatus, left: str
) -> None:
    """What the venue took of one leg is traded off the other; the lost leg stays lost."""
    opened = await rig.open("1")
    sent = len(rig.short_venue.arrivals)
    assert await lose(rig, opened.position_id, quantity, cause)
    await rig.clock.pass_time(0.1)
    view = await rig.settled(opened.position_id)
    assert view.status is status
    assert view.short_leg.quantity == D(left)
    assert view.state_reason.startswith("LEG_")
    check_gone(rig, view)
    more = rig.short_venue.arrivals[sent:]
    assert all(rig.short_venue.orders[key].plan.reduce_only for key in more)
    closed = await rig.close(opened.position_id)
    check_gone(rig, closed)


async def test_a_loss_told_twice_is_one_loss(rig: EngineRig) -> None:
    """A forced fill and the reading that finds it missing count once."""
    opened = await rig.open("1")
    key = opened.position_id
    event = by_reading(ledger(rig, key), LegSide.SHORT, D("0.4"), rig.clock.now())
    assert event is not None
    assert await lose(rig, key, "0.4", GoneCause.AUTO_DELEVERAGED)
    assert not await rig.call(rig.engine.news.leg_gone(replace(event, cause=GoneCause.UNEXPLAINED)))
    await rig.clock.pass_time(0.1)
    view = await rig.settled(key)
    assert view.short_leg.quantity == D("-0.599")
    check_gone(rig, view)


@pytest.mark.parametrize("waits", [0.001, 0.012, 0.022, 0.5])
async def test_a_leg_that_goes_while_the_position_moves(rig: EngineRig, waits: float) -> None:
    """A loss in the middle of an entry with a slow hedge, or of its exit, ends flat."""
    rig.short_venue.script.extend([Fault(fill_ratio=D("0.6")), Fault(latency=0.3)])
    key = await begin(rig)
    await rig.clock.run_until(lambda: rig.short_venue.filled() != 0)
    await rig.clock.pass_time(waits)
    await lose(rig, key, "0.3", GoneCause.LIQUIDATED)
    view = await rig.settled(key)
    assert view.status is PositionStatus.CLOSED
    check_gone(rig, view)


async def test_a_leg_that_goes_while_its_exit_is_refused_ends_the_waiting(rig: EngineRig) -> None:
    """Reduce-only orders of a leg that is gone are refused for ever: the loss ends them."""
    opened = await rig.open("1")
    rig.short_venue.choose = lambda _: Fault(reject=True)
    await close_now(rig, opened.position_id)
    await rig.clock.pass_time(20)
    assert rig.engine.get(opened.position_id).status is PositionStatus.CLOSING
    sent = len(rig.short_venue.arrivals)
    await lose(rig, opened.position_id, "0.999", GoneCause.UNEXPLAINED)
    await rig.clock.pass_time(0.01)
    view = rig.engine.get(opened.position_id)
    assert view.status is PositionStatus.CLOSED
    assert len(rig.short_venue.arrivals) == sent
    check_gone(rig, view)


async def test_a_loss_that_cannot_be_journaled_is_told_again(rig: EngineRig) -> None:
    """Without a durable row nothing changes, so the next reading finds the loss again."""
    opened = await rig.open("1")
    journal = rig.journal
    assert isinstance(journal, MemoryJournal)
    journal.fails = True
    with pytest.raises(OpensqtError):
        await lose(rig, opened.position_id, "0.4", GoneCause.UNEXPLAINED)
    assert ledger(rig, opened.position_id).gone_quantity(LegSide.SHORT) == 0
    journal.fails = False
    rig.short_venue.foreign = D(0)
    await lose(rig, opened.position_id, "0.4", GoneCause.UNEXPLAINED)
    view = await rig.settled(opened.position_id)
    check_gone(rig, await rig.close(view.position_id))


def late(rig: EngineRig, position_id: str, leg: LegSide, executed: str) -> ev.OrderObserved:
    """Return the word of a venue that the first order of a leg has filled more than it said."""
    venue = rig.long_venue if leg is LegSide.LONG else rig.short_venue
    record = ledger(rig, position_id).of(leg)[0]
    order = venue.orders[record.plan.client_order_id]
    order.executed = D(executed)
    net = order.executed * (1 - (D("0.001") if leg is LegSide.LONG else 0))
    outcome = OrderOutcome(record.plan.client_order_id, True, D(executed), net, order.price)
    return ev.OrderObserved(position_id, rig.clock.now(), leg, outcome)


async def test_a_late_fill_at_rest_is_traded_back(rig: EngineRig) -> None:
    """A fill after the venue had closed the order counts, and the larger leg comes down."""
    rig.long_venue.script.append(Fault(fill_ratio=D("0.5")))
    opened = await rig.open("1")
    event = late(rig, opened.position_id, LegSide.LONG, "0.8")
    assert await rig.call(rig.engine.news.late_fill(event))
    await rig.clock.pass_time(0.1)
    view = await rig.settled(opened.position_id)
    assert (view.status, view.state_reason) == (PositionStatus.OPEN, "LATE_FILL")
    assert view.short_leg.quantity == D("-0.499")
    assert abs(rig.net_delta()) < D("0.001")
    assert not await rig.call(rig.engine.news.late_fill(event))
    await rig.close(opened.position_id)
    rig.check_books()


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_late_fill_after_the_end_resumes_the_exit(
    rig: EngineRig, *, is_killed: bool
) -> None:
    """A position that had ended gets a drive again, also after a crash at once."""
    rig.long_venue.script.append(Fault(fill_ratio=D(0)))
    flat = await rig.open("1")
    assert flat.status is PositionStatus.FLAT
    event = late(rig, flat.position_id, LegSide.LONG, "0.7")
    assert await rig.call(rig.engine.news.late_fill(event))
    if is_killed:
        await rig.kill()
        rig.new_engine()
        await rig.start()
    view = await rig.settled(flat.position_id)
    assert view.status is PositionStatus.FLAT
    assert view.state_reason == "LATE_FILL"
    assert rig.long_venue.filled() < D("0.001")
    rig.check_books()


@pytest.mark.parametrize("cause", [GoneCause.LIQUIDATED, GoneCause.AUTO_DELEVERAGED])
async def test_a_kill_at_any_await_after_a_loss_ends_hedged_or_flat(cause: GoneCause) -> None:
    """Killed at each moment from the news on, the restart ends by the books, told again or not."""
    moment, is_dead = 0, True
    while is_dead:
        moment += 1
        rig = EngineRig(VirtualClock(), MemoryJournal())
        await rig.start()
        key = (await rig.open("1")).position_id
        await rig.kill()
        rig.new_engine(CrashGate())
        await rig.start()
        rig.gate._dies_at = rig.gate.passed + moment
        task = asyncio.get_running_loop().create_task(losing(rig, key, "0.4", cause))
        gate = rig.gate

        def is_over(rig: EngineRig = rig, key: str = key, gate: CrashGate = gate) -> bool:
            known = ledger(rig, key)
            rests = known.is_settled and known.gone and known.exit is None
            return gate.is_dead or bool(rests) or known.status.is_final

        await rig.clock.run_until(is_over)
        is_dead = rig.gate.is_dead
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OpensqtError):
            await task
        await rig.kill()
        rig.new_engine()
        await rig.start()
        told = ledger(rig, key).gone_quantity(LegSide.SHORT) > 0
        if not told:
            rig.short_venue.foreign = D(0)
            await lose(rig, key, "0.4", cause)
        await rig.clock.pass_time(10)
        check_gone(rig, await rig.settled(key))
        await rig.close_rig()
    assert moment > 8


async def test_a_forced_fill_on_the_order_stream_reaches_its_position(rig: EngineRig) -> None:
    """Whoever follows the position's own orders, the loss is booked and both legs end."""
    opened = await rig.open("1")
    rig.short_venue.foreign = D("0.999")
    ref = rig.short_venue.instrument.ref
    fill = ForcedFill(
        ref.exchange, ref.symbol, OrderSide.BUY, D("0.999"), "77", GoneCause.LIQUIDATED
    )
    rig.order_events.tell_forced(fill)
    rig.order_events.tell_forced(replace(fill, symbol="ETHUSDT"))
    await rig.clock.pass_time(0.1)
    view = rig.engine.get(opened.position_id)
    assert (view.status, view.state_reason) == (PositionStatus.CLOSED, "LEG_LIQUIDATED")
    check_gone(rig, view)


async def test_a_late_fill_on_the_order_stream_reaches_an_ended_position(rig: EngineRig) -> None:
    """With no drive left, the event of an order of ours resumes the exit; others change nothing."""
    rig.long_venue.script.append(Fault(fill_ratio=D(0)))
    flat = await rig.open("1")
    observed = late(rig, flat.position_id, LegSide.LONG, "0.7")
    ref = rig.long_venue.instrument.ref
    event = OrderEvent(ref.exchange, ref.symbol, observed.outcome)
    foreign = replace(observed.outcome, client_order_id="somebody-elses")
    for other in (
        replace(event, symbol="ETHUSDT"),
        replace(event, outcome=foreign),
        replace(event, outcome=replace(observed.outcome, executed=D(9))),
    ):
        rig.order_events.tell(other)
    await rig.clock.pass_time(0.1)
    assert rig.engine.get(flat.position_id).state_reason == "LEAD_NOT_FILLED"
    rig.order_events.tell(event)
    await rig.clock.pass_time(0.1)
    view = await rig.settled(flat.position_id)
    assert view.state_reason == "LATE_FILL"
    assert rig.long_venue.filled() < D("0.001")
    rig.check_books()


async def test_a_late_fill_while_the_end_is_written_resumes_the_exit(
    rig: EngineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heard after it was decided that nothing is left, and before that is durable."""
    journal, told = rig.journal, list[ev.OrderObserved]()
    append, ref = journal.append, rig.long_venue.instrument.ref

    async def append_late(events: Sequence[ev.Event]) -> None:
        if isinstance(events[-1], ev.PositionSettled) and not told:
            told.append(late(rig, events[-1].position_id, LegSide.LONG, "0.7"))
            rig.order_events.tell(OrderEvent(ref.exchange, ref.symbol, told[0].outcome))
        await append(events)

    monkeypatch.setattr(journal, "append", append_late)
    rig.long_venue.script.append(Fault(fill_ratio=D(0)))
    key = await begin(rig)
    await rig.clock.pass_time(5)
    view = rig.engine.get(key)
    assert (view.status, view.state_reason) == (PositionStatus.FLAT, "LATE_FILL")
    assert rig.long_venue.filled() < D("0.001")
    rig.check_books()


async def test_a_start_resumes_the_exit_that_a_crash_kept_from_following_a_late_fill(
    rig: EngineRig,
) -> None:
    """The fill is durable, and the row that resumes the exit is not: the next engine writes it."""
    rig.long_venue.script.append(Fault(fill_ratio=D(0)))
    flat = await rig.open("1")
    await rig.journal.append([late(rig, flat.position_id, LegSide.LONG, "0.7")])
    await rig.kill()
    rig.new_engine()
    await rig.start()
    await rig.clock.pass_time(5)
    view = await rig.settled(flat.position_id)
    assert (view.status, view.state_reason) == (PositionStatus.FLAT, "LATE_FILL")
    assert rig.long_venue.filled() < D("0.001")
    rig.check_books()


@pytest.mark.parametrize("filled", ["0", "0.4"])
async def test_an_exit_takes_back_a_quote_that_rests(filled: str) -> None:
    """The exit of a passive entry cancels its live order and closes what that has filled."""
    rig = EngineRig(VirtualClock(), MemoryJournal(), policy=EnginePolicy(passive_entry=True))
    await rig.start()
    position_id = await begin(rig)
    await rig.clock.run_until(lambda: bool(rig.long_venue.orders))
    await rig.clock.pass_time(0.05)
    (quote,) = rig.long_venue.orders.values()
    assert rig.long_venue.resting
    quote.executed = D(filled)
    await close_now(rig, position_id)
    view = await rig.settled(position_id)
    assert quote.closed
    assert view.status in (PositionStatus.CLOSED, PositionStatus.FLAT)
    assert abs(rig.net_delta()) < D("0.001") + abs(view.dust_quantity)
    rig.check_books()
    await rig.close_rig()


async def test_a_late_fill_that_cannot_be_journaled_is_not_forgotten(rig: EngineRig) -> None:
    """The stream tells it once: once the journal takes rows again the exit is taken up."""
    rig.long_venue.script.append(Fault(fill_ratio=D(0)))
    flat = await rig.open("1")
    observed = late(rig, flat.position_id, LegSide.LONG, "0.7")
    ref, journal = rig.long_venue.instrument.ref, rig.journal
    assert isinstance(journal, MemoryJournal)
    journal.fails = True
    rig.order_events.tell(OrderEvent(ref.exchange, ref.symbol, observed.outcome))
    await rig.clock.pass_time(3)
    journal.fails = False
    await rig.clock.pass_time(60)
    view = await rig.settled(flat.position_id)
    assert view.state_reason == "LATE_FILL"
    assert rig.long_venue.filled() < D("0.001")
    rig.check_books()
