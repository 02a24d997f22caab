"""Deaths in a whole system: one scripted lifecycle, killed at a chosen step, revived and judged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeVar

from services.common.errors import OpensqtError
from services.engine.instruments import LegSide
from services.engine.views import PositionStatus
from services.simulator.core.faults import FaultRule
from simulation.crash_points import CrashPoint, CrashResult, Moment
from simulation.invariants import Judge
from simulation.invariants_exposure import exits_are_taken
from simulation.loop import PROCESS, Process, context_of
from simulation.swarm import settle_bound
from simulation.swarm_witness import DurableEvents, VenueWitness
from simulation.world import ENGINE, KINDS, DiedError, World, WorldConfig

T = TypeVar("T")
_PLACE: Final = {"operation": "place_order"}
SCRIPTS: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    "clean": (),
    "partial": ({"match": {**_PLACE, "times": 3}, "action": {"type": "partial", "ratio": "0.4"}},),
    "lead_reply_lost": ({"match": {**_PLACE, "nth": 1}, "action": {"type": "drop_after"}},),
    "hedge_reply_lost": ({"match": {**_PLACE, "nth": 2}, "action": {"type": "drop_after"}},),
    "hedge_refused": (
        {
            "match": {**_PLACE, "symbol": "BTCUSDT", "side": "SELL", "times": 4},
            "action": {"type": "reject", "code": -2010, "msg": "insufficient balance"},
        },
    ),
    "late_lead": (
        {
            "match": {**_PLACE, "nth": 1},
            "action": {"type": "late_execution", "seconds": 0.3},
        },
    ),
}
"""What the venue does in each scripted life."""

_LOOK_SECONDS: Final = 0.02
_RESTART_SECONDS: Final = 0.05
_DURING_SECONDS: Final = 0.004
"""Within the time in which a request or its answer is on the wire."""

_MARGIN_SECONDS: Final = 1.0
_RESTING: Final = (PositionStatus.OPEN, PositionStatus.CLOSED, PositionStatus.FLAT)


# Mutable: it waits for its moment.
@dataclass(slots=True)
class Assassin:
    """Kills the first life of a process at its point, and the second where that is asked for."""

    loop: Any
    point: CrashPoint
    lives: list[Process] = field(default_factory=list)
    kills: int = 0

    def watch(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return what runs a callback of the loop and kills before, after or later."""

        def watched(handle: Any) -> None:
            process = handle._context.get(PROCESS)
            if process is None or process.name != self.point.process or process.is_dead:
                run(handle)
                return
            if process not in self.lives:
                self.lives.append(process)
            if not self._is_due(process):
                run(handle)
                return
            self._kill(process, handle, run)

        return watched

    def _is_due(self, process: Process) -> bool:
        steps = (self.point.step, self.point.second_step)
        life = self.lives.index(process)
        # Counted before the callback runs: the next one has this number.
        return life < len(steps) and steps[life] == process.steps + 1

    def _kill(self, process: Process, handle: Any, run: Callable[[Any], None]) -> None:
        self.kills += 1
        if self.point.moment is Moment.BEFORE:
            process.die()
            return
        run(handle)
        if self.point.moment is Moment.AFTER:
            process.die()
            return
        self.loop.call_later(_DURING_SECONDS, process.die, context=context_of(None))


