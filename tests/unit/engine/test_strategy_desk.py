"""The strategy over a running engine: what it sends, journals and knows after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.common.errors import PreconditionError
from services.engine import events as ev
from services.engine import strategy_desk
from services.engine.commands import HaltCommand, SwitchStrategyCommand
from services.engine.follower_board import OfferBoard
from services.engine.policy import EnginePolicy
from services.engine.ports import FundingPayment, OpportunityLegs
from services.engine.strategy_decision import Decision
from services.engine.strategy_desk import StrategyDesk
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_words import DecisionAction, StrategyMode
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.strategy_cases import make_offer, ref
from tests.support.virtual_clock import START, VirtualClock

D = Decimal
AUTO, ADVISE, MANUAL = StrategyMode.AUTO, StrategyMode.ADVISE, StrategyMode.MANUAL
POLICY = StrategyPolicy(symbol_cooldown=timedelta(0), gone_patience=timedelta(minutes=1))
DAY = timedelta(days=1)


@dataclass(slots=True)
class Stage:
    """An engine with a strategy; mutable: the test offers, and time passes."""

    rig: EngineRig
    board: OfferBoard
    desk: StrategyDesk
    revision: int = field(default=0)

    async def resolve(self, opportunity_id: str) -> OpportunityLegs:
        """Return the legs of what is on the board, as the scanner would."""
        offer = self.board.get(opportunity_id)
        if offer is None:
            raise PreconditionError("gone", reason="OPPORTUNITY_STALE")
        return OpportunityLegs(opportunity_id, offer.long_leg, offer.short_leg)

    def offer(self, **changes: object) -> None:
        """Offer the pair of both venues anew, for a day."""
        self.revision += 1
        times: dict[str, Any] = {
            "expire_time": self.rig.clock.now() + DAY,
            "heard_at": self.rig.clock.monotonic(),
            "lifetime": DAY,
        }
        self.board.upsert(make_offer(**{"revision": self.revision, **times, **changes}))

    async def round(self) -> list[tuple[str, str]]:
        """Decide once, let what was begun come to rest, and return what was decided."""
        decisions = await self.rig.call(self.desk.decide_once())
        await self.rig.clock.pass_time(5)
        return [(d.action.value, d.reason) for d in decisions]

    def journaled(self, kind: type[ev.Event] = ev.DecisionTaken) -> list[ev.Event]:
        """Return the journal's events of a kind."""
        assert isinstance(self.rig.journal, MemoryJournal)
        return [e for e in self.rig.journal._events if type(e) is kind]

    def statuses(self) -> list[PositionStatus]:
        """Return where all positions stand, oldest first."""
        return [view.status for view in reversed(self.rig.engine.positions())]


def desk_of(
    rig: EngineRig, board: OfferBoard, mode: StrategyMode, **changes: object
) -> StrategyDesk:
    """Return the strategy of the engine that runs now."""
    policy = StrategyPolicy(**{**_values(POLICY), **changes})  # type: ignore[arg-type]  # test builder
    return StrategyDesk(rig.engine, rig.engine.ledger, board, rig.clock, policy, mode)


def _values(policy: StrategyPolicy) -> dict[str, object]:
    return {name: getattr(policy, name) for name in StrategyPolicy.__dataclass_fields__}


@asynccontextmanager
async def staged(
    mode: StrategyMode = AUTO, policy: EnginePolicy | None = None, **changes: object
) -> AsyncIterator[Stage]:
    """Run an engine with a strategy that has a whole, empty board."""
    rig = EngineRig(VirtualClock(), MemoryJournal(), policy=policy)
    board = OfferBoard(DAY)
    board.connected(resumed=False)
    board.complete()
    stage = Stage(rig, board, desk_of(rig, board, mode, **changes))
    rig.opportunities = stage
    rig.new_engine()
    stage.desk = desk_of(rig, board, mode, **changes)
    await rig.start()
    try:
        yield stage
    finally:
        await stage.desk.stop()
        await rig.close_rig()


async def test_auto_enters_holds_and_leaves_by_itself() -> None:
    """From the board into a position, and out once the carry is gone, each step journaled first."""
    async with staged() as stage:
        stage.offer()
        assert await stage.round() == [("enter", "TARGET")]
        assert stage.statuses() == [PositionStatus.OPEN]
        assert await stage.round() == [("hold", "CARRY"), ("pass", "ALREADY_TAKEN")]
        stage.offer(gross_apr=D("0.01"), net_apr=D("-0.02"))
        assert await stage.round() == [("exit", "CARRY_LOW")]
        assert stage.statuses() == [PositionStatus.CLOSED]
        assert stage.rig.engine.positions()[0].state_reason == "STRATEGY CARRY_LOW"
        assert abs(stage.rig.net_delta()) < D("0.001")
        stage.rig.check_books()
        kinds = [type(e) for e in stage.rig.journal._events]  # type: ignore[attr-defined]  # memory
        assert kinds.index(ev.DecisionTaken) < kinds.index(ev.EntryIntended)
        told = [(d.action.value, d.reason) for d in stage.desk.decisions()]
        assert told == [("exit", "CARRY_LOW"), ("hold", "CARRY"), ("enter", "TARGET")]


