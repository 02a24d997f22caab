"""One stack under traffic and kills: struck, settled, judged, and so on until its share is done."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from cli.demo.books import Books
from cli.demo.stack import StackOptions
from cli.trading import LIVE_STATES, SETTLED_STATES, list_positions
from opensqt.market_maker.v1 import engine_pb2
from services.engine.events import (
    EngineHalted,
    OrderNotSent,
    OrderObserved,
    OrderRejected,
    OrderUnknown,
    ReconciliationHealed,
)
from simulation.evidence import parse_name
from tests.support import kill_witness as witness
from tests.support.kill_evidence import Evidence, Names, read_evidence, read_journal
from tests.support.kill_keeper import Keeper, Striker
from tests.support.kill_plan import VICTIMS, draw_episode
from tests.support.kill_tally import Tally
from tests.support.kill_traffic import Trader
from tests.support.pace import measured_pace
from tests.support.stack import StackDriver, running_stack

RECV_WINDOW, PROCESSING, CLOCK_BOUND = 0.5, 0.4, 0.1
FENCE_SECONDS: Final = RECV_WINDOW + PROCESSING + CLOCK_BOUND
RECOVERY_SECONDS: Final = 5.0
"""Longest time from the last start until all is hedged or flat, beyond the fence; if idle."""
GIVE_UP_SECONDS: Final = 60.0
EPISODE_SECONDS: Final = 180.0
KILLS_AN_EPISODE: Final = 10
_MEASURED_STARTS: Final = 3
_POLL_SECONDS: Final = 0.05

SYMBOLS: Final = (
    ("BTCUSDT", "ADAUSDT", "LTCUSDT"),
    ("ETHUSDT", "AVAXUSDT", "SHIBUSDT"),
    ("BNBUSDT", "LINKUSDT"),
    ("SOLUSDT", "TRXUSDT"),
    ("XRPUSDT", "PEPEUSDT"),
    ("DOGEUSDT", "AXLUSDT"),
)
"""Symbols of each trader; PEPE and SHIB have a multiplier at the perpetual venue."""
OWN_COINS: Final = {"USDT": "500000", "BTC": "1.5", "ETH": "20", "XRP": "5000", "PEPE": "1000000"}
"""What the user holds before and must hold after."""


def faults(dice: random.Random) -> list[dict[str, Any]]:
    """Return latencies, fills in part and lost replies that last for the whole batch."""
    place = "place_order"
    drawn: list[tuple[str, float, dict[str, Any]]] = [
        (place, 0.5, {"type": "delay", "seconds": 0.15, "when": "before"}),
        (place, 0.3, {"type": "delay", "seconds": 0.3, "when": "after"}),
        (place, 0.02, {"type": "drop_after"}),
        (place, 0.25, {"type": "partial", "ratio": "0.6"}),
        (place, 0.04, {"type": "zero_fill"}),
        (place, 0.03, {"type": "late_execution", "seconds": 0.25}),
        ("order_event", 0.3, {"type": "event_late", "seconds": 0.3}),
        ("order_event", 0.1, {"type": "event_duplicate"}),
    ]
    return [
        {
            "id": f"f{index}",
            "match": {"operation": operation, "probability": share, "seed": dice.getrandbits(30)},
            "action": action,
        }
        for index, (operation, share, action) in enumerate(drawn)
    ]


def batch_options() -> StackOptions:
    """Return a small market in mid-hour, limits of rate out of the way, and a short fence."""
    scale = 100
    return StackOptions(
        symbol_count=27,
        recv_window_seconds=RECV_WINDOW,
        processing_bound_seconds=PROCESSING,
        clock_bound_seconds=CLOCK_BOUND,
        spot_balances=dict(OWN_COINS),
        futures_balances={"USDT": "500000"},
        margin_balances={"USDT": "500000"},
        tables={
            "simulator": {
                "market": {"start": "2026-03-20T00:05:00Z"},
                "rules": {"limit_scale": scale},
            },
            "connector": {"connector": {"allowance_scale": scale, "request_timeout_seconds": 2.0}},
            "engine": {
                "policy": {"funding_read_interval": 300, "place_timeout": 3},
                "guards": {"enabled": False},
            },
        },
    )


# Mutable: one batch in the making.
@dataclass(slots=True)
class Batch:
    """What the steps of a batch share."""

    driver: StackDriver
    keepers: dict[str, Keeper]
    traders: Sequence[Trader]
    gate: asyncio.Event
    tally: Tally
    before: Books

    async def reconciled(self) -> None:
        """Wait until the engine takes entries as far as recovery goes."""
        is_reconciled = False
        while not is_reconciled:
            await asyncio.sleep(_POLL_SECONDS)
            with contextlib.suppress(grpc.aio.AioRpcError):
                is_reconciled = (await self.status()).reconciled

    async def status(self) -> engine_pb2.EngineStatus:
        """Read the engine's status."""
        request = engine_pb2.GetStatusRequest()
        return (await self.driver.engine.GetStatus(request, timeout=1.0)).status

    async def measure_starts(self) -> None:
        """Kill each service a few times while nothing else happens; note how long it is away."""
        for name in VICTIMS * _MEASURED_STARTS:
            keeper = self.keepers[name]
            keeper.kill(counted=False)
            await keeper.serving.wait()
        self.tally.alone = {name: took[:] for name, took in self.tally.restarts.items()}
        self.tally.restarts.clear()

    async def settle(self) -> None:
        """Wait until all serve and all positions rest; what takes too long is a finding."""
        self.gate.clear()
        loop = asyncio.get_running_loop()
        for keeper in self.keepers.values():
            await keeper.serving.wait()
        began = loop.time()
        async with measured_pace() as pace:
            while not await self._is_at_rest():
                if loop.time() - began > GIVE_UP_SECONDS:
                    raise AssertionError(f"not at rest:\n{await self._moving()}")
                await asyncio.sleep(_POLL_SECONDS)
        took = loop.time() - began
        self.tally.settles.append(took)
        if took > FENCE_SECONDS + pace.factor * RECOVERY_SECONDS:
            self.tally.findings.append(f"at rest only {took:.1f} s after the last start")

    async def _is_at_rest(self) -> bool:
        try:
            status = await self.status()
            if not status.reconciled or status.unknown_client_order_ids:
                return False
            return not await self._moving() and all(t.is_idle for t in self.traders)
        except grpc.aio.AioRpcError:
            return False

    async def _moving(self) -> list[engine_pb2.HedgedPosition]:
        positions = await list_positions(self.driver.engine, LIVE_STATES)
        return [one for one in positions if one.state not in SETTLED_STATES]

    async def check(self, names: Names) -> Evidence:
        """Judge what rests by the venue's books, journal and ledgers."""
        folder = self.driver.stack.directory
        await self._until_healed(folder)
        evidence = await read_evidence(self.driver.control, folder, names)
        orphaned = witness.orphans(evidence)
        self.tally.orphan_legs += len(orphaned)
        self.tally.duplicate_orders += len(evidence.duplicates)
        after = await self.driver.books()
        own = witness.own_holdings(
            self.before, after, evidence.books, {m.symbol: m for m in names.markets}
        )
        self.tally.findings += [*orphaned, *evidence.duplicates, *own, *witness.judge(evidence)]
        return evidence

    async def _until_healed(self, folder: Path) -> None:
        """Give a break that a reading in mid-flight made the time to be read again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while witness.broken(read_journal(folder / "journal.db")):
            if loop.time() - began > GIVE_UP_SECONDS / 2:
                return
            await asyncio.sleep(0.5)

    async def let_go_on(self) -> None:
        """Let traders begin again; an operator resumes what unknown orders halted."""
        status = await self.status()
        if status.state != engine_pb2.ENGINE_STATE_ACTIVE:
            self.tally.halts += 1
        await self.driver.resume()
        self.gate.set()

    def count(self, evidence: Evidence) -> None:
        """Add what a whole batch came to."""
        tally, events = self.tally, evidence.events
        named = [parse_name(arrival.client_order_id) for arrival in evidence.arrivals]
        tally.orders += Counter(name.order_class.value for name in named if name is not None)
        tally.partial_orders += evidence.partial_orders
        unknown = {e.client_order_id for e in events if isinstance(e, OrderUnknown)}
        tally.unknown_orders += len(unknown)
        ends: dict[str, str] = {}
        for event in events:
            match event:
                case OrderObserved() if event.outcome.closed:
                    ends[event.outcome.client_order_id] = "found at the venue"
                case OrderNotSent():
                    ends[event.client_order_id] = "never arrived"
                case OrderRejected():
                    ends[event.client_order_id] = "refused"
        tally.resolved += Counter(ends.get(key, "OPEN") for key in unknown)
        tally.breaks_healed += sum(isinstance(e, ReconciliationHealed) for e in events)
        tally.halts += sum(isinstance(e, EngineHalted) for e in events)


async def run_batch(folder: Path, seed: int, kills: int, tally: Tally) -> None:
    """Run one stack through `kills` kills, close everything and judge the end."""
    dice = random.Random(seed)
    async with running_stack(folder, batch_options()) as driver:
        # Nothing here asks for opportunities; its processor time is for the others.
        await driver.stack.services["scanner"].stop()
        names = Names({s: await driver.market(s) for group in SYMBOLS for s in group})
        await driver.control.post("faults", faults(dice))
        gate = asyncio.Event()
        traders = [Trader(driver.engine, g, _own(dice), gate, tally) for g in SYMBOLS]
        keepers = {name: Keeper(driver.stack, name, tally) for name in VICTIMS}
        batch = Batch(driver, keepers, traders, gate, tally, await driver.books())
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(keeper.keep()) for keeper in keepers.values()]
            running += [group.create_task(trader.trade()) for trader in traders]
            try:
                if not tally.alone:
                    await batch.measure_starts()
                await _strike(batch, names, dice, kills)
                await _close(batch, names)
            finally:
                for task in running:
                    task.cancel()


async def _strike(batch: Batch, names: Names, dice: random.Random, kills: int) -> None:
    striker = Striker(batch.keepers, batch.reconciled, batch.tally)
    goal = batch.tally.killed + kills
    while batch.tally.killed < goal and not batch.tally.findings:
        await batch.let_go_on()
        share = min(KILLS_AN_EPISODE, goal - batch.tally.killed)
        episode = draw_episode(dice, share)
        # A service that does not come up again must end the run, not hold it.
        async with asyncio.timeout(EPISODE_SECONDS):
            await asyncio.gather(*(striker.strike(strikes) for strikes in episode.values()))
        await batch.settle()
        await batch.check(names)


async def _close(batch: Batch, names: Names) -> None:
    await batch.driver.leave_all()
    await batch.settle()
    batch.count(await batch.check(names))
    held = (await batch.driver.books()).positions
    if held:
        batch.tally.findings.append(f"held after all was closed: {dict(held)}")


def _own(dice: random.Random) -> random.Random:
    """Return dice of its own for one of several tasks, whose turns no seed fixes."""
    return random.Random(dice.getrandbits(64))
