"""Whether each venue answers, asked every two seconds: known before an order goes unanswered.

A question that a venue does not answer costs nothing; an order that it does not answer leaves a leg
without its other. Nothing is decided by the pulse: entries read both venues anew, and exits go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from services.common.clock import Clock
from services.common.errors import AuthError, OpensqtError, RejectedError
from services.engine.placing import reason_of

INTERVAL_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 2.0
"""With the wait before it: a venue that is gone is told within 4 s."""


class VenuePulse(Protocol):
    """A small question that goes all the way an order goes, to the venue and back."""

    async def ask(self) -> None:
        """Return once the venue has answered; raises `OpensqtError`."""
        ...


class PulseListener(Protocol):
    """Who remembers what came of the question."""

    def told(self, problem: str) -> bool:
        """Take the problem, empty for an answer; true when it is news."""
        ...


async def follow_pulse(
    pulse: VenuePulse, listener: PulseListener, clock: Clock, changed: Callable[[], None]
) -> None:
    """Ask for ever; `changed` is called when a venue is gone or back."""
    while True:
        if listener.told(await _problem_of(pulse)):
            changed()
        await clock.sleep(INTERVAL_SECONDS)


async def _problem_of(pulse: VenuePulse) -> str:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await pulse.ask()
    except TimeoutError:
        return "NO_ANSWER_IN_TIME"
    except AuthError as error:
        # Whoever is not let in to ask can send no order either.
        return reason_of(error)
    except RejectedError:
        # A refusal is an answer.
        return ""
    except OpensqtError as error:
        return reason_of(error)
    return ""
