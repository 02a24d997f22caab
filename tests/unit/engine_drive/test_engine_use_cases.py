"""Use cases: once per request id, refused with every reason, halted for entries only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.common.errors import InvalidFieldError, NotFoundError, PreconditionError
from services.engine.commands import (
    CloseAllCommand,
    CloseCommand,
    HaltCommand,
    ReduceCommand,
    ResumeCommand,
)
from services.engine.entry_desk import EntryRefusedError
from services.engine.instruments import InstrumentKind, LegSide, PositionMode
from services.engine.journal import JournalError
from services.engine.orders import OrderClass, OrderPlan
from services.engine.policy import EngineLimits
from services.engine.ports import FundingPayment
from services.engine.views import EngineMode, PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal, make_rules
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal


@pytest.fixture
async def rig() -> AsyncIterator[EngineRig]:
    """Give a started engine: long spot with its fee in base, short perpetual."""
    made = EngineRig(VirtualClock(), MemoryJournal())
    await made.start()
    yield made
    await made.close_rig()


async def test_a_repeated_open_trades_once(rig: EngineRig) -> None:
    """The same request, even while the first runs, is one position."""
    command = rig.open_command("1")
    both = asyncio.gather(rig.engine.open(command), rig.engine.open(command))
    await rig.clock.run_until(both.done)
    first, second = await both
    again = await rig.call(rig.engine.open(command))
    assert first.position_id == second.position_id == again.position_id
    await rig.settled(first.position_id)
    assert len(rig.long_venue.arrivals) == 1


async def test_a_request_id_with_other_content_is_refused(rig: EngineRig) -> None:
    """A reused request id is an error, also across commands and restarts."""
    command = rig.open_command("1")
    view = await rig.call(rig.engine.open(command))
    await rig.settled(view.position_id)
    for other in (
        rig.engine.open(replace(command, quantity=D(2))),
        rig.engine.close(CloseCommand(command.request_id, view.position_id)),
    ):
        with pytest.raises(InvalidFieldError) as refused:
            await rig.call(other)
        assert refused.value.reason == "REQUEST_ID_REUSED"
    await rig.kill()
    rig.new_engine()
    await rig.start()
    assert (await rig.call(rig.engine.open(command))).position_id == view.position_id
    assert len(rig.long_venue.arrivals) == 1


async def test_a_refused_open_may_be_asked_again(rig: EngineRig) -> None:
    """A refusal is not kept: the same request is judged afresh."""
    command = rig.open_command("1")
    rig.long_venue.funds = D(1)
    with pytest.raises(EntryRefusedError):
        await rig.call(rig.engine.open(command))
    rig.long_venue.funds = D(10_000)
    view = await rig.call(rig.engine.open(command))
    assert (await rig.settled(view.position_id)).status is PositionStatus.OPEN


async def test_a_caller_that_goes_away_does_not_stop_the_command(rig: EngineRig) -> None:
    """A cancelled call leaves the entry to the engine."""
    command = rig.open_command("1")
    task = asyncio.get_running_loop().create_task(rig.engine.open(command))
    await asyncio.sleep(0)
    task.cancel()
    await rig.clock.run_until(lambda: bool(rig.engine.positions()))
    view = await rig.settled(rig.engine.positions()[0].position_id)
    assert view.status is PositionStatus.OPEN


async def test_all_failures_are_told_together(rig: EngineRig) -> None:
    """A refused entry names what is wrong on both legs, and nothing was sent or journaled."""
    rig.long_venue.instrument = replace(rig.long_venue.instrument, trading=False)
    rig.long_venue.funds = D(1)
    rig.short_venue.depth = D("0.5")
    rig.short_venue.foreign = D(-3)
    rig.short_venue.mode = PositionMode.HEDGE
    rows = len(await rig.journal.load())
    with pytest.raises(EntryRefusedError) as refused:
        await rig.call(rig.engine.open(rig.open_command("1")))
    assert set(refused.value.metadata["failures"].split(",")) == {
        "NOT_TRADING",
        "BALANCE_INSUFFICIENT",
        "POSITION_MODE",
        "FOREIGN_POSITION",
        "DEPTH_INSUFFICIENT",
    }
    assert len(await rig.journal.load()) == rows
    assert rig.long_venue.arrivals == []


async def test_limits_refuse_an_entry() -> None:
    """Leg, symbol and total notional and the number of positions are bounded."""
    limits = EngineLimits(D(50), D(50), D(50), max_open_positions=0)
    rig = EngineRig(VirtualClock(), MemoryJournal(), limits=limits)
    await rig.start()
    with pytest.raises(EntryRefusedError) as refused:
        await rig.call(rig.engine.open(rig.open_command("1")))
    assert refused.value.metadata["failures"] == (
        "LEG_NOTIONAL_LIMIT,SYMBOL_NOTIONAL_LIMIT,TOTAL_NOTIONAL_LIMIT,POSITION_COUNT_LIMIT"
    )
    await rig.close_rig()


async def test_validate_only_leaves_no_trace(rig: EngineRig) -> None:
    """A dry run sizes the entry and neither journals nor sends."""
    command = rig.open_command("1.00049", validate_only=True)
    view = await rig.call(rig.engine.open(command))
    assert view.lead_requested_quantity == D("1.000")
    assert rig.engine.positions() == ()
    assert await rig.journal.load() == ()


async def test_notional_is_sized_at_the_touch_and_the_thinner_book_leads(rig: EngineRig) -> None:
    """A notional becomes a quantity of the common lot; without a wish the thinner leg leads."""
    rig.short_venue.depth = D(20)
    command = rig.open_command(quantity="1", notional=D(100), lead_leg=None, validate_only=True)
    view = await rig.call(rig.engine.open(replace(command, quantity=None)))
    assert view.lead_requested_quantity == D("0.999")
    assert view.lead_leg is LegSide.SHORT


async def test_one_position_per_instrument(rig: EngineRig) -> None:
    """A second entry in the same instrument is refused while the first is on."""
    await rig.open("1")
    with pytest.raises(PreconditionError) as refused:
        await rig.call(rig.engine.open(rig.open_command("1")))
    assert refused.value.reason == "INSTRUMENT_IN_USE"


async def test_halt_stops_entries_and_nothing_else(rig: EngineRig) -> None:
    """A halted engine refuses entries, exits as always, and stays halted over a restart."""
    opened = await rig.open("1")
    status = await rig.call(rig.engine.halt(HaltCommand("halt", "told so")))
    assert (status.mode, status.reason) == (EngineMode.HALTED, "told so")
    await rig.kill()
    rig.new_engine()
    await rig.start()
    with pytest.raises(PreconditionError) as refused:
        await rig.call(rig.engine.open(rig.open_command("1")))
    assert refused.value.reason == "ENGINE_HALTED"
    assert (await rig.close(opened.position_id)).status is PositionStatus.CLOSED
    await rig.call(rig.engine.resume(ResumeCommand("resume", "fine")))
    assert (await rig.open("1")).status is PositionStatus.OPEN


async def test_two_closes_are_one_exit(rig: EngineRig) -> None:
    """A second close returns the closing position and sends nothing more."""
    opened = await rig.open("1")
    key = opened.position_id
    both = asyncio.gather(
        rig.engine.close(CloseCommand("one", key)), rig.engine.close(CloseCommand("two", key))
    )
    await rig.clock.run_until(both.done)
    assert [v.status for v in await both] == [PositionStatus.CLOSING] * 2
    await rig.settled(key)
    assert [len(v.arrivals) for v in rig.venues] == [2, 2]
    again = await rig.call(rig.engine.close(CloseCommand("three", key)))
    assert again.status is PositionStatus.CLOSED


async def test_close_during_the_entry_stops_it_and_exits(rig: EngineRig) -> None:
    """A close while the hedge is in doubt exits the lead at once and the hedge when it is known."""
    rig.short_venue.script.append(Fault(arrives_after=1.5))
    view = await rig.call(rig.engine.open(rig.open_command("1")))
    await rig.clock.pass_time(0.1)
    await rig.call(rig.engine.close(CloseCommand("close", view.position_id)))
    await rig.clock.pass_time(0.3)
    assert rig.long_venue.filled() < D("0.001")
    closed = await rig.settled(view.position_id)
    assert closed.status is PositionStatus.CLOSED
    assert rig.short_venue.filled() == 0
    rig.check_books()


async def test_reduce_takes_the_same_off_both_legs(rig: EngineRig) -> None:
    """A reduction leaves the position open and matched; of all of it, it is a close."""
    opened = await rig.open("1")
    key = opened.position_id
    await rig.call(rig.engine.reduce(ReduceCommand("half", key, ratio=D("0.5"))))
    view = await rig.settled(key)
    assert view.status is PositionStatus.OPEN
    assert view.short_leg.quantity == D("-0.500")
    assert abs(view.residual_quantity) < D("0.001")
    with pytest.raises(InvalidFieldError, match="leaves less"):
        await rig.call(rig.engine.reduce(ReduceCommand("most", key, quantity=D("0.49"))))
    await rig.call(rig.engine.reduce(ReduceCommand("all", key, ratio=D(1))))
    assert (await rig.settled(key)).status is PositionStatus.CLOSED
    rig.check_books()


@pytest.mark.parametrize(
    ("quantity", "ratio"),
    [(None, None), (D(1), D(1)), (D(0), None), (None, D("1.1")), (D("0.0001"), None)],
)
async def test_senseless_reductions_are_refused(
    rig: EngineRig, quantity: Decimal | None, ratio: Decimal | None
) -> None:
    """Neither, both, nothing, more than all, or less than a lot."""
    opened = await rig.open("1")
    with pytest.raises(InvalidFieldError):
        await rig.call(rig.engine.reduce(ReduceCommand("r", opened.position_id, quantity, ratio)))


async def test_close_all_exits_everything(rig: EngineRig) -> None:
    """Every position that is not closed is exited; the answer names them all."""
    opened = await rig.open("1")
    views = await rig.call(rig.engine.close_all(CloseAllCommand("all", "storm")))
    assert [v.position_id for v in views] == [opened.position_id]
    closed = await rig.settled(opened.position_id)
    assert closed.state_reason == "CLOSE_ALL storm"


async def test_unknown_positions_are_not_found(rig: EngineRig) -> None:
    """Commands on a position nobody opened say so."""
    with pytest.raises(NotFoundError) as missing:
        await rig.engine.close(CloseCommand("x", "nobody"))
    assert missing.value.reason == "HEDGED_POSITION_NOT_FOUND"


async def test_a_journal_that_cannot_be_written_sends_nothing(rig: EngineRig) -> None:
    """Without a durable intent there is no order and no position."""
    assert isinstance(rig.journal, MemoryJournal)
    rig.journal.fails = True
    with pytest.raises(JournalError):
        await rig.call(rig.engine.open(rig.open_command("1")))
    assert rig.long_venue.arrivals == []
    assert rig.engine.positions() == ()


async def test_an_exit_waits_for_the_journal_and_goes_on(rig: EngineRig) -> None:
    """A journal that fails for a while delays an exit, which status and metrics tell meanwhile."""
    assert isinstance(rig.journal, MemoryJournal)
    opened = await rig.open("1")
    await rig.call(rig.engine.close(CloseCommand("close", opened.position_id)))
    rig.journal.fails = True
    await rig.clock.pass_time(7)
    assert rig.recorder.status is not None
    assert "entries and exits wait: disk full" in rig.recorder.status.reason
    assert rig.recorder.journal_failures > 3
    with pytest.raises(JournalError, match="disk full"):
        await rig.call(rig.engine.close(CloseCommand("again", opened.position_id)))
    rig.journal.fails = False
    assert (await rig.settled(opened.position_id)).status is PositionStatus.CLOSED
    assert rig.engine.status().reason == "no entries in BTCUSDT: JOURNAL_UNAVAILABLE"
    rig.check_books()


async def test_the_users_own_coins_stay(rig: EngineRig) -> None:
    """Coins of the user's own on the spot account stay through entry and exit."""
    rig.long_venue.foreign = D(7)
    opened = await rig.open("1")
    await rig.close(opened.position_id)
    sold = [o.plan.quantity for o in rig.long_venue.orders.values() if o.plan.side.value == "sell"]
    assert sold == [D("0.999")]


