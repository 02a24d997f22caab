"""The server's own limit on the time of a call, beside whatever deadline its caller named."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from services.common.errors import Code, RetryableError

if TYPE_CHECKING:
    from types import TracebackType


class CallLimit:
    """Bounds the block it surrounds: first the wait for the request, then the answer.

    When the time is up the block is cancelled and RetryableError (DEADLINE_EXCEEDED) raised; for
    an order that proves nothing, as any deadline.
    """

    def __init__(self, request_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._timeout = asyncio.timeout_at(self._start + request_seconds)
        self._error = ("the request did not come in time", "REQUEST_MISSING")

    def answer_within(self, seconds: float) -> None:
        """The request is there: bound the whole call, from its start, instead."""
        self._error = ("the call took longer than this server lets any", "CALL_TOO_LONG")
        self._timeout.reschedule(self._start + seconds)

    async def __aenter__(self) -> Self:
        """Start the timer."""
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the timer; raise when it ran out."""
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            text, reason = self._error
            raise RetryableError(text, reason=reason, code=Code.DEADLINE_EXCEEDED) from None
