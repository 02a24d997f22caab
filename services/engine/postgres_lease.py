"""The lease of a shared journal: one engine at a time, each grant with a higher epoch.

Time alone fences nobody: an engine that was paused wakes and believes in its lease. So each append
is bound to the epoch, and connectors refuse orders of a lower one than they were shown.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from services.common.clock import Clock
from services.common.logs import get_logger
from services.engine import postgres_schema as sql
from services.engine.journal import JournalError
from services.engine.leadership import LEASE_LOST
from services.engine.postgres_session import SessionSource

_logger = get_logger(__name__)
_TRIES_PER_TERM: Final = 4


class PostgresLease:
    """The lease of one book for one engine; `holder` is a name no other engine has.

    An engine that starts again under its name takes its own lease at once; another waits until the
    lease has run out for `term`.
    """

    def __init__(
        self, sessions: SessionSource, clock: Clock, book: str, holder: str, term: timedelta
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._book = book
        self._holder = holder
        self._term = term
        self._held_until = 0.0
        self.epoch = 0
        """Epoch of the last grant; 0 before the first."""
        self.is_continued = True
        """Whether nobody else held the lease between our last grant, of any life, and this one."""

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have been granted the lease yet, by our monotonic clock."""
        return self.epoch > 0 and self._clock.monotonic() < self._held_until

    async def acquire(self, waiting: Callable[[str], None] = lambda _holder: None) -> int:
        """Wait until the lease is granted and return its epoch.

        `waiting` is told once, at the first refusal, who has it. A database that is away is waited
        for too, once it has answered at all.
        """
        if await self._try_once():
            return self.epoch
        holder = await self._sessions.fetch(sql.HOLDER, self._book)
        waiting(str(holder[0][0]) if holder else "")
        _logger.info("lease_awaited", book=self._book)
        was_away = False
        while True:
            await self._clock.sleep(self._term.total_seconds() if was_away else self._pause())
            try:
                if await self._try_once():
                    return self.epoch
                was_away = False
            except Exception as error:
                _logger.warning("lease_not_asked", book=self._book, problem=str(error))
                await self.until_back()
                # For the engine at work it was perhaps away as well: that one renews first.
                was_away = True

    async def until_back(self) -> None:
        """Return once the database answers; it is asked four times a term, and not at once."""
        while True:
            await self._clock.sleep(self._pause())
            # A question that takes nothing.
            with suppress(Exception):
                await self._sessions.fetch(sql.HOLDER, self._book)
                return

    async def _try_once(self) -> bool:
        # From before the question: the server's term begins later than ours, never earlier.
        asked = self._clock.monotonic()
        rows = await self._sessions.fetch(sql.GRANT, self._book, self._holder, self._milliseconds())
        if not rows:
            return False
        self.epoch = int(rows[0][0])
        self.is_continued = rows[0][1] in (None, self._holder)
        self._held_until = asked + self._term.total_seconds()
        _logger.info("lease_granted", book=self._book, epoch=self.epoch)
        return True

    async def keep(self) -> None:
        """Renew until cancelled; raises JournalError (LEASE_LOST) when another engine has it."""
        while True:
            await self._clock.sleep(self._pause())
            try:
                await self.renew()
            except JournalError:
                raise
            # The database is away: whether the lease is still ours shows when it is back.
            except Exception as error:
                _logger.warning("lease_not_renewed", book=self._book, problem=str(error))

    async def renew(self) -> None:
        """Renew once; raises JournalError (LEASE_LOST) when another engine has it."""
        asked = self._clock.monotonic()
        rows = await self._sessions.fetch(sql.RENEW, self._book, self.epoch, self._milliseconds())
        if not rows:
            self._held_until = 0.0
            raise lease_lost(self._book, self.epoch)
        self._held_until = asked + self._term.total_seconds()

    async def release(self) -> None:
        """Let the next engine take over at once; does nothing when another has it already."""
        self._held_until = 0.0
        await self._sessions.fetch(sql.RELEASE, self._book, self.epoch)

    def _milliseconds(self) -> int:
        return self._term // timedelta(milliseconds=1)

    def _pause(self) -> float:
        return self._term.total_seconds() / _TRIES_PER_TERM


def lease_lost(book: str, epoch: int) -> JournalError:
    """Return the error of an engine that was overtaken."""
    return JournalError(
        f"another engine has taken the journal {book} over from epoch {epoch}", reason=LEASE_LOST
    )
