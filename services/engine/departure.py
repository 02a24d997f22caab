"""First exit orders that leave together: of both legs, and of every position of a close-all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from services.common.logs import get_logger
from services.engine import events as ev
from services.engine.drive_context import DriveContext
from services.engine.executor import Dispatch

_log = get_logger(__name__)


async def depart(context: DriveContext, intents: Sequence[ev.OrderIntended]) -> Dispatch:
    """Journal these orders with one durable write, then send them with one dispatch.

    Raises `JournalError`; then nothing was sent.
    """
    # One write for all: ten fsyncs in turn would spread the legs over as many milliseconds.
    await context.book.record(*intents)
    return context.dispatch([intent.plan for intent in intents])


async def note_skew(
    context: DriveContext, dispatch: Dispatch, intents: Iterable[ev.OrderIntended]
) -> None:
    """Book for each position how far apart its own orders of a dispatch left, once all have."""
    await dispatch.started()
    keys: dict[str, list[str]] = {}
    for intent in intents:
        keys.setdefault(intent.position_id, []).append(intent.plan.client_order_id)
    now = context.clock.now()
    context.book.record_soon(
        *(ev.ExitDispatched(name, now, dispatch.skew_of(ids)) for name, ids in keys.items())
    )
    widest = max(keys, key=lambda name: dispatch.skew_of(keys[name]))
    context.observer.exit_dispatched(dispatch.skew.total_seconds(), widest)


class JointDeparture:
    """Gathers the first exit orders of several positions for one dispatch.

    Only positions at rest take part: all their drives do before they come is read a price, which is
    bounded. Whoever is late leaves alone, so that no position holds up another.
    """

    def __init__(self, context: DriveContext, position_ids: Iterable[str]) -> None:
        self._context = context
        self._expected = set(position_ids)
        self._intents: dict[str, Sequence[ev.OrderIntended]] = {}
        self._complete = asyncio.Event()
        self._left: asyncio.Future[Dispatch] = asyncio.get_running_loop().create_future()
        self._is_closed = False

    async def join(self, position_id: str, intents: Sequence[ev.OrderIntended]) -> Dispatch:
        """Leave with the others, or alone where they have left; raises what `depart` raises."""
        # Whoever comes late still must get out.
        if self._is_closed:
            return await depart(self._context, intents)
        self._intents[position_id] = intents
        self.resign(position_id)
        # A drive that is ended must not take the others' departure with it.
        return await asyncio.shield(self._left)

    def resign(self, position_id: str) -> None:
        """Stop waiting for a position: it came, or it has nothing to send at once."""
        self._expected.discard(position_id)
        if not self._expected:
            self._complete.set()

    async def run(self) -> None:
        """Wait for all, at most twice what one price may take, and leave with those who came."""
        try:
            async with asyncio.timeout(2 * self._context.policy.touch_timeout.total_seconds()):
                await self._complete.wait()
        except TimeoutError:
            _log.warning("close_all_left_without", position_ids=sorted(self._expected))
        self._is_closed = True
        intents = [intent for group in self._intents.values() for intent in group]
        if not intents:
            return
        try:
            dispatch = await depart(self._context, intents)
        except Exception as error:
            # Each drive gets it, pauses and tries again alone.
            self._left.set_exception(error)
            return
        self._left.set_result(dispatch)
        await note_skew(self._context, dispatch, intents)
        _log.info("close_all_left", orders=len(intents), skew_seconds=dispatch.skew.total_seconds())
