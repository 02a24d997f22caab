"""One task carried out apart from its worker, so that nothing it does reaches the worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from services.common.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

# A task that was cancelled may clean up this long before its worker turns to the next.
_CANCEL_SECONDS = 1.0


class Outcome(StrEnum):
    """How an attempt ended; also the label of the metrics."""

    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Attempt(Generic[ResultT]):
    """What came of a task. `stray` is what still runs of it, deaf to its cancellation."""

    outcome: Outcome
    value: ResultT | None = None
    error: Exception | None = None
    stray: asyncio.Task[Attempt[ResultT]] | None = None


async def attempt(
    handle: Callable[[TaskT], Awaitable[ResultT]],
    task: TaskT,
    *,
    over: asyncio.Future[Outcome],
    timeout_seconds: float,
) -> Attempt[ResultT]:
    """Carry out a task until it ends, `over` is set or its time is over; raises nothing of its.

    `over` is set in any case: who sets it to CANCELLED ends the task, who finds it set is too late.
    Cancelled itself, it cancels the task, waits for it a moment, and passes the cancellation on.
    """
    loop = asyncio.get_running_loop()
    # A task of its own, so that cancelling what runs does not cancel the worker.
    running = loop.create_task(_telling(over, handle, task))
    timer = loop.call_later(timeout_seconds, _settle, over, Outcome.TIMEOUT)
    try:
        # One future for all three: `asyncio.wait` costs as much as the rest of an attempt.
        outcome = await over
        if running.done() and not running.cancelled():
            return running.result()
    finally:
        timer.cancel()
        if not running.done():
            running.cancel()
            await asyncio.wait({running}, timeout=_CANCEL_SECONDS)
    stray = None if running.done() else running
    # What a task makes of its cancellation is no answer: it was told to stop in the middle.
    if outcome is Outcome.CANCELLED:
        return Attempt(Outcome.CANCELLED, stray=stray)
    late = TimeoutError(f"took longer than {timeout_seconds:g} s")
    return Attempt(Outcome.TIMEOUT, error=late, stray=stray)


async def _telling(
    over: asyncio.Future[Outcome], handle: Callable[[TaskT], Awaitable[ResultT]], task: TaskT
) -> Attempt[ResultT]:
    try:
        return await _guarded(handle, task)
    finally:
        _settle(over, Outcome.DONE)


def _settle(over: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not over.done():
        over.set_result(outcome)


async def _guarded(handle: Callable[[TaskT], Awaitable[ResultT]], task: TaskT) -> Attempt[ResultT]:
    """Run a task to an end of some kind; only our own cancellation passes through."""
    try:
        value = await handle(task)
    except asyncio.CancelledError:
        me = asyncio.current_task()
        if me is not None and me.cancelling():
            raise
        return _broken(FatalError("the task was cancelled from within"))
    except Exception as error:  # the worker outlives any task; the batch's owner reads the error
        return _broken(error)
    except BaseException as error:  # SystemExit out of a task would stop the event loop itself
        broken = FatalError(f"the task raised {type(error).__name__}")
        broken.__cause__ = error
        return _broken(broken)
    if value is None:
        return _broken(FatalError("the task returned nothing"))
    return Attempt(Outcome.DONE, value)


def _broken(error: Exception) -> Attempt[ResultT]:
    return Attempt(Outcome.FAILED, error=error)
