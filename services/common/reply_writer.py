"""Replies to a caller who may not read them: what it asked for is let go before it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from services.common.errors import RetryableError
from services.common.observation import CallContext, CallerGoneError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ReplyWriter:
    """Writes the replies of one stream and closes the handler's iterator at the end.

    A write that waits longer than `seconds` closes the iterator at once, so that nothing is kept
    for a caller who does not read. The call itself, and its place, lasts until the caller reads
    on, and is told SUBSCRIBER_TOO_SLOW, or leaves: gRPC can neither take back the reply that is
    stuck nor send a status past it.
    """

    def __init__(self, context: CallContext, replies: AsyncIterator[Any], seconds: float) -> None:
        self._context = context
        self._replies: Any = replies
        self._seconds = seconds
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Return the writer."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the iterator, or wait until it is."""
        if self._closing is not None:
            await self._closing
        else:
            await self._close()

    async def write(self, encoded: bytes) -> None:
        """Send one reply.

        Raises CallerGoneError when the call is over, RetryableError when this took too long.
        """
        # A timer, not a timeout: cancelling a write of gRPC would end the call without a status.
        timer = asyncio.get_running_loop().call_later(self._seconds, self._give_up)
        try:
            await self._context.write(encoded)
        except Exception as error:
            # Writing fails only when the call is over; no status can reach the caller any more.
            raise CallerGoneError from error
        finally:
            timer.cancel()
        if self._closing is not None:
            raise RetryableError(
                f"a reply was not read for {self._seconds:g} s; watch again",
                reason="SUBSCRIBER_TOO_SLOW",
            )

    def _give_up(self) -> None:
        self._closing = asyncio.get_running_loop().create_task(self._close())

    async def _close(self) -> None:
        if hasattr(self._replies, "aclose"):
            await self._replies.aclose()