async def test_unattended_engine_enters_collects_and_leaves() -> None:
    """Hours on its own: in by the stream, three settlements received, out as the carry goes."""
    slow = EnginePolicy(
        reconcile_interval=timedelta(minutes=5), funding_read_interval=timedelta(hours=1)
    )
    async with staged(policy=slow, decide_interval=timedelta(minutes=1)) as stage:
        clock, venue = stage.rig.clock, stage.rig.short_venue
        stage.desk.start(_nothing())
        for hour in range(10):
            stage.offer(gross_apr=D("0.3") if hour < 8 else D("0.01"))
            if hour in (2, 5, 7):
                payment = FundingPayment("USDT", D("0.1"), clock.now(), f"payment-{hour}")
                venue.payments.append(payment)
            await clock.pass_time(3600)
        (view,) = stage.rig.engine.positions()
        assert view.status is PositionStatus.CLOSED
        assert view.close_time is not None
        assert view.close_time - START > timedelta(hours=8)
        assert view.funding_received == D("0.3")
        told = [(d.action.value, d.reason) for d in reversed(stage.desk.decisions())]
        # An unchanged hold is told once an hour.
        assert told == [("enter", "TARGET"), *[("hold", "CARRY")] * 8, ("exit", "CARRY_LOW")]
        assert all(d.figures for d in stage.desk.decisions())


async def test_one_revision_leads_to_one_trade_even_after_a_restart() -> None:
    """What was entered once is not entered again, by this process or the next; news may be."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        (view,) = stage.rig.engine.positions()
        await stage.rig.close(view.position_id)
        assert await stage.round() == [("pass", "ALREADY_TAKEN")]
        await stage.rig.kill()
        stage.rig.new_engine()
        stage.desk = desk_of(stage.rig, stage.board, AUTO)
        await stage.rig.start()
        assert await stage.round() == [("pass", "ALREADY_TAKEN")]
        stage.offer()
        assert await stage.round() == [("enter", "TARGET")]
        assert len(stage.journaled(ev.EntryIntended)) == 2


async def test_restarted_strategy_knows_its_own_positions() -> None:
    """A position it entered before the crash is still its own to leave; an operator's is not."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        await stage.rig.kill()
        stage.rig.new_engine()
        stage.desk = desk_of(stage.rig, stage.board, AUTO)
        await stage.rig.start()
        stage.offer(gross_apr=D(0))
        assert ("exit", "CARRY_LOW") in await stage.round()
        await stage.rig.open()
        stage.offer(gross_apr=D(0))
        assert await stage.round() == [("pass", "CARRY_LOW")]
        assert stage.statuses() == [PositionStatus.CLOSED, PositionStatus.OPEN]


async def test_advice_is_journaled_once_and_sends_nothing() -> None:
    """In advise mode decisions are shown and journaled when they change, and no order leaves."""
    async with staged(ADVISE) as stage:
        stage.offer()
        for _ in range(3):
            assert await stage.round() == [("enter", "TARGET")]
        assert stage.rig.engine.positions() == ()
        (advice,) = stage.journaled()
        assert isinstance(advice, ev.DecisionTaken)
        assert (advice.mode, advice.action) == (ADVISE, DecisionAction.ENTER)
        await stage.rig.clock.pass_time(3600)
        await stage.round()
        assert len(stage.journaled()) == 2


async def test_what_was_advised_is_journaled_again_when_it_is_carried_out() -> None:
    """Switching from advise to auto carries the same decision out, and the journal says so."""
    async with staged(ADVISE) as stage:
        stage.desk.start(_nothing())
        stage.offer(capacity_notional=D(10) ** 17)
        await stage.round()
        await stage.rig.call(stage.desk.switch(SwitchStrategyCommand("s", AUTO, "go")))
        await stage.round()
        taken = [e for e in stage.journaled() if isinstance(e, ev.DecisionTaken)]
        modes = [(e.mode, e.action) for e in taken]
        assert modes[:2] == [(ADVISE, DecisionAction.ENTER), (AUTO, DecisionAction.ENTER)]
        assert stage.statuses() == [PositionStatus.OPEN]


