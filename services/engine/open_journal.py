"""The journal an engine works with: a file of its own, or its turn at one that engines share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.common.secrets_files import read_secret
from services.engine.halt_flag import HaltFlagFile, halt_path
from services.engine.leadership import Leadership
from services.engine.owned_tasks import OwnedTasks
from services.engine.postgres_driver import DriverSession, connect
from services.engine.postgres_journal import PostgresJournal
from services.engine.postgres_lease import PostgresLease
from services.engine.postgres_session import SessionSource
from services.engine.sqlite_journal import SqliteJournal
from services.engine.standby import serve_standby

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from services.common.clock import Clock
    from services.common.metrics import ServiceMetrics
    from services.engine.journal import Journal
    from services.engine.journal_parts import JournalParts
    from services.engine.settings import EngineSettings
    from services.engine.shared_journal_settings import SharedJournalSettings


@dataclass(frozen=True, slots=True)
class OpenJournal:
    """An open journal, the epoch that orders carry with it, and where a halt is kept besides."""

    journal: Journal
    epoch: int
    halt_flag: HaltFlagFile
    parts: JournalParts | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A shared journal whose lease this engine has, and the settings with the port it stood by on.

    `opened` is None where the process was told to stop before its turn came.
    """

    settings: EngineSettings
    opened: OpenJournal | None


async def open_file(settings: EngineSettings, stack: AsyncExitStack, clock: Clock) -> OpenJournal:
    """Open the engine's own journal; raises JournalError."""
    journal = SqliteJournal(settings.journal_path, clock=clock)
    await journal.open()
    stack.push_async_callback(journal.close)
    flag = HaltFlagFile(halt_path(settings.journal_path))
    return OpenJournal(journal, journal.epoch, flag, journal)


async def take_turn(
    settings: EngineSettings,
    shared: SharedJournalSettings,
    stack: AsyncExitStack,
    *,
    clock: Clock,
    metrics: ServiceMetrics,
    leadership: Leadership,
    stop: asyncio.Event,
) -> Turn:
    """Open the shared journal; while another engine works, stand by: health and refusals alone.

    Raises JournalError where the database cannot be used.
    """
    standing = metrics.gauge("standing_by", "1 while another engine works the shared journal.")
    journal = _shared_journal(shared, stack, clock, leadership)
    holder: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    tasks = OwnedTasks()
    stack.push_async_callback(tasks.close)
    opening = tasks.spawn(_open(journal, holder.set_result, tasks), "journal-open")
    first: set[asyncio.Future[Any]] = {opening, holder}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        standing.set(1)
        over = asyncio.Event()
        opening.add_done_callback(lambda _: over.set())
        tasks.spawn(_pass_on(stop, over), "stop-standing-by")
        who = f"{holder.result()} works the journal {shared.book}"
        settings = await serve_standby(settings, metrics, who, over)
        standing.set(0)
    if not opening.done():
        return Turn(settings, None)
    await opening
    flag = HaltFlagFile(halt_path(settings.journal_path), is_current=journal.is_continued)
    return Turn(settings, OpenJournal(journal, journal.epoch, flag, journal))


async def _open(
    journal: PostgresJournal, waiting: Callable[[str], None], tasks: OwnedTasks
) -> None:
    await journal.open(waiting)
    # At once: the standby's last calls may take longer to end than the term.
    tasks.spawn(journal.keep(), "lease")


def _shared_journal(
    shared: SharedJournalSettings, stack: AsyncExitStack, clock: Clock, leadership: Leadership
) -> PostgresJournal:
    password = None if shared.password_file is None else read_secret(shared.password_file)

    async def open_session() -> DriverSession:
        return await connect(shared.url, password, name=f"opensqt-engine {shared.holder}")

    seconds = shared.call_timeout.total_seconds()
    # One each: a write that hangs must not keep the lease from being renewed.
    for_lease, for_rows = (SessionSource(open_session, seconds) for _ in range(2))
    stack.push_async_callback(for_lease.close)
    lease = PostgresLease(for_lease, clock, shared.book, shared.holder, shared.lease_term)
    journal = PostgresJournal(for_rows, lease, shared.book, leadership)
    stack.push_async_callback(journal.close)
    return journal


async def _pass_on(first: asyncio.Event, then: asyncio.Event) -> None:
    await first.wait()
    then.set()
