"""Risk in a running engine: halts, breakers, reservations, the day, and guards that act."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import risk_pb2
from services.common.errors import FatalError, PreconditionError, UnimplementedError
from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.commands import CloseCommand, HaltCommand, ResumeCommand
from services.engine.entry_desk import EntryRefusedError
from services.engine.events import Event
from services.engine.guard_desk import GuardNeeds
from services.engine.guard_facts import GuardLimits, GuardPace, LegMarket
from services.engine.guard_ports import AccountFacts, HoldingFacts
from services.engine.instruments import InstrumentRef
from services.engine.orders import OrderClass
from services.engine.policy import EngineLimits
from services.engine.risk_alerts import AlertFeed
from services.engine.risk_desk import RiskDesk
from services.engine.risk_halt import HaltFlag
from services.engine.risk_limits import RiskLimits
from services.engine.servicer_risk import RiskServicer
from services.engine.sqlite_journal import SqliteJournal
from services.engine.views import EngineMode, PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal, Recorder
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import START, VirtualClock

D = Decimal
CONTEXT: Any = None


@dataclass(slots=True)
class MemoryFlag:
    """A halt flag in memory; mutable: the test breaks it."""

    flag: HaltFlag = field(default_factory=lambda: HaltFlag(known=False))
    fails: bool = False

    def read(self) -> HaltFlag:
        """Return it."""
        return self.flag

    def write(self, flag: HaltFlag) -> None:
        """Replace it."""
        if self.fails:
            raise OSError("read-only file system")
        self.flag = flag


@dataclass(slots=True)
class FakeReader:
    """A venue's account; mutable: the test moves it."""

    facts: AccountFacts = field(default_factory=AccountFacts)
    rows: dict[str, LegMarket] = field(default_factory=dict)

    async def account(self) -> AccountFacts:
        """Answer it."""
        return self.facts

    async def markets(self) -> Mapping[str, LegMarket]:
        """Answer the market."""
        return self.rows