async def test_entries_are_journaled_as_their_turn_comes() -> None:
    """Of several offers one is entered in a round, and the journal names no other then."""
    async with staged(max_symbol_notional=D(10**6)) as stage:
        legs = {"long_leg": ref("perq"), "short_leg": ref("perr")}
        stage.offer()
        stage.offer(opportunity_id="two", net_apr=D("0.2"), **legs)
        assert await stage.round() == [("enter", "TARGET")] * 2
        taken = [e for e in stage.journaled() if isinstance(e, ev.DecisionTaken)]
        assert [(e.action.value, e.opportunity_id) for e in taken] == [("enter", "one")]
        # No such venues are configured: the refusal is told with its reason.
        await stage.round()
        told = [(d.action.value, d.opportunity_id) for d in reversed(stage.desk.decisions())]
        assert told[1:] == [("hold", "one"), ("enter", "two"), ("pass", "two")]


async def test_manual_decides_nothing() -> None:
    """In manual mode an opportunity however good is not even looked at."""
    async with staged(MANUAL) as stage:
        stage.offer(net_apr=D(9))
        assert await stage.round() == []
        assert stage.journaled() == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda s: s.board.dropped(), "STREAM_DOWN"),
        (lambda s: s.board.removed("one"), ""),
        (lambda s: s.offer(lifetime=timedelta(0)), "EXPIRED"),
        (lambda s: s.offer(expire_time=START - DAY), "EXPIRED"),
    ],
)
async def test_stale_offers_are_not_entered(spoil: Callable[[Stage], None], reason: str) -> None:
    """A dropped stream, a withdrawn and an expired offer send nothing."""
    async with staged() as stage:
        stage.offer()
        spoil(stage)
        assert await stage.round() == ([("pass", reason)] if reason else [])
        assert stage.rig.engine.positions() == ()


async def test_lost_stream_holds_what_is_on() -> None:
    """Without the scanner positions are held, whatever was heard last."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        stage.offer(gross_apr=D(-1), current_apr=D(-1))
        stage.board.dropped()
        await stage.rig.clock.pass_time(600)
        assert await stage.round() == [("hold", "NO_EVIDENCE"), ("pass", "STREAM_DOWN")]
        assert stage.statuses() == [PositionStatus.OPEN]


async def test_flip_ends_a_position_without_the_scanner() -> None:
    """Where the stream is down, what the venues tell of the coming settlements ends a position."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        (view,) = stage.rig.engine.positions()
        stage.board.dropped()
        told = {view.position_id: D("-0.00001")}
        stage.desk = StrategyDesk(
            stage.rig.engine,
            stage.rig.engine.ledger,
            stage.board,
            stage.rig.clock,
            POLICY,
            AUTO,
            lambda: told,
        )
        assert ("hold", "FUNDING_FLIPPING") in await stage.round()
        await stage.rig.clock.pass_time(1801)
        assert ("exit", "FUNDING_FLIPPED") in await stage.round()
        assert stage.statuses() == [PositionStatus.CLOSED]


async def test_flip_counts_once_it_lasted() -> None:
    """Coming settlements that cost end a position after the patience, not at the first."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        stage.offer(current_apr=D("-0.1"))
        assert ("hold", "FUNDING_FLIPPING") in await stage.round()
        await stage.rig.clock.pass_time(900)
        stage.offer()
        assert ("hold", "CARRY") in await stage.round()
        stage.offer(current_apr=D("-0.1"))
        assert ("hold", "FUNDING_FLIPPING") in await stage.round()
        await stage.rig.clock.pass_time(1801)
        assert ("exit", "FUNDING_FLIPPED") in await stage.round()
        assert stage.statuses() == [PositionStatus.CLOSED]


async def test_refused_entry_is_journaled_and_waits() -> None:
    """An entry the checks refuse is journaled with what stood against it, and not tried at once."""
    async with staged() as stage:
        venue = stage.rig.short_venue
        venue.instrument = replace(venue.instrument, trading=False)
        stage.offer()
        assert await stage.round() == [("enter", "TARGET")]
        refusal = stage.journaled()[-1]
        assert isinstance(refusal, ev.DecisionTaken)
        assert (refusal.action, refusal.reason) == (DecisionAction.PASS, "ENTRY_CHECKS_FAILED")
        assert "does not trade it now" in refusal.text
        assert await stage.round() == [("pass", "COOLDOWN")]
        await stage.rig.clock.pass_time(300)
        assert await stage.round() == [("enter", "TARGET")]


async def test_halted_engine_is_left_but_not_entered() -> None:
    """A halt stops the strategy's entries and none of its exits."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        await stage.rig.call(stage.rig.engine.halt(HaltCommand("halt-1", "look first")))
        stage.offer(gross_apr=D(0))
        assert await stage.round() == [("exit", "CARRY_LOW"), ("pass", "ENGINE_HALTED")]
        assert stage.statuses() == [PositionStatus.CLOSED]
        stage.offer()
        assert await stage.round() == [("pass", "ENGINE_HALTED")]


