"""The engine beside its venues: baselines at the first trade, breaks, restarts, legs that go."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.common.errors import PreconditionError, UnreachableError
from services.engine import events as ev
from services.engine.commands import CloseCommand, ResumeCommand
from services.engine.events import BaselineTaken, Event, ReconciliationBroke
from services.engine.instruments import InstrumentKind
from services.engine.orders import OrderPlan
from services.engine.pockets import Holdings
from services.engine.views import PositionStatus, PositionView
from tests.support.engine_rig import EngineRig, MemoryJournal, make_rules
from tests.support.fake_venue import FakeVenue, Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal
INTERVAL = 5.0
LONG_ENOUGH = 20.0


def new_rig(journal: MemoryJournal | None = None) -> EngineRig:
    """Return two venues with two coins of the user's own at the spot one."""
    rig = EngineRig(VirtualClock(), journal or MemoryJournal())
    rig.long_venue.foreign = D(2)
    return rig


async def journaled(rig: EngineRig, *kinds: type[Event]) -> list[Event]:
    """Return the journal's events of some kinds."""
    return [event for event in await rig.journal.load() if isinstance(event, kinds)]


async def broken(rig: EngineRig, limit: float = INTERVAL) -> float:
    """Wait until the status names a break and return how long that took."""
    started = rig.clock.monotonic()
    await rig.clock.run_until(lambda: "the venue tells" in rig.engine.status().reason, limit)
    return rig.clock.monotonic() - started


async def rests(rig: EngineRig) -> None:
    """Assert that several comparisons find nothing."""
    await rig.clock.pass_time(LONG_ENOUGH)
    assert rig.engine.status().reason == ""


async def test_the_users_own_coins_are_kept_apart_from_the_first_trade_on() -> None:
    """Baselines are journaled before the first order, once, and nothing breaks over a life."""
    rig = new_rig()
    await rig.start()
    for _ in range(2):
        view = await rig.open("1")
        await rests(rig)
        await rig.close(view.position_id)
        await rests(rig)
    history = await journaled(rig, BaselineTaken, ev.OrderIntended)
    taken = [event.quantity for event in history if isinstance(event, BaselineTaken)]
    assert taken == [D(0), D(2)]
    assert all(isinstance(event, BaselineTaken) for event in history[:2])
    assert await journaled(rig, ReconciliationBroke) == []
    rig.check_books()
    await rig.close_rig()


async def test_a_break_stops_entries_within_one_interval_and_exits_never() -> None:
    """The refusal and the status have both numbers; an exit goes on as ever."""
    rig = new_rig()
    await rig.start()
    view = await rig.open("1")
    rig.long_venue.foreign = D(3)
    assert await broken(rig) <= INTERVAL
    assert "should be 2.999, the venue tells 3.999" in rig.engine.status().reason
    other = {"long_leg": rig.long_venue.instrument.ref, "short_leg": rig.short_venue.instrument.ref}
    with pytest.raises(PreconditionError) as refused:
        await rig.open("1", **other)
    assert refused.value.reason == "RECONCILIATION_BROKEN"
    closed = await rig.close(view.position_id)
    assert closed.status is PositionStatus.CLOSED
    rig.check_books()
    await rig.close_rig()


async def test_a_break_ends_by_itself_when_the_numbers_agree_again() -> None:
    """Broken and healed are both journaled, once each."""
    rig = new_rig()
    await rig.start()
    await rig.open("1")
    rig.long_venue.foreign = D(3)
    await broken(rig)
    await rig.clock.pass_time(LONG_ENOUGH)
    rig.long_venue.foreign = D(2)
    await rig.clock.run_until(lambda: rig.engine.status().reason == "", INTERVAL)
    kinds = (ReconciliationBroke, ev.ReconciliationHealed)
    assert [type(event) for event in await journaled(rig, *kinds)] == list(kinds)
    await rig.close_rig()