class HeldJournal(MemoryJournal):
    """A journal whose disk answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def append(self, events: Sequence[Event]) -> None:
        """Append once the gate is open."""
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        await super().append(events)


def new_rig(
    journal: MemoryJournal | None = None,
    *,
    risk: RiskLimits | None = None,
    limits: EngineLimits | None = None,
    flag: MemoryFlag | None = None,
    guards: GuardNeeds | None = None,
) -> EngineRig:
    """Return a rig whose engine has these bounds."""
    clock = VirtualClock()
    rig = EngineRig(clock, journal if journal is not None else MemoryJournal(), limits=limits)
    rig.extras = {"risk": risk or RiskLimits(), "halt_flag": flag, "guards": guards}
    rig.new_engine()
    return rig


async def halt(rig: EngineRig, reason: str = "stop") -> None:
    """Halt the engine."""
    await rig.call(rig.engine.halt(HaltCommand(rig.request_id(), reason)))


async def resume(rig: EngineRig) -> None:
    """Resume the engine."""
    await rig.call(rig.engine.resume(ResumeCommand(rig.request_id(), "go")))


async def refusal(rig: EngineRig) -> str:
    """Return the reason an entry is refused for, or the reasons of its checks."""
    with pytest.raises(PreconditionError) as caught:
        await rig.open()
    error = caught.value
    return error.metadata["failures"] if isinstance(error, EntryRefusedError) else error.reason


async def test_a_halt_outlives_the_journal() -> None:
    """With the journal lost, the flag alone keeps the next start halted, until it is resumed."""
    flag = MemoryFlag()
    rig = new_rig(flag=flag)
    await rig.start()
    await halt(rig, "maintenance")
    await rig.kill()
    rig.journal = MemoryJournal()
    rig.new_engine()
    await rig.start()
    assert rig.engine.status().mode is EngineMode.HALTED
    assert "maintenance" in rig.engine.status().reason
    assert await refusal(rig) == "ENGINE_HALTED"
    await resume(rig)
    assert (await rig.open()).status is PositionStatus.OPEN
    assert flag.flag == HaltFlag(known=True, used=True)
    await rig.close_rig()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (HaltFlag(known=True, problem="torn"), "cannot be read"),
        (HaltFlag(known=True, used=True), "journal is empty"),
    ],
)
async def test_what_cannot_be_believed_starts_halted(found: HaltFlag, words: str) -> None:
    """An unreadable flag and a lost journal stop entries from the start."""
    rig = new_rig(flag=MemoryFlag(found))
    await rig.start()
    assert rig.engine.status().mode is EngineMode.HALTED
    assert words in rig.engine.status().reason
    await rig.close_rig()


async def test_a_first_start_is_not_halted() -> None:
    """Neither flag nor journal: there is nothing that could have been lost."""
    rig = new_rig(flag=MemoryFlag())
    await rig.start()
    assert (await rig.open()).status is PositionStatus.OPEN
    await rig.close_rig()


async def test_exits_run_while_halted() -> None:
    """A halted engine closes what is on."""
    rig = new_rig(flag=MemoryFlag())
    await rig.start()
    view = await rig.open()
    await halt(rig)
    assert (await rig.close(view.position_id)).status is PositionStatus.CLOSED
    await rig.close_rig()


async def test_the_switch_holds_before_the_disk_answers() -> None:
    """A lead whose intent is being written when the halt comes is never sent."""
    journal = HeldJournal()
    rig = new_rig(journal)
    await rig.start()
    journal.gate.clear()
    entry = asyncio.get_running_loop().create_task(rig.engine.open(rig.open_command()))
    await rig.clock.run_until(lambda: journal.waiting == 1)
    halting = asyncio.get_running_loop().create_task(
        rig.engine.halt(HaltCommand(rig.request_id(), "stop"))
    )
    await rig.clock.run_until(lambda: journal.waiting == 2)
    assert rig.engine.status().mode is EngineMode.HALTED
    journal.gate.set()
    await rig.clock.run_until(lambda: entry.done() and halting.done())
    view = await rig.settled(entry.result().position_id)
    assert (view.status, view.state_reason) == (PositionStatus.FLAT, "LEAD_REJECTED ENGINE_HALTED")
    assert rig.long_venue.arrivals == []
    await rig.close_rig()


async def test_a_halt_holds_though_no_disk_takes_it() -> None:
    """Neither journal nor flag can be written, and entries stop all the same."""
    journal, flag = MemoryJournal(), MemoryFlag()
    rig = new_rig(journal, flag=flag)
    await rig.start()
    journal.fails = flag.fails = True
    with pytest.raises(FatalError):
        await halt(rig)
    assert await refusal(rig) == "ENGINE_HALTED"
    journal.fails = False
    with pytest.raises(FatalError) as caught:
        await resume(rig)
    assert caught.value.reason == "HALT_FLAG_UNWRITABLE"
    assert await refusal(rig) == "ENGINE_HALTED"
    await rig.close_rig()


async def test_failures_in_a_row_stop_everything() -> None:
    """After the last one allowed the engine only reduces, until an operator resumes."""
    rig = new_rig(risk=RiskLimits(max_consecutive_failures=2))
    await rig.start()
    for _ in range(2):
        rig.long_venue.script.append(Fault(reject=True))
        assert (await rig.open()).status is PositionStatus.FLAT
    assert await refusal(rig) == "CONSECUTIVE_FAILURES"
    await rig.clock.pass_time(6)
    assert rig.engine.status().mode is EngineMode.REDUCING
    assert await refusal(rig) == "ENGINE_HALTED"
    await resume(rig)
    assert (await rig.open()).status is PositionStatus.OPEN
    await rig.close_rig()


async def test_a_symbol_rests_after_a_position() -> None:
    """The cooldown counts from the exit."""
    rig = new_rig(risk=RiskLimits(symbol_cooldown=timedelta(seconds=30)))
    await rig.start()
    view = await rig.open()
    await rig.close(view.position_id)
    assert await refusal(rig) == "SYMBOL_COOLDOWN"
    await rig.clock.pass_time(31)
    assert (await rig.open()).status is PositionStatus.OPEN
    await rig.close_rig()


async def test_a_day_that_lost_takes_no_entry() -> None:
    """The loss of the round trip counts from the day's first look; the next day starts anew."""
    rig = new_rig(risk=RiskLimits(max_daily_loss=D("0.1")))
    # Before the start, while nothing wakes every few seconds: the clock begins at noon.
    await rig.clock.pass_time(12 * 3600 - 120)
    await rig.start()
    view = await rig.open()
    rig.long_venue.price = D(98)
    await rig.close(view.position_id)
    assert await refusal(rig) == "DAILY_LOSS_LIMIT"
    await rig.clock.pass_time(130)
    rig.long_venue.price = D(100)
    assert (await rig.open()).status is PositionStatus.OPEN
    await rig.close_rig()


