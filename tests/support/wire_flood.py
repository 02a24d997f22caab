"""Calls in floods from a process of their own: `python -m tests.support.wire_flood JSON`.

The argument tells address, token, what to send, how many at once and for how long; the answer is
one line of JSON: how many calls of each kind ended with each code, and the seconds it took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc

from services.common.process_guard import guard_process
from tests.support.malformed import EXCHANGE, MalformedCall, malformed_calls

CHANNELS = 4
CALL_SECONDS = 60.0


def sound_calls() -> Iterator[MalformedCall]:
    """Yield cheap valid calls without end."""
    while True:
        yield MalformedCall("sound", EXCHANGE + "GetName", b"")


def _channels(address: str) -> list[Any]:
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_retries", 0),
    ]
    return [grpc.aio.insecure_channel(address, options=options) for _ in range(CHANNELS)]


async def flood(
    address: str, token: str, calls: Iterator[MalformedCall], at_once: int, until: float
) -> Counter[str]:
    """Send calls, so many at once, until they or the time are over; return ends by kind."""
    counts: Counter[str] = Counter()
    channels = _channels(address)

    async def work(channel: Any) -> None:
        for call in calls:
            counts[f"{call.kind} {await end_of(channel, call, token)}"] += 1
            if time.monotonic() > until:
                return

    await asyncio.gather(*(work(channels[index % CHANNELS]) for index in range(at_once)))
    for channel in channels:
        await channel.close()
    return counts


async def end_of(channel: Any, call: MalformedCall, token: str) -> str:
    """Make one call and return the code it ended with."""
    metadata = (("authorization", f"Bearer {token}"), *call.metadata)
    try:
        await channel.unary_unary(call.method)(call.body, metadata=metadata, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


def main() -> int:
    """Run the flood that the argument tells."""
    guard_process()
    plan = json.loads(sys.argv[1])
    calls = malformed_calls(plan["count"], plan["seed"]) if plan["malformed"] else sound_calls()
    start = time.monotonic()
    counts = asyncio.run(
        flood(plan["address"], plan["token"], calls, plan["at_once"], start + plan["seconds"])
    )
    sys.stdout.write(json.dumps([counts, time.monotonic() - start]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
