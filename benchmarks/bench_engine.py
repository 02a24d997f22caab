"""What the engine adds to a hedge and to an exit, from one run against its own floor.

Engine, connectors and venue are processes; the venue acts on a request after 20 ms. Bare grpc.aio
calls are made beside them all the time. Ends with code 1 when a bound is broken. Run it with
`make bench-engine` on a machine that does nothing else.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import grpc

from benchmarks.bare_calls import BareFigures, background_calls, bare_calls
from benchmarks.bench_journal import measure_postgres, measure_recovery, measure_writes
from benchmarks.bench_start import measure_start
from benchmarks.engine_figures import LifeFigures, figures_of
from benchmarks.engine_stage import RESPONSE_SECONDS, EngineStage
from benchmarks.order_venue import read_moments
from benchmarks.tapped_engine import read_taps
from benchmarks.timing import Sample, quantile
from benchmarks.whole_run import run_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchmarks.engine_stage import RunningEngine
    from benchmarks.report import Report
    from opensqt.market_maker.v1 import engine_pb2

_SLICES: Final = 4
_NOTIONAL: Final = Decimal(400)
_REDUCTIONS: Final = (Decimal("0.25"), Decimal("0.33"), Decimal("0.5"))
_BACKGROUND: Final = 500
_ENTRIES_AT_ONCE: Final = 8
_SYMBOLS: Final = 300
_LIVELY: Final = 12


@dataclass(frozen=True, slots=True)
class Size:
    """How many positions live through each part."""

    idle: int
    loaded: int
    held: int


@dataclass(slots=True)
class _Part:
    """One stretch of lives with the bare calls beside it; complete once it has run."""

    bare: BareFigures
    positions: list[engine_pb2.HedgedPosition]
    seconds: float = 0.0
    begun: float = 0.0


async def measure(report: Report, folder: Path, size: Size) -> None:
    """Run everything and fill the report."""
    async with EngineStage(folder, _SYMBOLS) as stage:
        symbols = await stage.symbols()
        lives, crowd = folder / "lives.taps", folder / "crowd.taps"
        slicing = {"max_slice_notional": _NOTIONAL / _SLICES}
        async with stage.engine("lives", lives, **slicing) as engine:
            await engine.reconciled()
            usable = await _warm(engine, symbols)
            idle = await _live(stage, engine, usable, size.idle, 0)
            loaded = await _live(stage, engine, usable, size.loaded, _BACKGROUND)
        closing = await _hold(report, stage, crowd, symbols, size.held)
    moments = read_moments(stage.record)
    taps = read_taps(lives)
    for name, text, part in (
        ("idle", "nothing else asked", idle),
        ("loaded", f"{_BACKGROUND} calls a second beside", loaded),
    ):
        _add_lives(report, name, text, part, figures_of(part.positions, taps, moments))
    _add_closing(report, closing, figures_of(closing.positions, read_taps(crowd), moments))
    # Minutes have passed; a run that is broken off has told what it knew.
    sys.stderr.write("\n".join([*report.lines, ""]))
    await measure_writes(report, folder)
    await measure_postgres(report)
    await measure_recovery(report, folder)
    await measure_start(report, folder)


async def _try_enter(engine: RunningEngine, symbol: str) -> engine_pb2.HedgedPosition | None:
    try:
        return await engine.enter(symbol, _NOTIONAL)
    except (grpc.RpcError, RuntimeError):
        # A small book bears no entry: such a symbol is left out.
        return None


async def _warm(engine: RunningEngine, symbols: Sequence[str]) -> list[str]:
    """Live once in some symbols; return those that were entered."""
    usable: list[str] = []
    for symbol in symbols:
        position = await _try_enter(engine, symbol)
        if position is not None:
            await engine.close(position.position_id)
            usable.append(symbol)
        if len(usable) == _LIVELY:
            break
    return usable


async def _live(
    stage: EngineStage, engine: RunningEngine, symbols: Sequence[str], count: int, load: int
) -> _Part:
    """Enter, reduce and close position after position, with `load` calls a second beside."""
    async with AsyncExitStack() as stack:
        if load:
            await stack.enter_async_context(background_calls(engine, load))
        bare = await stack.enter_async_context(bare_calls(stage.echo.address))
        part = _Part(bare, [])
        begun = time.perf_counter()
        for number in range(count):
            position = await engine.enter(symbols[number % len(symbols)], _NOTIONAL)
            for ratio in _REDUCTIONS:
                await engine.reduce(position.position_id, ratio)
            part.positions.append(await engine.close(position.position_id))
        part.seconds = time.perf_counter() - begun
    return part


async def _hold(
    report: Report, stage: EngineStage, taps: Path, symbols: Sequence[str], count: int
) -> _Part:
    """Kill an engine that holds positions, start it again, and close them all at once."""
    async with stage.engine("held") as engine:
        await engine.reconciled()
        left = list(symbols)
        held: list[engine_pb2.HedgedPosition] = []

        async def work() -> None:
            while left and len(held) < count:
                position = await _try_enter(engine, left.pop())
                if position is not None:
                    held.append(position)

        await asyncio.gather(*(work() for _ in range(_ENTRIES_AT_ONCE)))
        os.kill(engine.process.pid, signal.SIGKILL)
    async with stage.engine("held", taps) as engine:
        begun = time.perf_counter()
        await engine.reconciled()
        waited = time.perf_counter() - begun
        served = engine.process.ready_seconds
        report.title(f"killed with {len(held)} open positions, started again")
        report.figure("restart_seconds", "exec to serving exits, s", served, 1.5)
        report.figure("reconciled_seconds", "and to taking entries, s", served + waited)
        asked, begun = datetime.now(UTC), time.perf_counter()
        closed = list(await engine.close_all())
        # The engine's own word for the end: asking a hundred positions for theirs takes longer.
        ended = max(position.close_time.ToDatetime(UTC) for position in closed)
        return _Part(BareFigures(), closed, (ended - asked).total_seconds(), begun)


def _add_lives(report: Report, name: str, text: str, part: _Part, found: LifeFigures) -> None:
    report.title(f"positions one after the other, {text}")
    seconds, bare = part.seconds, part.bare
    for key, row, values in (
        ("hand_over", "lead's fill at the engine to hedge leaving it", found.hand_overs),
        ("hand_over_cpu", "of it, computed by the loop's thread", found.hand_over_cpu),
        ("bare", "beside: a bare grpc.aio call", bare.calls),
        ("naked", "lead's fill at the venue to hedge reaching the venue", found.naked),
        ("skew", "between both orders of an exit leaving", found.skews),
        ("bare_skew", "beside: between two bare calls leaving", bare.skews),
        ("arrival", "between both orders of an exit reaching the venue", found.arrivals),
        ("exit", "parallel exit, first order leaving to last answer", found.exits),
    ):
        report.sample(f"{key}_{name}", row, _sample(values, seconds))
    for key, row, values, floor, limit in (
        ("hand_over", "hand-over", found.hand_overs, bare.calls, 1.0),
        ("skew", "skew", found.skews, bare.skews, 0.2),
    ):
        middle = quantile(values, 0.5) * 1000
        # Of half the time is asked where nothing else is; with load there is no such bound.
        bound = limit if name == "idle" else None
        report.figure(f"{key}_{name}_middle_ms", f"{row}, p50, ms", middle, bound)
        ratio = quantile(values, 0.99) / quantile(floor, 0.99)
        report.figure(f"{key}_{name}_ratio", f"{row}, p99 to that of the bare calls", ratio, 3.0)
    slower = quantile(found.to_slower, 0.5)
    report.figure(f"exit_{name}_to_slower", "parallel exit to its slower leg", slower, 1.1)
    sequence = quantile(found.to_sequence, 0.5)
    report.figure(f"exit_{name}_gain", "one leg after the other, to parallel", sequence)


def _add_closing(report: Report, part: _Part, found: LifeFigures) -> None:
    report.title(
        f"close-all of {len(part.positions)} positions, venue takes {_ms(RESPONSE_SECONDS)}"
    )
    report.sample(
        "close_all_skew",
        "between both orders of a position leaving",
        _sample(found.skews, part.seconds),
    )
    report.sample(
        "close_all_arrival",
        "between the same reaching the venue",
        _sample(found.arrivals, part.seconds),
    )
    report.sample(
        "close_all_way",
        "an order leaving to its reaching the venue",
        _sample(found.ways, part.seconds),
    )
    for key, row, at in (
        ("first", "the call to the first order leaving, s", min(found.departures)),
        ("last", "the call to the last order leaving, s", max(found.departures)),
    ):
        report.figure(f"close_all_{key}", row, at - part.begun)
    report.figure("close_all_seconds", "the call to the last one closed, s", part.seconds)
    skews = [position.dispatch_skew.ToTimedelta().total_seconds() for position in part.positions]
    report.figure(
        "close_all_told_ms", "the engine's own word for the skew, most, ms", max(skews) * 1000
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _sample(values: Iterable[float], seconds: float) -> Sample:
    return Sample(times=list(values), round_seconds=[seconds])


def main() -> int:
    """Measure, write the table, and return 1 when a bound is broken."""

    async def sized(report: Report, folder: Path, quick: bool) -> None:
        await measure(report, folder, Size(8, 8, 12) if quick else Size(60, 40, 100))

    return run_whole("bench-engine", "what the engine adds", "a tenth of the positions", sized)


if __name__ == "__main__":
    sys.exit(main())