async def test_nothing_durable_is_awaited_between_a_fill_and_its_hedge(rig: EngineRig) -> None:
    """A journal that hangs after the lead was sent does not hold the hedge back."""
    assert isinstance(rig.journal, MemoryJournal)
    journal = rig.journal
    seen: list[bool] = []

    def arrived(plan: OrderPlan) -> None:
        if plan.order_class is OrderClass.ENTRY:
            journal.fails = True
        else:
            seen.append(journal.fails)

    rig.long_venue.on_arrival = rig.short_venue.on_arrival = arrived
    view = await rig.call(rig.engine.open(rig.open_command("1")))
    await rig.clock.pass_time(0.5)
    assert seen == [True]
    journal.fails = False
    assert (await rig.settled(view.position_id)).status is PositionStatus.OPEN
    assert rig.recorder.hedge_delays == [0.0]


async def test_funding_is_read_while_open_and_after_the_close(rig: EngineRig) -> None:
    """Payments from the entry's fill on count once; those before it do not."""
    opened = await rig.open("1")
    now = rig.clock.now()
    rig.short_venue.payments += [
        FundingPayment("USDT", D("9"), now - timedelta(hours=1), "before"),
        FundingPayment("USDT", D("0.5"), now, "one"),
        FundingPayment("USDT", D("0.5"), now, "one"),
        FundingPayment("USDT", D("-0.2"), now, "two"),
    ]
    await rig.clock.pass_time(40)
    assert rig.engine.get(opened.position_id).funding_received == D("0.3")
    await rig.close(opened.position_id)
    rig.short_venue.payments.append(
        FundingPayment("USDT", D(9), rig.clock.now() + timedelta(minutes=1), "later")
    )
    await rig.clock.pass_time(40)
    assert rig.engine.get(opened.position_id).funding_received == D("0.3")