async def test_caps_reduce_what_is_on() -> None:
    """A position over its symbol's cap is reduced on both legs by one command."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        stage.desk = desk_of(stage.rig, stage.board, AUTO, max_symbol_notional=D(500))
        assert (await stage.round())[0] == ("reduce", "SYMBOL_CAP")
        (view,) = stage.rig.engine.positions()
        assert view.status is PositionStatus.OPEN
        assert D("4.9") < view.long_leg.quantity < D("5.1")
        assert abs(view.residual_quantity) < D("0.001")
        assert (await stage.round())[0] == ("hold", "CARRY")


async def test_reduction_nobody_trades_is_told_once_and_put_off() -> None:
    """What is over a cap by less than a lot stays, is journaled once, and lets nothing enter."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        held = stage.rig.engine.positions()[0].long_leg.quantity
        stage.desk = desk_of(
            stage.rig, stage.board, AUTO, max_symbol_notional=D("998.95"), reduce_band=D(0)
        )
        for _ in range(5):
            assert (await stage.round())[0] == ("reduce", "SYMBOL_CAP")
        told = [(d.action.value, d.reason) for d in stage.desk.decisions()]
        assert told == [("pass", "FIELD_INVALID"), ("reduce", "SYMBOL_CAP"), ("enter", "TARGET")]
        await stage.rig.clock.pass_time(POLICY.refusal_cooldown.total_seconds())
        await stage.round()
        assert len(stage.desk.decisions()) == 5
        assert stage.rig.engine.positions()[0].long_leg.quantity == held


async def test_refused_reduction_keeps_no_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exit leaves in the round in which what stands before it is refused; an entry does not."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        (view,) = stage.rig.engine.positions()
        too_little = Decision(
            DecisionAction.REDUCE,
            "SYMBOL_CAP",
            view.symbol,
            "",
            0,
            view.position_id,
            ratio=D(1) / 9999,
        )
        leaving = replace(too_little, action=DecisionAction.EXIT, reason="CARRY_LOW", ratio=None)
        stage.offer()
        entry = replace(leaving, action=DecisionAction.ENTER, position_id="", notional=D(100))
        entry = replace(entry, opportunity_id="one", revision=stage.revision)
        monkeypatch.setattr(strategy_desk, "decide", lambda *_: (too_little, leaving, entry))
        assert len(await stage.round()) == 3
        assert stage.statuses() == [PositionStatus.CLOSED]
        assert len(stage.journaled(ev.EntryIntended)) == 1


async def test_a_bug_about_one_position_keeps_no_other_exit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What stands before an exit breaks, and the exit leaves in that round."""
    async with staged() as stage:
        stage.offer()
        await stage.round()
        (view,) = stage.rig.engine.positions()
        leaving = Decision(DecisionAction.EXIT, "CARRY_LOW", view.symbol, "", 0, view.position_id)
        broken = replace(leaving, action=DecisionAction.REDUCE)
        monkeypatch.setattr(stage.desk, "_reduce", _broken)
        monkeypatch.setattr(strategy_desk, "decide", lambda *_: (broken, leaving))
        assert len(await stage.round()) == 2
        assert stage.statuses() == [PositionStatus.CLOSED]


async def _broken(_decision: Decision) -> None:
    raise ZeroDivisionError


async def test_mode_is_switched_durably_until_the_setting_changes() -> None:
    """A command outlives a restart; an edited setting is the newer word."""
    async with staged(MANUAL) as stage:
        command = SwitchStrategyCommand("switch-1", ADVISE, "try it")
        with pytest.raises(PreconditionError, match="scanner"):
            await stage.rig.call(stage.desk.switch(command))
        stage.desk.start(_nothing())
        assert await stage.rig.call(stage.desk.switch(command)) is ADVISE
        assert await stage.rig.call(stage.desk.switch(command)) is ADVISE
        assert len(stage.journaled(ev.StrategySwitched)) == 1
        await stage.desk.stop()
        await stage.rig.kill()
        stage.rig.new_engine()
        await stage.rig.start()
        assert desk_of(stage.rig, stage.board, MANUAL).mode is ADVISE
        assert desk_of(stage.rig, stage.board, AUTO).mode is AUTO


async def _nothing() -> None:
    """Follow nothing."""