async def test_a_bug_of_one_look_leaves_no_day_unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look opens the day, by which its loss is counted, all the same."""
    rig = new_rig(risk=RiskLimits(max_daily_loss=D("0.1")))
    with monkeypatch.context() as broken:
        broken.setattr(RiskDesk, "look", None)
        await rig.start()
    await rig.clock.pass_time(10)
    assert rig.engine.risk.day_result() == 0
    await rig.close_rig()


async def test_two_entries_at_once_do_not_both_fit() -> None:
    """An entry whose intent is being written is seen by the next one's checks."""
    journal = HeldJournal()
    rig = new_rig(journal, limits=EngineLimits(max_total_notional=D(150)))
    await rig.start()
    journal.gate.clear()
    first = asyncio.get_running_loop().create_task(rig.engine.open(rig.open_command()))
    await rig.clock.run_until(lambda: journal.waiting == 1)
    other = replace(
        rig.open_command(),
        long_leg=renamed(rig.long_venue.instrument.ref),
        short_leg=renamed(rig.short_venue.instrument.ref),
    )
    with pytest.raises(EntryRefusedError) as caught:
        await rig.call(rig.engine.open(other))
    assert caught.value.metadata["failures"] == "TOTAL_NOTIONAL_LIMIT"
    journal.gate.set()
    await rig.clock.run_until(first.done)
    await rig.settled(first.result().position_id)
    await rig.close_rig()


async def test_two_entries_at_once_do_not_both_take_the_same_funds() -> None:
    """What an entry under way will still take is not free to the next one; what it took is gone."""
    journal = HeldJournal()
    rig = new_rig(journal)
    rig.long_venue.funds = rig.short_venue.funds = D(150)
    await rig.start()
    journal.gate.clear()
    first = asyncio.get_running_loop().create_task(rig.engine.open(rig.open_command()))
    await rig.clock.run_until(lambda: journal.waiting == 1)
    other = replace(
        rig.open_command(),
        long_leg=renamed(rig.long_venue.instrument.ref),
        short_leg=renamed(rig.short_venue.instrument.ref),
    )
    with pytest.raises(EntryRefusedError) as caught:
        await rig.call(rig.engine.open(other))
    assert caught.value.metadata["failures"] == "BALANCE_INSUFFICIENT"
    assert "other entries under way take" in caught.value.message
    journal.gate.set()
    await rig.clock.run_until(first.done)
    await rig.settled(first.result().position_id)
    assert rig.engine.positions()[0].status is PositionStatus.OPEN
    # The rig's venues do not lower their funds: what is open claims nothing of them.
    await rig.call(rig.engine.open(replace(other, validate_only=True)))
    await rig.close_rig()


def renamed(ref: InstrumentRef) -> InstrumentRef:
    """Return another coin on the same venue."""
    return replace(ref, symbol="ETHUSDT")


def guarded(reader: FakeReader, feed: AlertFeed) -> GuardNeeds:
    """Return guards over the perpetual's account."""
    return GuardNeeds({"perp": reader}, feed, GuardLimits(), GuardPace(timedelta(seconds=1)))