class ScriptedLife:
    """One entry and one exit under a script's faults; whoever dies is revived."""

    def __init__(self, script: str, point: CrashPoint | None = None) -> None:
        self.world = World(1, WorldConfig())
        self._script = script
        self._point = point
        self._durable = DurableEvents(lambda: self.world.journal.rows)
        self.judge = Judge(self._durable)
        self.steps: dict[str, int] = {}
        self._assassin: Assassin | None = None

    @property
    def has_died(self) -> bool:
        """Whether the point was reached."""
        return self._assassin is not None and self._assassin.kills > 0

    @property
    def _bound(self) -> float:
        return settle_bound(self.world.config.fence + _MARGIN_SECONDS)

    def run(self) -> None:
        """Live the script; what was wrong is with the judge. Raises what the world raises."""
        loop = self.world.loop
        if self._point is not None:
            self._assassin = Assassin(loop, self._point)
            watched = self._assassin.watch(loop._run_handle)
            loop._run_handle = watched  # type: ignore[method-assign,assignment]  # the one place steps pass
        self.world.run(self._live)

    async def _live(self, world: World) -> None:
        world.simulation.exchange.listeners.append(VenueWitness(self.judge, world.loop.time))
        rules = [
            FaultRule.model_validate({"id": f"{number}", **rule})
            for number, rule in enumerate(SCRIPTS[self._script])
        ]
        world.simulation.faults.add(rules)
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._keep_alive())
            await self._until(self._is_ready)
            await self._persist(self._open)
            await self._until(self._is_resting)
            await self._judge_rest()
            await self._persist(self._close)
            await self._until(self._is_resting)
            keeper.cancel()
        await self._judge_rest()
        self.judge.books_agree(self._durable(), None)
        self._note_unclosed()
        for name in (*KINDS, ENGINE):
            process = world.process(name)
            self.steps[name] = 0 if process is None else process.steps

    async def _open(self) -> object:
        return await self.world.open(lead=LegSide.LONG, request_id="open", notional=Decimal(900))

    async def _close(self) -> object:
        for view in self.world.living_engine().positions():
            await self.world.close(view.position_id, request_id="close")
        return None

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Repeat a command as its caller would, with the same request id, until it is answered."""
        end = self.world.loop.time() + self._bound
        while self.world.loop.time() < end:
            with contextlib.suppress(DiedError, TimeoutError, OpensqtError):
                async with asyncio.timeout(self._bound):
                    return await call()
            await asyncio.sleep(_LOOK_SECONDS)
        return None

    async def _keep_alive(self) -> None:
        while True:
            for name in (*sorted(KINDS), ENGINE):
                if self._process(name) is None:
                    with contextlib.suppress(DiedError, OpensqtError):
                        await self.world.restart(name)
            await asyncio.sleep(_RESTART_SECONDS)

    def _process(self, name: str) -> Process | None:
        return self.world.process(name)

    async def _until(self, holds: Callable[[], bool]) -> None:
        end = self.world.loop.time() + self._bound
        while self.world.loop.time() < end and not holds():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_ready(self) -> bool:
        return self._holds(lambda: self.world.living_engine().status().reconciled)

    def _is_resting(self) -> bool:
        return self._is_ready() and self._holds(
            lambda: all(v.status in _RESTING for v in self.world.living_engine().positions())
        )

    def _holds(self, condition: Callable[[], bool]) -> bool:
        try:
            return condition()
        except DiedError:
            return False

    async def _judge_rest(self) -> None:
        await self._until(self._is_ready)
        views = self.world.living_engine().positions()
        self.judge.rested(views, healed_for=self._bound, bound=self._bound)

    def _note_unclosed(self) -> None:
        views = self.world.living_engine().positions()
        unclosed = [(v.position_id, v.status.value) for v in views if not v.status.is_final]
        self.judge.violations += exits_are_taken(unclosed)


def count_steps(script: str) -> dict[str, int]:
    """Return how many steps each process runs in an uncut life of a script."""
    life = ScriptedLife(script)
    life.run()
    if life.judge.violations:
        raise AssertionError(f"the uncut life is not sound: {life.judge.violations[0]}")
    return life.steps


def die(script: str, point: CrashPoint) -> CrashResult:
    """Die at a point of a script's life and return what was wrong afterwards, with its end."""
    life = ScriptedLife(script, point)
    error = ""
    try:
        life.run()
    except Exception as problem:
        error = f"{script}: {type(problem).__name__}: {problem}"
    return CrashResult(point, life.has_died, tuple(life.judge.violations), error)
