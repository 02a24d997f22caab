"""Whether this engine is the one at work; what it has lost it never gets back in this process."""

from __future__ import annotations

import asyncio
from typing import Final

from services.common.errors import PreconditionError
from services.common.logs import get_logger

LEASE_LOST: Final = "LEASE_LOST"
"""Reason of the journal's word that another engine has taken it over."""
EPOCH_SUPERSEDED: Final = "EPOCH_SUPERSEDED"
"""Reason of a connector's word that it was shown a higher epoch."""
JOURNAL_AHEAD: Final = "JOURNAL_AHEAD"
"""Reason of a journal that has rows which this engine takes for lost: only a start reads them."""

_logger = get_logger(__name__)


class Leadership:
    """Held from the start; lost for good at the first word that this engine must not go on.

    Another one works, or is to: this one again after a start, where its journal knows more.
    """

    def __init__(self) -> None:
        self._lost = asyncio.Event()
        self.reason = ""
        self.problem = ""
        """What was heard, for people; empty while nothing was."""

    @property
    def is_lost(self) -> bool:
        """Whether another engine works."""
        return self._lost.is_set()

    def lose(self, reason: str, problem: str) -> None:
        """Take note that this engine must not go on; the first word is kept."""
        if self.is_lost:
            return
        self.reason, self.problem = reason, problem
        _logger.error("engine_overtaken", reason=reason, problem=problem)
        self._lost.set()

    def check(self) -> None:
        """Raise PreconditionError with the reason where another engine works."""
        if self.is_lost:
            raise PreconditionError(self.problem, reason=self.reason)

    async def until_lost(self) -> None:
        """Return once another engine works."""
        await self._lost.wait()
