"""Reads of scans: a place on the wire goes on before the answer that freed it is worked on."""

from __future__ import annotations

import asyncio

from services.connector.profile import EndpointClass, Priority
from services.connector.rate_budget import CALL_PRIORITY
from tests.support.hand_venue import venue


async def test_the_next_read_of_a_scan_is_sent_before_the_last_answer_is_worked_on() -> None:
    """With one place, who waits for it sends first: the venue never waits for our own work."""
    scanned, seen = venue(scan_calls_at_once=1), list[str]()
    CALL_PRIORITY.set(Priority.SCAN)

    async def read(name: str) -> None:
        async def ask() -> None:
            seen.append(f"sent {name}")
            await asyncio.sleep(0.001)

        await scanned.read(EndpointClass.WEIGHT, 1, ask)
        seen.append(f"worked on {name}")

    async with asyncio.TaskGroup() as group:
        for name in ("first", "second", "third"):
            group.create_task(read(name))
    assert seen == [
        "sent first",
        "sent second",
        "worked on first",
        "sent third",
        "worked on second",
        "worked on third",
    ]
