"""Commands are done once per request id, whatever happens to their callers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from services.common.clock import Clock
from services.common.errors import InvalidFieldError
from services.engine.book import PositionBook
from services.engine.commands import Command
from services.engine.events import CommandAccepted
from services.engine.owned_tasks import OwnedTasks

Stamp = Callable[..., CommandAccepted]
Work = Callable[[Stamp], Awaitable[tuple[str, ...]]]


class CommandDesk:
    """Runs each command in a task of the engine: a caller that goes away does not stop it."""

    def __init__(self, book: PositionBook, clock: Clock, tasks: OwnedTasks) -> None:
        self._book = book
        self._clock = clock
        self._tasks = tasks
        self._running: dict[str, tuple[str, asyncio.Task[tuple[str, ...]]]] = {}

    async def run(self, command: Command, work: Work) -> tuple[str, ...]:
        """Return the position ids of a command, from `work` or from its first run.

        `work` gets a function that makes the `CommandAccepted` event, which it must record together
        with what it does. A refused command is not kept: a repeat is judged afresh. Raises
        `InvalidFieldError` (REQUEST_ID_REUSED) for the same id with other content.
        """
        request_id, content = command.request_id, content_hash(command)
        if not request_id:
            raise InvalidFieldError("request_id", "is required")
        done = await self._book.find_command(request_id)
        if done is not None:
            _check_same(done.content_hash, content)
            return done.position_ids
        # A repeat while the first runs joins it: two checks of one entry would both pass.
        running = self._running.get(request_id)
        if running is not None:
            _check_same(running[0], content)
            return await asyncio.shield(running[1])
        task = self._tasks.spawn(self._do(command, content, work), f"command-{request_id}")
        self._running[request_id] = (content, task)
        task.add_done_callback(lambda _: self._running.pop(request_id, None))
        # The caller's deadline is not the command's: half a command is worse than a late answer.
        return await asyncio.shield(task)

    async def _do(self, command: Command, content: str, work: Work) -> tuple[str, ...]:
        def stamp(*position_ids: str) -> CommandAccepted:
            return CommandAccepted(self._clock.now(), command.request_id, content, position_ids)

        return await work(stamp)


def content_hash(command: Command) -> str:
    """Return a digest of everything in a command but its request id."""
    # repr tells 1 from 1.0: a repeat must be the same to the letter.
    return hashlib.sha256(repr(replace(command, request_id="")).encode()).hexdigest()


def _check_same(known: str, content: str) -> None:
    if known != content:
        raise InvalidFieldError(
            "request_id",
            "was used before with other content; take a new one",
            reason="REQUEST_ID_REUSED",
        )
