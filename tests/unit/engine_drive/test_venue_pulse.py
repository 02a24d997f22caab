"""A venue that stops answering is told as gone, and as back with its first answer."""

from __future__ import annotations

import asyncio

import pytest

from services.common.errors import AuthError, NotFoundError, UnreachableError
from services.engine import venue_pulse
from services.engine.venue_pulse import ANSWER_SECONDS, INTERVAL_SECONDS, follow_pulse
from tests.support.virtual_clock import VirtualClock


class Venue:
    """Answers, refuses, fails or keeps silent as the test says; remembers what it was told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.problems: list[str] = []

    async def ask(self) -> None:
        """Answer as told."""
        if self.error is not None:
            raise self.error

    def told(self, problem: str) -> bool:
        """Take a problem; news when it differs from the last."""
        is_news = self.problems[-1:] != [problem]
        self.problems.append(problem)
        return is_news


async def test_each_change_is_told_once() -> None:
    """No connection is a problem, and a token that is refused; another refusal is an answer."""
    venue, clock, changes = Venue(), VirtualClock(), list[str]()
    following = asyncio.create_task(
        follow_pulse(venue, venue, clock, lambda: changes.append(venue.problems[-1]))
    )
    refused = AuthError("no such token", reason="TOKEN_INVALID")
    rounds = (None, UnreachableError("gone"), NotFoundError("no such symbol"), refused)
    for error in rounds:
        venue.error = error
        await clock.pass_time(2 * INTERVAL_SECONDS)
    following.cancel()
    assert changes == ["", "VENUE_UNREACHABLE", "", "TOKEN_INVALID"]


async def test_silence_is_a_problem_within_four_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that nobody answers is given up before the next one is due."""
    assert INTERVAL_SECONDS + ANSWER_SECONDS <= 4
    # Of real time, which nobody here has to wait for.
    monkeypatch.setattr(venue_pulse, "ANSWER_SECONDS", 0.01)

    class Silent(Venue):
        async def ask(self) -> None:
            await asyncio.Event().wait()

    venue, told = Silent(), asyncio.Event()
    following = asyncio.create_task(follow_pulse(venue, venue, VirtualClock(), told.set))
    async with asyncio.timeout(60):
        await told.wait()
    following.cancel()
    assert venue.problems == ["NO_ANSWER_IN_TIME"]
