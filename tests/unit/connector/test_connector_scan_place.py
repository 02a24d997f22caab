"""A scan's place on the wire, given back once an answer is read and before it is worked on."""

from __future__ import annotations

import asyncio
from typing import Any

from services.connector.profile import EndpointClass, Priority
from services.connector.rate_queue import current_pass
from services.connector.venue_http import VenueHttpMixin
from tests.support.hand_venue import venue

_LONG, _SHORT = 4096, 100


class _Answers:
    """Stands where ccxt's class does: tells of an answer as it is read."""

    profile = venue().profile

    def __init__(self, seen: list[str], status: int, size: int) -> None:
        self.seen, self.status, self.size = seen, status, size
        self.flying = [0]

    async def fetch(
        self, url: str, method: str = "GET", headers: Any = None, body: Any = None
    ) -> Any:
        """Answer after a moment; what stands behind `read` is work on the answer."""
        self.seen.append(f"sent {url}")
        self.flying.append(self.flying[-1] + 1)
        await asyncio.sleep(0.001)
        self.flying.append(self.flying[-1] - 1)
        await self.on_answer_read(self.status, self.size)  # type: ignore[attr-defined]  # mixed in
        self.seen.append(f"read {url}")
        return url


class _Exchange(VenueHttpMixin, _Answers):
    """The mixin as it stands in a connector."""


async def _two_reads(priority: Priority, status: int, size: int) -> list[str]:
    seen = list[str]()
    scanned = venue(scan_calls_at_once=1)
    exchange = _Exchange(seen, status, size)
    exchange.budget = scanned.budget

    async def read(name: str) -> None:
        async with scanned.budget.take(EndpointClass.WEIGHT, 1, priority):
            await exchange.fetch(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(read("a"))
        group.create_task(read("b"))
    return seen


async def test_who_waits_sends_before_a_long_answer_is_worked_on() -> None:
    """JSON of one page is read while the venue works on the next."""
    seen = await _two_reads(Priority.SCAN, 200, _LONG)
    assert seen == ["sent a", "sent b", "read a", "read b"]


async def test_after_a_refusal_nobody_sends_before_it_was_judged() -> None:
    """It may ask for silence, also with status 200, where it is short."""
    assert await _two_reads(Priority.SCAN, 429, _LONG) == ["sent a", "read a", "sent b", "read b"]
    assert await _two_reads(Priority.SCAN, 200, _SHORT) == ["sent a", "read a", "sent b", "read b"]


async def test_a_further_request_of_a_call_takes_a_place_of_its_own() -> None:
    """A call in pages never has two requests where one place is."""
    seen = list[str]()
    scanned = venue(scan_calls_at_once=1)
    exchange = _Exchange(seen, 200, _LONG)
    exchange.budget = scanned.budget

    async def pages(*names: str) -> None:
        async with scanned.budget.take(EndpointClass.WEIGHT, len(names), Priority.SCAN):
            for name in names:
                await exchange.fetch(name)
            held = current_pass()
            assert held is not None
            assert not held.placed

    async with asyncio.TaskGroup() as group:
        group.create_task(pages("a1", "a2"))
        group.create_task(pages("b1"))
    assert max(exchange.flying) == 1
    assert seen.index("sent b1") < seen.index("sent a2")
    # All places are back: another read needs no wait.
    async with asyncio.timeout(60):
        async with scanned.budget.take(EndpointClass.WEIGHT, 1, Priority.SCAN):
            pass
