"""Calls in floods at an engine, good and bad: `python -m tests.support.engine_flood JSON`.

The argument tells address, token, how many at once and for how long at most; the end of its input
ends a flood before that. It says `flooding` as soon as the engine has answered many, and at the end
one line of JSON: how many calls of each kind ended with each code, and the seconds it took.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

from opensqt.market_maker.v1 import engine_pb2
from services.common.process_guard import guard_process
from tests.support.malformed import MalformedCall
from tests.support.wire_flood import flood

_ENGINE = "/opensqt.market_maker.v1.EngineService/"
_PAGE = 65_536


def engine_calls() -> Iterator[MalformedCall]:
    """Yield reads, entries and exits that mean nothing, numbers and bytes that are none."""
    unknown = engine_pb2.CloseHedgedPositionRequest(request_id="a" * 36, position_id="b" * 16)
    bad = engine_pb2.OpenHedgedPositionRequest(request_id="c" * 36, opportunity_id="d" * 16)
    bad.notional.value = "NaN"
    return cycle(
        (
            MalformedCall("status", _ENGINE + "GetStatus", b""),
            MalformedCall("list", _ENGINE + "ListHedgedPositions", b""),
            MalformedCall("unknown exit", _ENGINE + "CloseHedgedPosition", _bytes(unknown)),
            MalformedCall("bad entry", _ENGINE + "OpenHedgedPosition", _bytes(bad)),
            MalformedCall("garbage", _ENGINE + "OpenHedgedPosition", b"\xff" * 64),
            MalformedCall("too large", _ENGINE + "OpenHedgedPosition", bytes(_PAGE + 1)),
            MalformedCall("no method", _ENGINE + "Halt/Check", b""),
        )
    )


def _bytes(
    request: engine_pb2.CloseHedgedPositionRequest | engine_pb2.OpenHedgedPositionRequest,
) -> bytes:
    return request.SerializeToString()


def calls_until(over: threading.Event, at_once: int) -> Iterator[MalformedCall]:
    """Yield calls until it is over; says so when the first are answered and others took over."""
    for count, call in enumerate(engine_calls()):
        if over.is_set():
            return
        if count == 2 * at_once:
            sys.stdout.write("flooding\n")
            sys.stdout.flush()
        yield call


def _await_end_of_input(over: threading.Event) -> None:
    # Not by sys.stdin: its lock would be held when the time is over first.
    while os.read(0, 1):
        pass
    over.set()


@asynccontextmanager
async def flooding(plan: dict[str, Any]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a flood in a process of its own; yields once calls are answered, kills what is left."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "tests.support.engine_flood", json.dumps(plan))
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"flooding\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def end_of_flood(process: asyncio.subprocess.Process) -> tuple[dict[str, int], float]:
    """End a flood that still goes on; return what its process counted and its seconds."""
    assert process.returncode is None, "the flood was over before"
    said, _ = await process.communicate(b"")
    counts, seconds = json.loads(said)
    return counts, seconds


def main() -> int:
    """Run the flood that the argument tells."""
    guard_process()
    plan = json.loads(sys.argv[1])
    over = threading.Event()
    threading.Thread(target=_await_end_of_input, args=(over,), daemon=True).start()
    start = time.monotonic()
    end = start + plan["seconds"]
    calls = calls_until(over, plan["at_once"])
    counts = asyncio.run(flood(plan["address"], plan["token"], calls, plan["at_once"], end))
    sys.stdout.write(json.dumps([counts, time.monotonic() - start]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
