"""A life of the engine alone, over small venues, for the judge and the planted bugs of the engine.

Faster than the whole system by far: what an engine does wrong shows here in few seeds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

from services.common.errors import OpensqtError
from services.engine.commands import (
    CloseAllCommand,
    CloseCommand,
    HaltCommand,
    OpenCommand,
    ReduceCommand,
)
from services.engine.orders import OrderPlan, OrderSide
from services.engine.policy import EnginePolicy
from services.engine.views import PositionStatus
from simulation.evidence import Arrival, Execution
from simulation.invariants import Judge
from simulation.invariants_exposure import exits_are_taken
from simulation.swarm import Deed, DeedAt, FaultMix, LifeReport, Plan, settle_bound
from simulation.swarm_faults import Target
from tests.support.engine_lives import draw_rules
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import FakeOrder, FakeVenue, Fault
from tests.support.virtual_clock import VirtualClock

KINDS = frozenset(
    {
        "request_lost",
        "reply_lost",
        "executes_late",
        "rejected",
        "refused_for_now",
        "partial_fill",
        "zero_fill",
        "fills_after_answer",
        "slow_reply",
        "read_fails",
    }
)
"""Kinds of fault that a small venue can do."""

_FENCE_SECONDS = 3.0
_MOVING = (
    PositionStatus.OPENING,
    PositionStatus.UNWINDING,
    PositionStatus.REDUCING,
    PositionStatus.CLOSING,
)


class WitnessedVenue(FakeVenue):
    """A small venue that tells the judge what comes and what it does with it."""

    judge: Judge

    def _arrive(self, plan: OrderPlan, fault: Fault) -> None:
        self.judge.arrived(
            Arrival(
                self.name,
                plan.client_order_id,
                plan.instrument.symbol,
                plan.side,
                plan.quantity,
                plan.worst_price,
                plan.reduce_only,
                self.clock.monotonic(),
            )
        )
        super()._arrive(plan, fault)
        order = self.orders[plan.client_order_id]
        if order.rejected:
            self.judge.ended(plan.client_order_id, refused=True)

    def _tell(self, order: FakeOrder) -> None:
        key, now = order.plan.client_order_id, self.clock.monotonic()
        quantity = order.executed - self.judge.books.orders[key].executed
        if quantity > 0:
            takes_base = order.plan.side is OrderSide.BUY and self.fee_coin is None
            fee = quantity * self.instrument.base_fee_ratio if takes_base else Decimal(0)
            self.judge.executed(Execution(self.name, key, quantity, fee, order.price, now))
        if order.closed:
            self.judge.ended(key)
        super()._tell(order)


def fault_of(mix: FaultMix, _plan: OrderPlan) -> Fault:
    """Return what an order meets, as a small venue can do it."""
    drawn = mix.strike(Target.ORDER)
    if drawn is None:
        return Fault()
    share = Decimal(str(round(drawn.figure, 3)))
    match drawn.kind.name:
        case "request_lost":
            return Fault(lost=True)
        case "reply_lost":
            return Fault(reply_lost=True, fill_ratio=Decimal("0.7"))
        case "executes_late":
            return Fault(arrives_after=drawn.figure)
        case "rejected" | "refused_for_now":
            return Fault(reject=True, retryable=drawn.kind.name == "refused_for_now")
        case "partial_fill":
            return Fault(fill_ratio=share)
        case "zero_fill":
            return Fault(fill_ratio=Decimal(0))
        case "fills_after_answer":
            late = Fault(fill_ratio=Decimal("0.3"), late_ratio=Decimal("0.5"))
            return replace(late, late_after=drawn.figure)
    return Fault(latency=drawn.figure)


class RigLife:
    """A `Life` over two small venues."""

    def __init__(self, plan: Plan, mix: FaultMix) -> None:
        self._plan = plan
        self._mix = mix
        self._crashes = 0
        self.journal = MemoryJournal()
        self.judge = Judge(self.journal.durable_events)

    def run(self) -> LifeReport:
        """Live the plan on a loop of its own."""
        error = ""
        try:
            asyncio.run(self._live())
        except (Exception, AssertionError) as problem:
            error = f"{type(problem).__name__}: {problem}"
        return LifeReport(
            self._plan.seed,
            tuple(self.judge.violations),
            dict(self._mix.counts),
            len(self.judge.books.orders),
            self._crashes,
            self.judge.execution_count,
            error=error,
        )

    def _make_rig(self) -> EngineRig:
        random = Random(f"rules {self._plan.seed}")
        long_rules, short_rules = draw_rules(random)
        rig = EngineRig(
            VirtualClock(),
            self.journal,
            long_rules=long_rules,
            short_rules=short_rules,
            policy=EnginePolicy(max_slice_notional=self._plan.slice_notional),
        )
        for name in ("long_venue", "short_venue"):
            rules = getattr(rig, name).instrument
            venue = WitnessedVenue(rules.ref.exchange, rules.ref.kind, rig.clock, rules)
            venue.judge = self.judge
            venue.choose = lambda plan: fault_of(self._mix, plan)
            setattr(rig, name, venue)
        rig.new_engine()
        return rig

    async def _live(self) -> None:
        self.rig = rig = self._make_rig()
        await rig.start()
        command = rig.open_command(str(self._plan.notional / 100), lead_leg=self._plan.lead_leg)
        await self._try(rig.engine.open(command))
        for venue in rig.venues:
            venue.reads_fail = lambda: self._mix.strike(Target.READ) is not None
        for deed in self._plan.deeds:
            await rig.clock.pass_time(deed.after)
            await self._do(deed, command)
        await rig.clock.pass_time(self._plan.faulty_seconds)
        self._mix.heal()
        await self._rest()
        await self._try(rig.engine.close_all(CloseAllCommand(rig.request_id())))
        await self._rest()
        if self.judge.is_halted:
            await self._try(rig.engine.open(rig.open_command("1")))
            await self._rest()
        self._check_end()
        await rig.close_rig()

    def _check_end(self) -> None:
        self.judge.books_agree(all_events(self.journal), None)
        views = self.rig.engine.positions()
        unclosed = [(v.position_id, v.status.value) for v in views if not v.status.is_final]
        self.judge.violations += exits_are_taken(unclosed)

    async def _try(self, work: Coroutine[Any, Any, Any]) -> OpensqtError | None:
        try:
            await self.rig.call(work)
        except OpensqtError as error:
            return error
        return None

    async def _do(self, deed: DeedAt, first: OpenCommand) -> None:
        rig = self.rig
        match deed.deed:
            case Deed.CRASH_ENGINE | Deed.CRASH_CONNECTOR:
                self._crashes += 1
                await rig.kill(self._mix.random.randrange(3))
                rig.new_engine()
                await rig.engine.start()
            case Deed.HALT:
                halt = HaltCommand(rig.request_id(), "drill")
                if await self._try(rig.engine.halt(halt)) is None:
                    self.judge.is_halted = True
                await self._try(rig.engine.open(rig.open_command("1")))
            case Deed.CLOSE | Deed.REDUCE:
                await self._shrink(deed.deed)
            case Deed.REPEAT:
                await self._try(rig.engine.open(first))
            case Deed.OPEN:
                await self._try(rig.engine.open(rig.open_command("2")))

    async def _shrink(self, deed: Deed) -> None:
        rig = self.rig
        for view in rig.engine.positions()[:1]:
            key = view.position_id
            if deed is Deed.REDUCE:
                half = ReduceCommand(rig.request_id(), key, ratio=Decimal("0.5"))
                await self._try(rig.engine.reduce(half))
                continue
            command = CloseCommand(rig.request_id(), key)
            for _ in range(2):
                error = await self._try(rig.engine.close(command))
                if error is not None:
                    self.judge.refused_exits.append((key, error.reason))

    async def _rest(self) -> None:
        rig, bound = self.rig, settle_bound(_FENCE_SECONDS) + 1
        started = rig.clock.monotonic()
        with contextlib.suppress(AssertionError):
            await rig.clock.run_until(lambda: not self._is_moving(), bound)
        waited = bound if self._is_moving() else rig.clock.monotonic() - started
        self.judge.rested(rig.engine.positions(), healed_for=waited, bound=bound)

    def _is_moving(self) -> bool:
        views = self.rig.engine.positions()
        moving = any(view.status in _MOVING for view in views)
        return moving or not self.rig.engine.status().reconciled


def all_events(journal: MemoryJournal) -> list[Any]:
    """Return all events, durable or not."""
    return list(journal._events)
