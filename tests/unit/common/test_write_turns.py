"""Turns of writers: so many in a round of the event loop, in the order of their coming."""

from __future__ import annotations

import asyncio

from services.common.write_turns import WriteTurns


async def test_many_writers_leave_room_between_them() -> None:
    """Ten that wake at once go two by two, so that others have the loop in between."""
    turns, seen = WriteTurns(2), list[int]()

    async def write(number: int) -> None:
        await turns.wait()
        seen.append(number)

    tasks = [asyncio.create_task(write(number)) for number in range(10)]
    most, before = 0, 0
    while len(seen) < 10:
        await asyncio.sleep(0)
        most, before = max(most, len(seen) - before), len(seen)
    await asyncio.gather(*tasks)
    assert seen == list(range(10))
    assert most == 2


async def test_who_leaves_the_line_holds_up_nobody() -> None:
    """A caller who is gone takes no turn, and later ones have theirs."""
    turns = WriteTurns(1)
    first, gone, last = (asyncio.create_task(turns.wait()) for _ in range(3))
    await first
    gone.cancel()
    async with asyncio.timeout(60):
        await last
        await asyncio.create_task(turns.wait())
    assert gone.cancelled()
