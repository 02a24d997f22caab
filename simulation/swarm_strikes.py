"""Faults that strike at a moment of their own: clocks, pauses, takeovers, forced closings."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import ROUND_DOWN, Decimal
from typing import Final

from services.simulator.core.positions import Position
from services.simulator.market.source import Kind
from simulation.loop import Process, context_of
from simulation.swarm import FaultMix
from simulation.world import ENGINE, KINDS, DiedError, World
from simulation.world_markets import ACCOUNT, SYMBOLS

KINDS_OF_STRIKE: Final = frozenset(
    {
        "clock_jump",
        "engine_paused",
        "connector_paused",
        "position_taken",
        "price_moves",
        "fsync_slow",
    }
)
_MOST_WAIT_SECONDS: Final = 0.5
_LOT: Final = Decimal("0.001")


class Strikes:
    """The strikes of one life: each of the mix's kinds once, at a drawn moment."""

    def __init__(self, world: World, mix: FaultMix, faults: Counter[str]) -> None:
        self._world = world
        self._mix = mix
        self._faults = faults
        self._tasks: list[asyncio.Task[None]] = []
        self._paused: list[Process] = []

    def begin(self) -> None:
        """Start the waiting for each."""
        kinds: dict[str, Callable[[float], Awaitable[None]]] = {
            "clock_jump": self._jump,
            "engine_paused": self._pause_engine,
            "connector_paused": self._pause_connector,
            "position_taken": self._take,
            "price_moves": self._move,
            "fsync_slow": self._slow,
        }
        for name, strike in kinds.items():
            if name in self._mix.shares:
                wait = self._mix.random.uniform(0, _MOST_WAIT_SECONDS)
                work = self._after(wait, name, strike, self._mix.draw(name))
                self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def end(self) -> None:
        """Let those under way end and whoever is paused go on."""
        for process in list(self._paused):
            self._resume(process)
        await asyncio.gather(*self._tasks)
        for process in list(self._paused):
            self._resume(process)

    async def _after(
        self,
        wait: float,
        name: str,
        strike: Callable[[float], Awaitable[None]],
        figure: float,
    ) -> None:
        await asyncio.sleep(wait)
        self._faults[name] += 1
        # Whoever it was to strike may be dead already.
        with contextlib.suppress(DiedError):
            await strike(figure)

    async def _jump(self, seconds: float) -> None:
        process = self._world.process(self._mix.random.choice([ENGINE, *sorted(KINDS)]))
        if process is not None:
            process.wall_offset = seconds

    async def _pause_connector(self, seconds: float) -> None:
        await self._pause(self._mix.random.choice(sorted(KINDS)), seconds)

    async def _pause_engine(self, seconds: float) -> None:
        """Freeze the engine; half of the time another takes its work over meanwhile."""
        if self._mix.random.random() < 0.5:
            await self._pause(ENGINE, seconds)
            return
        paused = self._world.pause(ENGINE)
        if paused is None:
            return
        self._paused.append(paused)
        await asyncio.sleep(seconds / 2)
        self._faults["engine_overtaken"] += 1
        try:
            await self._world.restart(ENGINE)
            await asyncio.sleep(seconds / 2)
        finally:
            self._resume(paused)

    async def _pause(self, name: str, seconds: float) -> None:
        paused = self._world.pause(name)
        if paused is not None:
            self._paused.append(paused)
            await asyncio.sleep(seconds)
            self._resume(paused)

    def _resume(self, process: Process) -> None:
        if process in self._paused:
            self._paused.remove(process)
            self._world.resume(process)

    async def _take(self, share: float) -> None:
        """Close some of a perpetual by the venue's own hand."""
        exchange = self._world.simulation.exchange
        account = exchange.accounts.by_name(ACCOUNT)
        held = account.futures.open_positions()
        if not held:
            return
        taken = held[0]
        is_liquidation = self._mix.random.random() < 0.5
        quantity = _part(taken, Decimal(str(round(share, 6))))

        def close() -> None:
            exchange.liquidation.close(
                account, taken.symbol, taken.side, is_liquidation=is_liquidation, quantity=quantity
            )

        context_of(self._world.venue).run(close)

    async def _move(self, ratio: float) -> None:
        """Move a symbol at once: both of its books alike, or the perpetual away from spot."""
        random = self._mix.random
        kinds = random.choice(((Kind.SPOT, Kind.PERPETUAL), (Kind.PERPETUAL,)))
        self._world.market.move(kinds, random.choice(SYMBOLS), Decimal(str(round(ratio, 4))))

    async def _slow(self, seconds: float) -> None:
        self._world.journal.slow_seconds = seconds


def _part(position: Position, share: Decimal) -> Decimal:
    """Return a share of a position in whole lots, the whole where that is none."""
    whole = abs(position.quantity)
    return (whole * share).quantize(_LOT, rounding=ROUND_DOWN) or whole
