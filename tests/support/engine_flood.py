"""Calls in floods at an engine, good and bad: `python -m tests.support.engine_flood JSON`.

The argument tells address, token, how many at once and for how long; the answer is one line of
JSON: how many calls of each kind ended with each code, and the seconds it took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle

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


def main() -> int:
    """Run the flood that the argument tells."""
    guard_process()
    plan = json.loads(sys.argv[1])
    start = time.monotonic()
    counts = asyncio.run(
        flood(
            plan["address"], plan["token"], engine_calls(), plan["at_once"], start + plan["seconds"]
        )
    )
    sys.stdout.write(json.dumps([counts, time.monotonic() - start]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