async def test_an_emergency_of_margin_closes_the_position() -> None:
    """A guard halves at the warning, closes in the emergency, and says why in the journal."""
    reader = FakeReader()
    rig = new_rig(guards=guarded(reader, AlertFeed(VirtualClock())))
    await rig.start()
    view = await rig.open()
    reader.facts = AccountFacts({"BTCUSDT": HoldingFacts(D("-0.999"))}, D("0.7"), unified=True)
    await rig.clock.run_until(lambda: rig.engine.get(view.position_id).revision > view.revision)
    view = await rig.settled(view.position_id)
    assert (view.status, view.short_leg.quantity) == (PositionStatus.OPEN, D("-0.500"))
    assert await refusal(rig) == "SYMBOL_HALTED"
    reader.facts = AccountFacts({"BTCUSDT": HoldingFacts(D("-0.500"))}, D("0.9"), unified=True)
    await rig.clock.run_until(
        lambda: rig.engine.get(view.position_id).status is PositionStatus.CLOSED
    )
    assert rig.engine.get(view.position_id).state_reason.startswith("UNIFIED_MARGIN")
    acted = [e for e in await rig.journal.load() if isinstance(e, ev.GuardActed)]
    assert [(e.guard, e.action) for e in acted] == [
        ("unified_margin", "reduce"),
        ("unified_margin", "close"),
    ]
    rig.check_books()
    await rig.close_rig()


async def test_a_halted_engine_lets_guards_close() -> None:
    """No state blocks what reduces, guards included."""
    reader = FakeReader()
    rig = new_rig(guards=guarded(reader, AlertFeed(VirtualClock())))
    await rig.start()
    view = await rig.open()
    await halt(rig)
    reader.facts = AccountFacts({"BTCUSDT": HoldingFacts(D("-0.999"))}, D("0.9"))
    await rig.clock.run_until(
        lambda: rig.engine.get(view.position_id).status is PositionStatus.CLOSED
    )
    assert rig.net_delta() == 0
    await rig.close_rig()


async def test_breakers_open_and_close_by_symbol_and_for_all() -> None:
    """Doing either twice changes nothing; an operator's halt is not ended by a breaker."""
    rig = new_rig()
    await rig.start()
    desk = rig.engine.risk
    for _ in range(2):
        await rig.call(desk.open_breaker("BTCUSDT", "odd book"))
    assert await refusal(rig) == "SYMBOL_HALTED"
    assert desk.breaker("BTCUSDT").reason == "BREAKER_OPENED odd book"
    for _ in range(2):
        await rig.call(desk.close_breaker("BTCUSDT"))
    await rig.call(desk.open_breaker("", "all odd"))
    assert await refusal(rig) == "ENGINE_HALTED"
    await rig.call(desk.close_breaker(""))
    view = await rig.open()
    await halt(rig)
    with pytest.raises(PreconditionError):
        await rig.call(desk.close_breaker(""))
    tripped = [e for e in await rig.journal.load() if isinstance(e, ev.BreakerTripped)]
    assert len(tripped) == 2
    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), view.position_id)))
    await rig.settled(view.position_id)
    await rig.close_rig()


async def test_a_breaker_opens_though_its_caller_left(tmp_path: Path) -> None:
    """Cancelled while the row is written: what the journal has then holds in memory too."""
    journal, clock, recorder = SqliteJournal(tmp_path / "journal.db"), VirtualClock(), Recorder()
    await journal.open()
    book = PositionBook(journal, recorder, recorder, clock)
    desk = RiskDesk(book, clock, EngineLimits(), RiskLimits())
    opening = asyncio.create_task(desk.open_breaker("BTCUSDT", "odd book"))
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait({opening})
    await book.record(ev.DayOpened(START, D(0)))
    assert [type(event) for event in await journal.load()] == [ev.BreakerTripped, ev.DayOpened]
    assert "BTCUSDT" in book.engine.breakers
    await journal.close()


async def test_an_opened_breaker_survives_a_restart() -> None:
    """Breakers and their times are in the journal."""
    rig = new_rig()
    await rig.start()
    await rig.call(rig.engine.risk.open_breaker("BTCUSDT", "odd"))
    before = rig.engine.risk.breaker("BTCUSDT")
    await rig.kill()
    rig.new_engine()
    await rig.start()
    assert rig.engine.risk.breaker("BTCUSDT") == before
    await rig.close_rig()


