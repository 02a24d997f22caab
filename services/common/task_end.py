"""The end of a task by its owner."""

from __future__ import annotations

import asyncio
from typing import Any


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end; raise what ended it before that.

    Not by awaiting it: a cancellation of the owner that comes meanwhile would look like the task's.
    """
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
