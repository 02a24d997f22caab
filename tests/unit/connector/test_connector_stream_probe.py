"""A socket that died without a word is found out by its silence, one that is only idle is not."""

from __future__ import annotations

import asyncio
from typing import Any

from services.connector.stream_probe import ProbePace, watch_silence
from tests.support.virtual_clock import VirtualClock

PACE = ProbePace(silence_seconds=15.0, answer_seconds=5.0, look_seconds=1.0)


class Socket:
    """A client of ccxt whose other end answers pings, or does not."""

    def __init__(self, clock: VirtualClock, *, answers: bool, closed: bool = False) -> None:
        self._clock = clock
        self._answers = answers
        self._closed = closed
        self.pings = 0
        self.connection: Any = self
        self.isConnected = True
        self.last_message_at: int | None = None
        self.lastPong: int | None = None
        self.connectionEstablished = round(clock.now().timestamp() * 1000)

    async def ping(self) -> None:
        """Send a ping; its answer comes at once or never."""
        self.pings += 1
        if self._closed:
            raise ConnectionResetError("closed")
        if self._answers:
            self.last_message_at = round(self._clock.now().timestamp() * 1000)


class Exchange:
    """A ccxt instance with one socket."""

    def __init__(self, clock: VirtualClock, socket: Socket) -> None:
        self._clock = clock
        self.clients = {"ws://venue": socket}

    def milliseconds(self) -> int:
        """Return the present in ms."""
        return round(self._clock.now().timestamp() * 1000)


async def watch(
    *, answers: bool, seconds: float, closed: bool = False
) -> tuple[bool, Socket, float]:
    """Watch a silent socket so long; return whether it was found dead, and its oldest age."""
    clock, ages = VirtualClock(), [0.0]
    socket = Socket(clock, answers=answers, closed=closed)
    watching = asyncio.create_task(watch_silence(Exchange(clock, socket), clock, PACE, ages.append))
    await clock.run_until(lambda: watching.done() or clock.monotonic() >= seconds)
    dead = watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return dead, socket, max(ages)


async def test_dead_socket_is_found_within_the_pace() -> None:
    """No answer to a ping within its time ends the watch, and the age was told meanwhile."""
    dead, socket, age = await watch(answers=False, seconds=30)
    assert dead
    assert socket.pings == 1
    assert PACE.silence_seconds <= age <= PACE.silence_seconds + PACE.answer_seconds + 1


async def test_idle_socket_that_answers_lives_on() -> None:
    """A user stream without events is pinged now and then, and never taken for dead."""
    dead, socket, age = await watch(answers=True, seconds=120)
    assert not dead
    assert 5 <= socket.pings <= 8
    assert age <= PACE.silence_seconds + PACE.look_seconds


async def test_socket_that_cannot_be_pinged_is_dead() -> None:
    """A transport that knows it is closed needs no waiting."""
    dead, _, age = await watch(answers=False, seconds=30, closed=True)
    assert dead
    assert age <= PACE.silence_seconds + PACE.look_seconds
