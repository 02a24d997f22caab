"""Seeded lives of a position under random faults, commands and crashes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

from services.common.errors import OpensqtError
from services.engine.commands import CloseAllCommand, CloseCommand, ReduceCommand
from services.engine.instruments import InstrumentKind, InstrumentRules, LegSide
from services.engine.orders import OrderPlan
from services.engine.policy import EnginePolicy
from services.engine.views import PositionStatus
from tests.support.engine_invariants import check_closed, check_rest, watch_arrivals
from tests.support.engine_rig import EngineRig, MemoryJournal, make_rules
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

SETTLE_SECONDS = 20.0
"""Fence 3 s, exit backoff up to 5 s, a late fill, and room."""

_RATIOS = [Decimal(text) for text in ("0", "0.01", "0.1", "0.37", "0.5", "0.93", "1")]


def draw_fault(random: Random) -> Fault:
    """Return a random fault of an order."""
    kind = random.choice(["fill", "late", "reject", "retry", "lost", "reply", "arrives"])
    ratio = random.choice(_RATIOS)
    match kind:
        case "late":
            late = random.choice(_RATIOS)
            return Fault(fill_ratio=ratio, late_ratio=late, late_after=random.uniform(0.01, 2))
        case "reject" | "retry":
            return Fault(reject=True, retryable=kind == "retry")
        case "lost":
            return Fault(lost=True)
        case "reply":
            return Fault(fill_ratio=ratio, reply_lost=True)
        case "arrives":
            return Fault(fill_ratio=ratio, arrives_after=random.uniform(0.05, 2.5))
    return Fault(fill_ratio=ratio, latency=random.uniform(0.001, 0.2))


def draw_rules(random: Random) -> tuple[InstrumentRules, InstrumentRules]:
    """Return random rules of a long and a short leg."""
    spot, perp = InstrumentKind.SPOT, InstrumentKind.PERPETUAL
    kinds = random.choice([(spot, perp), (perp, perp), (perp, spot)])
    made = []
    for name, kind in zip(("one", "two"), kinds, strict=True):
        lot = random.choice(["0.0001", "0.001", "0.01", "0.1", "0.03"])
        margin = kind is spot and name == "two"
        notional = Decimal(random.choice([1, 5, 20]))
        made.append(
            make_rules(
                name, kind, lot=lot, min_notional=notional, use_margin=margin, margin_allowed=margin
            )
        )
    return made[0], made[1]


class Life:
    """One seeded run: faults until healed, commands and crashes at random moments.

    A streamed one hears of fills while calls are open; a passive one rests its lead, too.
    """

    def __init__(self, seed: int, *, streamed: bool = False, passive: bool = False) -> None:
        self.random = Random(seed)
        self.healed = False
        long_rules, short_rules = draw_rules(self.random)
        policy = EnginePolicy(
            max_slice_notional=self.random.choice([None, Decimal(40)]),
            hedge_attempts=self.random.choice([1, 3, 5]),
            exit_market_fallback=self.random.random() < 0.8,
            passive_entry=passive,
            requote_interval=timedelta(seconds=0.3),
            passive_timeout=timedelta(seconds=3),
        )
        self.journal = MemoryJournal()
        self.rig = EngineRig(
            VirtualClock(),
            self.journal,
            long_rules=long_rules,
            short_rules=short_rules,
            policy=policy,
        )
        self.fault_share = self.random.choice([0.1, 0.3, 0.6])
        self.read_fault_share = self.random.choice([0.0, 0.1, 0.4])
        for venue in self.rig.venues:
            venue.choose = self._choose
            if self.random.random() < 0.25:
                venue.fee_coin = "BNB"
        if streamed:
            self.rig.stream_orders()
        if passive:
            for venue in self.rig.venues:
                venue.takers = self._takers
                venue.fills_in_cancel = self.random.choice(_RATIOS)
                venue.cancel_reply_lost = self.random.random() < 0.2
        self.is_streamed = streamed
        self.problems = watch_arrivals(self.rig, self.journal.durable_events)

    def _choose(self, plan: OrderPlan) -> Fault:
        if self.healed or self.random.random() > self.fault_share:
            return Fault()
        fault = draw_fault(self.random)
        if self.is_streamed and fault.late_ratio:
            # As a connector does: it answers once the order is closed, and tells fills before.
            return replace(fault, answers_closed=True)
        return fault

    def _takers(self, plan: OrderPlan) -> Sequence[tuple[float, Decimal]]:
        count = self.random.randrange(4)
        return [(self.random.uniform(0.01, 0.5), self.random.choice(_RATIOS)) for _ in range(count)]

    def _reads_fail(self) -> bool:
        return not self.healed and self.random.random() < self.read_fault_share

    async def run(self) -> None:
        """Live: open, meddle, heal, rest, close, and check at both ends."""
        rig = self.rig
        await rig.start()
        quantity = str(self.random.choice([Decimal("0.3"), Decimal("1.2"), Decimal(3)]))
        lead = self.random.choice([None, LegSide.LONG, LegSide.SHORT])
        with contextlib.suppress(OpensqtError):
            await rig.call(rig.engine.open(rig.open_command(quantity, lead_leg=lead)))
        for venue in rig.venues:
            venue.reads_fail = self._reads_fail
        for _ in range(self.random.randrange(3)):
            await rig.clock.pass_time(self.random.choice([0.001, 0.02, 0.3, 2.0]))
            await self._meddle()
        self.healed = True
        await self._rest()
        check_rest(rig, self.problems)
        await rig.call(rig.engine.close_all(CloseAllCommand(rig.request_id())))
        await self._rest()
        check_closed(rig, self.problems)
        await rig.close_rig()

    async def _meddle(self) -> None:
        rig = self.rig
        known = rig.engine.positions()
        deed = self.random.choice(["crash", "crash", "close", "reduce"])
        if deed == "crash":
            kept = self.random.randrange(3)
            await rig.kill(kept)
            rig.new_engine()
            await rig.engine.start()
        elif known:
            key = known[0].position_id
            with contextlib.suppress(OpensqtError):
                if deed == "close":
                    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), key)))
                else:
                    half = ReduceCommand(rig.request_id(), key, ratio=Decimal("0.5"))
                    await rig.call(rig.engine.reduce(half))

    async def _rest(self) -> None:
        moving = {
            PositionStatus.OPENING,
            PositionStatus.UNWINDING,
            PositionStatus.REDUCING,
            PositionStatus.CLOSING,
        }
        statuses, engine = self.rig.recorder.statuses, self.rig.engine
        await self.rig.clock.run_until(
            lambda: moving.isdisjoint(statuses.values()) and engine.status().reconciled,
            SETTLE_SECONDS,
        )