async def test_the_service_answers_from_the_ledger() -> None:
    """Metrics, limits, exposure and breakers as the contract has them."""
    rig = new_rig(limits=EngineLimits(max_leg_notional=D(200), max_symbol_notional=D(125)))
    await rig.start()
    await rig.open()
    rig.engine.risk.marks = lambda: {
        rig.long_venue.instrument.ref: D(110),
        rig.short_venue.instrument.ref: D(110),
    }
    service = RiskServicer(rig.engine.risk, AlertFeed(rig.clock), rig.engine.comparisons)
    metrics = await service.GetRiskMetrics(risk_pb2.GetRiskMetricsRequest(), CONTEXT)
    (row,) = metrics.metrics
    assert (row.symbol, row.position_size.value, row.last_price.value) == ("BTCUSDT", "0", "110")
    assert D(row.risk_score.value) == D("0.999") * 110 / 125
    assert (row.limit_breach, row.limit_type) == (False, "")
    exposure = await service.GetExposure(risk_pb2.GetExposureRequest(), CONTEXT)
    assert D(exposure.total_notional.value) == 2 * D("0.999") * 110
    assert [D(e.percentage_of_portfolio.value) for e in exposure.exposures] == [D(100)]
    limits = await service.GetPositionLimits(risk_pb2.GetPositionLimitsRequest(), CONTEXT)
    assert limits.max_notional_value.value == "200"
    request = risk_pb2.OpenCircuitBreakerRequest(symbol="BTCUSDT", reason="odd")
    assert (await rig.call(service.OpenCircuitBreaker(request, CONTEXT))).success
    asked = risk_pb2.GetCircuitBreakerStatusRequest(symbol="BTCUSDT")
    status = (await service.GetCircuitBreakerStatus(asked, CONTEXT)).status
    assert (status.is_open, status.reason) == (True, "BREAKER_OPENED odd")
    assert status.opened_at > 0
    closing = risk_pb2.CloseCircuitBreakerRequest(symbol="BTCUSDT")
    assert (await rig.call(service.CloseCircuitBreaker(closing, CONTEXT))).success
    status = (await service.GetCircuitBreakerStatus(asked, CONTEXT)).status
    assert (status.is_open, status.reason, status.opened_at) == (False, "", 0)
    await rig.close_rig()


async def test_what_risk_does_not_serve_says_so() -> None:
    """Limits change with the settings alone; the call is refused by its name."""
    rig = new_rig()
    service = RiskServicer(rig.engine.risk, AlertFeed(rig.clock), rig.engine.comparisons)
    update: Any = service.UpdatePositionLimits
    with pytest.raises(UnimplementedError, match="UpdatePositionLimits") as caught:
        await update(risk_pb2.UpdatePositionLimitsRequest(), CONTEXT)
    assert caught.value.reason == "METHOD_NOT_SERVED"
    await rig.close_rig()


async def test_a_limit_that_is_passed_is_named() -> None:
    """What was entered below a limit may rise above it."""
    rig = new_rig(limits=EngineLimits(max_leg_notional=D(105)))
    await rig.start()
    await rig.open()
    rig.engine.risk.marks = lambda: {rig.long_venue.instrument.ref: D(110)}
    (row,) = rig.engine.risk.symbol_risks(())
    assert (row.broken_limit, row.unrealized) == ("max_leg_notional", None)
    await rig.close_rig()


async def test_hedges_leave_though_all_limits_are_reached() -> None:
    """Limits judge entries: the hedge of a lead that filled is never asked."""
    rig = new_rig(risk=RiskLimits(max_orders_per_minute=2, max_order_notional=D(101)))
    await rig.start()
    view = await rig.open()
    assert view.status is PositionStatus.OPEN
    assert [o.order_class for o in view.orders] == [OrderClass.ENTRY, OrderClass.HEDGE]
    assert (await rig.close(view.position_id)).status is PositionStatus.CLOSED
    await rig.close_rig()