async def test_what_changes_while_nothing_is_on_is_found_within_twelve_intervals() -> None:
    """A surprise at an idle venue is in no hurry, yet it stops the next entry."""
    rig = new_rig()
    await rig.start()
    view = await rig.open("1")
    await rig.close(view.position_id)
    await rests(rig)
    rig.long_venue.foreign = D(3)
    await broken(rig, 12 * INTERVAL)
    # From here on it is looked at in every round.
    rig.long_venue.foreign = D(2)
    await rig.clock.run_until(lambda: rig.engine.status().reason == "", 2 * INTERVAL)
    await rig.close_rig()


async def test_a_break_survives_a_restart() -> None:
    """It is part of the journal's state, not of the process."""
    rig = new_rig()
    await rig.start()
    await rig.open("1")
    rig.long_venue.foreign = D(3)
    await broken(rig)
    await rig.kill()
    rig.new_engine()
    await rig.engine.start()
    assert "the venue tells" in rig.engine.status().reason
    await rig.close_rig()


async def test_resuming_declares_what_differs_to_be_the_users_own() -> None:
    """A deposit is explained; the next comparisons find nothing."""
    rig = new_rig()
    await rig.start()
    view = await rig.open("1")
    rig.long_venue.foreign = D("3.5")
    await broken(rig)
    await rig.call(rig.engine.resume(ResumeCommand(rig.request_id(), "my deposit")))
    await rests(rig)
    await rig.close(view.position_id)
    assert rig.long_venue.filled() == 0
    await rig.close_rig()


async def gone(missing: str) -> tuple[EngineRig, PositionView]:
    """Return a rig whose perpetual lost some of its leg, after the engine has dealt with it."""
    rig = new_rig()
    await rig.start()
    view = await rig.open("1")
    rig.short_venue.foreign = D(missing)
    await rig.clock.pass_time(LONG_ENOUGH)
    return rig, await rig.settled(view.position_id)


async def test_a_leg_that_is_gone_takes_the_other_one_down() -> None:
    """Liquidated whole: the coins that hedged it are sold, the user's own stay."""
    rig, view = await gone("0.999")
    assert view.status is PositionStatus.CLOSED
    assert rig.long_venue.filled() == 0
    assert len(await journaled(rig, ev.LegGone)) == 1
    await rests(rig)
    await rig.close_rig()


async def test_a_leg_that_lost_a_part_takes_as_much_off_the_other() -> None:
    """Deleveraged by half: both legs match again and the ledger agrees."""
    rig, view = await gone("0.5")
    assert view.status is PositionStatus.OPEN
    assert (view.long_leg.quantity, view.short_leg.quantity) == (D("0.499"), D("-0.499"))
    assert rig.long_venue.filled() == D("0.499")
    await rests(rig)
    await rig.close_rig()


async def test_resuming_brings_no_leg_back() -> None:
    """A leg that is gone is nobody's holding, whoever says so before it is dealt with."""
    rig = new_rig()
    await rig.start()
    await rig.open("1")
    rig.short_venue.foreign = D("0.999")
    await broken(rig)
    await rig.call(rig.engine.resume(ResumeCommand(rig.request_id(), "go on")))
    assert "the venue tells" in rig.engine.status().reason
    await rig.clock.run_until(lambda: rig.long_venue.filled() == 0, LONG_ENOUGH)
    await rig.close_rig()


async def test_a_venue_that_lags_behind_its_fills_breaks_nothing() -> None:
    """What an older reading says is not said twice."""
    rig = new_rig()
    await rig.start()
    stale: list[Holdings] = [await rig.call(rig.short_venue.holdings())]
    view = await rig.open("1")
    rig.short_venue.answer_holdings = lambda held: stale.pop() if stale else held
    await rests(rig)
    assert stale == []
    assert await journaled(rig, ReconciliationBroke, ev.LegGone) == []
    assert rig.engine.get(view.position_id).status is PositionStatus.OPEN
    await rig.close_rig()


