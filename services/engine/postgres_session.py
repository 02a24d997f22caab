"""A session of PostgreSQL as the shared journal needs it, opened again after it broke.

`asyncpg.Connection` has this shape; nothing here imports it, so that an engine on SQLite needs no
package for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol


class Session(Protocol):
    """One connection; each call is one statement and, so, one transaction."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Run a statement with $1, $2 … and return its rows, each indexed by column number."""
        ...

    async def close(self) -> None:
        """End the connection."""
        ...


class SessionSource:
    """One session at a time, with one statement at a time, each bounded."""

    def __init__(self, connect: Callable[[], Awaitable[Session]], call_seconds: float) -> None:
        self._connect = connect
        self._call_seconds = call_seconds
        self._session: Session | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, query: str, *args: Any, seconds: float | None = None) -> Sequence[Any]:
        """Run a statement; whatever it raises ends the session, the next call opens another.

        `seconds` bound it in place of what bounds all others.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(seconds or self._call_seconds):
                    if self._session is None:
                        self._session = await self._open()
                    return await self._session.fetch(query, *args)
            except BaseException:
                # Cancelled in mid-answer it would give the rest to the next statement.
                await self._drop()
                raise

    async def read(self, query: str, *args: Any) -> Sequence[Any]:
        """Run a statement that changes nothing; once more where the session had ended meanwhile.

        One that nobody used for long, or while the server was away, is found broken by its next
        use alone.
        """
        try:
            return await self.fetch(query, *args)
        except Exception:
            return await self.fetch(query, *args)

    async def close(self) -> None:
        """End the session."""
        async with self._turn:
            await self._drop()

    async def _open(self) -> Session:
        session = await self._connect()
        # A server or role may be set up to answer before a row is on its disk.
        await session.fetch("SET synchronous_commit TO on")
        return session

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                async with asyncio.timeout(self._call_seconds):
                    await session.close()
            # It is given up either way.
            except (OSError, TimeoutError):
                return
