"""How an owner ends its task."""

from __future__ import annotations

import asyncio

import pytest

from services.common.task_end import end_task


async def _hold_out(cancelled: asyncio.Event, let_go: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        cancelled.set()
        await let_go.wait()


async def test_it_is_cancelled_and_waited_for() -> None:
    """What it does at its end is done."""
    cancelled, let_go = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(_hold_out(cancelled, let_go))
    await asyncio.sleep(0)
    let_go.set()
    await end_task(task)
    assert task.cancelled()
    assert cancelled.is_set()


async def test_what_ended_it_before_is_raised() -> None:
    """A task that broke is not taken for one that was ended."""

    async def broken() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(broken())
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="broken"):
        await end_task(task)


async def test_the_owners_own_cancellation_is_not_swallowed() -> None:
    """It comes while the task still holds out, and the owner ends by it."""
    cancelled, let_go = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(_hold_out(cancelled, let_go))
    await asyncio.sleep(0)
    owner = asyncio.create_task(end_task(task))
    await cancelled.wait()
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
    let_go.set()
    await asyncio.wait({task})