async def test_a_venue_that_goes_on_lagging_costs_no_other_leg() -> None:
    """A break that one round found stops entries; only the next round may call the leg gone."""
    rig = new_rig()
    await rig.start()
    old = await rig.call(rig.short_venue.holdings())
    stale = [old, old]
    view = await rig.open("1")
    rig.short_venue.answer_holdings = lambda held: stale.pop() if stale else held
    await rests(rig)
    assert stale == []
    assert await journaled(rig, ev.LegGone) == []
    assert len(await journaled(rig, ReconciliationBroke, ev.ReconciliationHealed)) == 2
    assert rig.engine.get(view.position_id).status is PositionStatus.OPEN
    await rig.close_rig()


async def test_a_start_with_orders_in_doubt_is_compared_once_the_doubt_is_over() -> None:
    """What broke meanwhile is known when entries are let in, not an interval later."""
    rig = new_rig()
    await rig.start()
    rig.short_venue.script.append(Fault(lost=True))
    await rig.call(rig.engine.open(rig.open_command("1")))
    await rig.clock.run_until(lambda: bool(rig.engine.status().unknown_client_order_ids))
    await rig.kill(5)
    rig.long_venue.foreign = D(3)
    rig.new_engine()
    await rig.start()
    assert "the venue tells" in rig.engine.status().reason
    await rig.close_rig()


async def test_a_book_the_venue_does_not_tell_of_is_not_compared() -> None:
    """After a start no entry is let in before what is on was told."""
    rig = new_rig()
    await rig.start()
    await rig.open("1")
    await rig.kill()
    rig.long_venue.answer_holdings = lambda _: Holdings()
    rig.new_engine()
    await rig.engine.start()
    await rig.clock.pass_time(LONG_ENOUGH)
    assert not rig.engine.status().reconciled
    assert "holdings of spot cannot be compared: HOLDINGS_UNREAD" in rig.engine.status().reason
    await rig.close_rig()


async def test_orders_in_flight_are_no_break() -> None:
    """A fill the venue shows and whose answer is still to come is nobody's surprise."""
    rig = new_rig()
    await rig.start()
    rig.short_venue.script.append(Fault(latency=30.0))
    command = rig.open_command("1")
    view = await rig.call(rig.engine.open(command))
    await rig.settled(view.position_id)
    await rig.clock.pass_time(LONG_ENOUGH)
    assert await journaled(rig, ReconciliationBroke) == []
    await rig.close_rig()


async def test_a_venue_that_cannot_be_read_is_told_and_is_no_break() -> None:
    """The other venue is compared all the same."""
    rig = new_rig()
    await rig.start()
    await rig.open("1")
    rig.short_venue.reads_fail = lambda: True
    await rig.clock.pass_time(LONG_ENOUGH)
    assert "holdings of perp cannot be compared" in rig.engine.status().reason
    assert await journaled(rig, ReconciliationBroke) == []
    rig.long_venue.foreign = D(3)
    assert await broken(rig) <= INTERVAL
    rig.short_venue.reads_fail = lambda: False
    await rig.clock.pass_time(LONG_ENOUGH)
    assert "cannot be compared" not in rig.engine.status().reason
    await rig.close_rig()


async def test_nothing_is_entered_where_the_holdings_cannot_be_read() -> None:
    """What was there before the first trade could not be told from ours afterwards."""
    rig = new_rig()
    await rig.start()

    def unread(held: Holdings) -> Holdings:
        raise UnreachableError("nobody answers")

    rig.long_venue.answer_holdings = unread
    with pytest.raises(UnreachableError):
        await rig.open("1")
    assert rig.long_venue.arrivals == rig.short_venue.arrivals == []
    await rig.close_rig()


async def test_exits_are_served_at_once_after_a_start_and_entries_once_reconciled() -> None:
    """With a venue nobody reaches: a close goes out at the other, an entry is refused."""
    rig = new_rig()
    await rig.start()
    view = await rig.open("1")
    await rig.kill()
    rig.short_venue.reads_fail = lambda: True
    rig.new_engine()
    started = rig.clock.monotonic()
    await rig.engine.start()
    assert not rig.engine.status().reconciled
    sent: list[float] = []
    rig.long_venue.on_arrival = lambda _: sent.append(rig.clock.monotonic() - started)
    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), view.position_id)))
    await rig.clock.run_until(lambda: bool(sent), 2)
    assert sent[0] < 0.1
    with pytest.raises(PreconditionError) as refused:
        await rig.open("1")
    assert refused.value.reason == "ENGINE_NOT_RECONCILED"
    rig.short_venue.reads_fail = lambda: False
    await rig.clock.run_until(lambda: rig.engine.status().reconciled, INTERVAL)
    await rig.close_rig()


