"""How soon a started engine takes exits, with a journal that is mostly of ended positions.

A part of `make bench-engine`, or alone: `python -m benchmarks.bench_start`. From exec until a close
is accepted, which is durable then; no venue answers, so that nothing but the start is measured.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from benchmarks.journal_rows import exit_orders, open_position
from benchmarks.processes import started
from benchmarks.whole_run import run_whole
from cli.demo.toml_text import to_toml
from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc
from services.engine import events as ev
from services.engine.sqlite_journal import SqliteJournal
from services.engine.views import PositionStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.report import Report

_OPEN: Final = 100
_CLOSED_EACH: Final = 50
"""Positions that ended, for each one that is open."""

_CLOSED_EACH_QUICK: Final = 2
_ROUNDS: Final = 5
_BOUND_SECONDS: Final = 1.5
_REST_SECONDS: Final = 180.0
_NOWHERE: Final = "127.0.0.1:1"


async def measure_start(report: Report, folder: Path, *, quick: bool = False) -> None:
    """Add the times from exec to the first close that is taken, and to the rest of the journal."""
    path = folder / "start.db"
    each = _CLOSED_EACH_QUICK if quick else _CLOSED_EACH
    count = await _write(path, each)
    times: list[float] = []
    works: list[float] = []
    rest = 0.0
    for number in range(_ROUNDS + 1):
        # The first one compiles what it imports.
        key = f"p{number * (each + 1):015x}"
        seconds, work, rest = await _start(folder, path, key, is_last=number == _ROUNDS)
        if number:
            times.append(seconds)
            works.append(work)
    report.title(f"start with {_OPEN} open and {_OPEN * each} closed positions, {count} rows")
    report.figure(
        "start_exits_seconds", "exec to a close taken: p50, s", sorted(times)[2], _BOUND_SECONDS
    )
    report.figure("start_work_seconds", "its processor time: p50, s", sorted(works)[2])
    report.figure("start_exits_most_seconds", "the slowest round, s", max(times))
    report.figure("start_whole_seconds", "exec to all of the journal read, s", rest)


async def _write(path: Path, closed_each: int) -> int:
    journal = SqliteJournal(path)
    await journal.open()
    count = 0
    for number in range(_OPEN * (closed_each + 1)):
        rows = list(open_position(number))
        # Open ones all over the journal: the oldest have all of it after them.
        if number % (closed_each + 1):
            rows += _end(number, rows[-1].at)
        journal.append_soon(rows)
        count += len(rows)
    await journal.append(())
    await journal.close()
    return count


def _end(number: int, opened: datetime) -> Iterator[ev.Event]:
    key, at = f"p{number:015x}", opened + timedelta(hours=1)
    yield ev.ExitRequested(key, at, "CLOSE")
    yield from exit_orders(number, at)
    yield ev.PositionSettled(key, at, PositionStatus.CLOSED, "EXIT")


async def _start(
    folder: Path, path: Path, key: str, *, is_last: bool
) -> tuple[float, float, float]:
    ready, config = folder / "start.ready", folder / "start.toml"
    settings = {
        "ready_file": ready,
        "log": {"level": "error"},
        "journal_path": path,
        "grpc": {"drain_seconds": 0},
        "venues": [
            {"name": kind, "kind": kind, "address": _NOWHERE} for kind in ("spot", "perpetual")
        ],
    }
    config.write_text(to_toml(settings), encoding="utf-8")
    begun = time.perf_counter()
    arguments = ["--config", str(config)]
    async with (
        started("services.engine", arguments, ready, folder / "bytecode") as process,
        grpc.aio.insecure_channel(process.address) as channel,
    ):
        stub = engine_pb2_grpc.EngineServiceStub(channel)
        await stub.CloseHedgedPosition(
            engine_pb2.CloseHedgedPositionRequest(request_id=str(uuid.uuid4()), position_id=key)
        )
        seconds = time.perf_counter() - begun
        work = process.cpu_seconds()
        if is_last:
            await _until_whole(stub)
        return seconds, work, time.perf_counter() - begun


async def _until_whole(stub: engine_pb2_grpc.EngineServiceAsyncStub) -> None:
    async with asyncio.timeout(_REST_SECONDS):
        while True:
            try:
                await stub.ListHedgedPositions(engine_pb2.ListHedgedPositionsRequest(page_size=1))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)
            else:
                return


def main() -> int:
    """Measure, print the table and return 0; 1 where a start took longer than it may."""

    async def measured(report: Report, folder: Path, quick: bool) -> None:
        await measure_start(report, folder, quick=quick)

    return run_whole("bench-start", "how soon a start takes exits", "a short journal", measured)


if __name__ == "__main__":
    sys.exit(main())