async def test_money_adds_up(rig: EngineRig) -> None:
    """Profit less fees is what both accounts gained, dust at its last price."""
    rig.long_venue.price, rig.short_venue.price = D(100), D(101)
    opened = await rig.open("1")
    rig.long_venue.price, rig.short_venue.price = D(110), D("110.5")
    view = await rig.close(opened.position_id)
    cash = D(0)
    for venue in rig.venues:
        for order in venue.orders.values():
            quote = order.executed * order.price
            cash += -quote if order.plan.side.value == "buy" else quote
            outcome_fees = quote * venue.instrument.taker_fee_ratio
            if not (venue is rig.long_venue and order.plan.side.value == "buy"):
                cash -= outcome_fees
    assert view.trading_pnl is not None
    assert view.fees_paid is not None
    left = rig.long_venue.filled() * D(110)
    assert view.trading_pnl - view.fees_paid == cash + left


async def test_a_short_spot_leg_on_margin_is_bought_back_net() -> None:
    """A margin short is closed by a buy that is grossed up for its fee."""
    perp = make_rules("perp", InstrumentKind.PERPETUAL)
    spot = make_rules("spot", InstrumentKind.SPOT, use_margin=True, margin_allowed=True)
    rig = EngineRig(VirtualClock(), MemoryJournal(), long_rules=perp, short_rules=spot)
    await rig.start()
    opened = await rig.open("1")
    assert opened.short_leg.quantity == -1
    closed = await rig.close(opened.position_id)
    assert closed.status is PositionStatus.CLOSED
    assert [o.plan.use_margin for o in rig.short_venue.orders.values()] == [True, True]
    assert -D("0.001") < rig.short_venue.filled() <= 0
    await rig.close_rig()


async def test_stop_lets_a_moving_position_rest(rig: EngineRig) -> None:
    """A drain finishes the entry under way and refuses new ones."""
    view = await rig.call(rig.engine.open(rig.open_command("1")))
    stopping = asyncio.get_running_loop().create_task(rig.engine.stop(timedelta(seconds=5)))
    await rig.clock.run_until(stopping.done)
    assert rig.engine.get(view.position_id).status is PositionStatus.OPEN
    with pytest.raises(PreconditionError) as refused:
        await rig.engine.open(replace(rig.open_command("1"), validate_only=True))
    assert refused.value.reason == "ENGINE_STOPPING"
