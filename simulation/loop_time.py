"""One run's time and chance put in the place of the machine's, for all code of the interpreter.

ccxt stamps requests with `time.time_ns`, stamina draws its jitter from `random`, ids come from
`uuid` and `secrets`: while a run lasts, all of them answer by its loop and its seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest import mock

from services.common.ids import ID_LENGTH
from simulation.loop import PROCESS

START: Final = datetime(2026, 3, 20, 0, 5, tzinfo=UTC)
"""Mid-hour, so that no funding falls due in a run of minutes."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST: Final = "abcdefghijklmnopqrsuvwxyz"
_REST: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


class SimClock:
    """The clock of whoever asks: wall time with its process's error, the loop's seconds, sleep."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began = loop.time()
        # When, and by which error: the wall time then, and the same in nanoseconds.
        self._last = (self._began, 0.0, START, 0)

    def now(self) -> datetime:
        """Return the wall time as the asking process has it."""
        return self._instant()[2]

    def _instant(self) -> tuple[float, float, datetime, int]:
        process = PROCESS.get()
        offset = 0.0 if process is None else process.wall_offset
        time, last = self._loop.time(), self._last
        # Asked for many times in one instant: the last answer is kept.
        if last[0] != time or last[1] != offset or not last[3]:
            wall = START + timedelta(seconds=time - self._began + offset)
            self._last = last = (time, offset, wall, (wall - _EPOCH) // _MICROSECOND * 1_000)
        return last

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(max(seconds, 0.0))

    def nanoseconds(self) -> int:
        """Return the wall time in nanoseconds since 1970, by whole microseconds."""
        return self._instant()[3]


class SeededIds:
    """Ids of a seed; implements `services.common.ids.Ids`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def new_id(self) -> str:
        """Return an id of the form of `RandomIds`."""
        rest = "".join(self._chance.choice(_REST) for _ in range(ID_LENGTH - 1))
        return self._chance.choice(_FIRST) + rest

    def new_uuid(self) -> str:
        """Return a version 4 UUID."""
        return str(self.uuid4())

    def uuid4(self) -> uuid.UUID:
        """Return a version 4 UUID as `uuid.uuid4` does."""
        return uuid.UUID(int=self._chance.getrandbits(128), version=4)


@contextmanager
def own_time(clock: SimClock, chance: random.Random) -> Iterator[None]:
    """Let everybody's clock be `clock` and everybody's chance come from `chance`."""
    ids = SeededIds(random.Random(chance.getrandbits(64)))  # noqa: S311 - repeats, on purpose
    held = random.getstate()
    random.seed(chance.getrandbits(64))
    replaced: list[tuple[Any, str, Callable[..., Any]]] = [
        (time, "time", lambda: clock.nanoseconds() / 1e9),
        (time, "time_ns", clock.nanoseconds),
        (time, "monotonic", clock.monotonic),
        (time, "perf_counter", clock.monotonic),
        (uuid, "uuid4", ids.uuid4),
        (secrets, "choice", random.choice),
        # Made at import and read by every `SystemRandom`.
        (random, "_urandom", lambda size: random.randbytes(size)),  # noqa: S311 - it is to repeat
        (os, "urandom", lambda size: random.randbytes(size)),  # noqa: S311 - it is to repeat
    ]
    try:
        with ExitStack() as stack:
            for owner, name, value in replaced:
                stack.enter_context(mock.patch.object(owner, name, value))
            yield
    finally:
        random.setstate(held)
