"""A process that writes to a shared journal as long as it has the lease.

`python -m tests.support.lease_process FOLDER BOOK HOLDER`; ends with `OVERTAKEN` when another has
taken the journal over.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from services.common.clock import SystemClock
from services.engine.journal import JournalError
from services.engine.leadership import LEASE_LOST
from services.engine.postgres_journal import PostgresJournal
from services.engine.postgres_lease import PostgresLease
from services.engine.postgres_session import SessionSource
from tests.support.journal_images import halted
from tests.support.postgres_server import WireSession

OVERTAKEN = 3
TERM = timedelta(seconds=2)
_PACE_SECONDS = 0.01


async def write(folder: Path, book: str, holder: str) -> int:
    """Append a row every now and then until the lease is lost."""

    async def connect() -> Any:
        return await WireSession.connect(folder)

    sessions = SessionSource(connect, call_seconds=5.0)
    lease = PostgresLease(sessions, SystemClock(), book, holder, TERM)
    journal = PostgresJournal(sessions, lease, book)
    await journal.open()
    keeping = asyncio.create_task(lease.keep())
    try:
        for number in count():
            await journal.append([halted(number)])
            await asyncio.sleep(_PACE_SECONDS)
    except JournalError as error:
        if error.reason != LEASE_LOST:
            raise
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError, JournalError):
            await keeping
        await journal.close()
    return OVERTAKEN


if __name__ == "__main__":
    sys.exit(asyncio.run(write(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
