"""Waits that are bounded by one timer end as those of `asyncio.timeout` do."""

from __future__ import annotations

import asyncio

import pytest

from services.engine.deadlines import Deadlines

_SHORT = 0.01
_LONG = 60.0


async def test_a_wait_past_its_bound_ends_with_a_timeout() -> None:
    """Whatever the order in which bounds were set, each one ends its own wait alone."""
    deadlines = Deadlines()

    async def wait(seconds: float) -> str:
        try:
            with deadlines.within(seconds):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "never"

    patient = asyncio.create_task(wait(_LONG))
    await asyncio.sleep(0)
    assert set(await asyncio.gather(wait(_SHORT), wait(2 * _SHORT))) == {"late"}
    assert not patient.done()
    patient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patient


async def test_a_wait_that_ended_in_time_is_left_alone() -> None:
    """A task that has left its block is not cancelled when the bound is due."""
    deadlines = Deadlines()
    with deadlines.within(_SHORT):
        await asyncio.sleep(0)
    await asyncio.sleep(3 * _SHORT)


async def test_a_cancelled_wait_is_cancelled_and_not_late() -> None:
    """Who is cancelled by somebody else ends, also when the bound is due at the same time."""
    deadlines = Deadlines()

    async def wait() -> None:
        with deadlines.within(_SHORT):
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(_SHORT, task.cancel)
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_outer_of_two_bounds_ends_the_inner_wait() -> None:
    """An inner bound that is not due passes on what the outer one does."""
    deadlines = Deadlines()
    seen: list[str] = []

    async def inner() -> None:
        try:
            with deadlines.within(_LONG):
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(TimeoutError), deadlines.within(_SHORT):
        await inner()
    assert seen == ["cancelled"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_bound_needs_a_task() -> None:
    """Outside a task nothing could be broken off."""
    failed: list[str] = []

    def enter() -> None:
        try:
            with Deadlines().within(_SHORT):
                failed.append("entered")
        except RuntimeError as error:
            failed.append(str(error))

    asyncio.get_running_loop().call_soon(enter)
    await asyncio.sleep(0)
    assert failed == ["only a task can be bounded"]