async def test_a_break_at_the_start_is_found_before_the_first_entry() -> None:
    """What went while the engine was down stops entries before they are let in."""
    rig = new_rig()
    await rig.start()
    await rig.open("1")
    await rig.kill()
    rig.long_venue.foreign = D(3)
    rig.new_engine()
    await rig.start()
    assert "the venue tells" in rig.engine.status().reason
    await rig.close_rig()


async def test_a_journal_without_baselines_gets_them_at_the_start() -> None:
    """Positions of an older release are taken as they are; their perpetual as ours alone."""
    journal = MemoryJournal()
    rig = new_rig(journal)
    await rig.start()
    await rig.open("1")
    await rig.kill()
    journal.rows[:] = [row for row in journal.rows if row[0] != "BaselineTaken"]
    rig.new_engine()
    await rig.start()
    await rig.clock.run_until(lambda: rig.engine.status().reconciled, INTERVAL)
    taken = await journaled(rig, BaselineTaken)
    assert sorted(e.quantity for e in taken if isinstance(e, BaselineTaken)) == [D(0), D(2)]
    await rests(rig)
    await rig.close_rig()


async def test_a_borrowed_short_is_compared_by_its_debt() -> None:
    """A short spot leg leaves a debt; the coins of the wallet are another pocket."""
    perp = make_rules("perp", InstrumentKind.PERPETUAL)
    spot = make_rules("spot", InstrumentKind.SPOT, use_margin=True, margin_allowed=True)
    rig = EngineRig(VirtualClock(), MemoryJournal(), long_rules=perp, short_rules=spot)
    await rig.start()
    await rig.open("1")
    await rests(rig)
    rig.short_venue.foreign = D("-0.5")
    await broken(rig)
    assert "BTC (margin) at spot should be -1" in rig.engine.status().reason
    await rig.close_rig()


def counted(venue: FakeVenue, clock: VirtualClock) -> list[float]:
    """Return the times of a venue's readings, which goes on growing."""
    times: list[float] = []

    def counting(held: Holdings) -> Holdings:
        times.append(clock.monotonic())
        return held

    venue.answer_holdings = counting
    return times


async def test_readings_are_bounded_however_many_positions_are_on() -> None:
    """One question a venue and interval; two while something is confirmed; fewer at rest."""
    rig = new_rig()
    times = counted(rig.long_venue, rig.clock)
    await rig.start()
    assert times == []
    symbols = [f"C{number}USDT" for number in range(5)]
    views = []
    for symbol in symbols:
        long, short = rig.long_venue.instrument.ref, rig.short_venue.instrument.ref
        legs = {
            "long_leg": type(long)(long.exchange, symbol, long.kind),
            "short_leg": type(short)(short.exchange, symbol, short.kind),
        }
        views.append(await rig.open("1", **legs))
    times.clear()
    await rig.clock.pass_time(60)
    assert len(times) <= 60 / (INTERVAL - 1) + 1
    for view in views:
        await rig.close(view.position_id)
    times.clear()
    await rig.clock.pass_time(600)
    assert len(times) <= 600 / (12 * (INTERVAL - 1)) + 1
    await rig.close_rig()


async def test_an_exit_that_waits_for_a_venue_keeps_nothing_from_being_compared() -> None:
    """Between two attempts of an exit the numbers can be compared as well."""
    rig = new_rig()
    await rig.start()
    view = await rig.open("1")

    def refuse(plan: OrderPlan) -> Fault:
        return Fault(reject=True, retryable=True)

    rig.long_venue.choose = refuse
    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), view.position_id)))
    await rig.clock.pass_time(60)
    rig.long_venue.foreign = D(3)
    await broken(rig, 60)
    await rig.close_rig()
