"""The one writer of the ledger's file: jobs in, commits out, urgent ones first.

Jobs that wait together share one commit, because the fsync is the whole cost of a row. What makes
exposure smaller waits for the commit under way at most, however many other rows are queued. A
thread does the work, and checkpoints; but waking it costs an order more than the row itself, so
`brief` jobs of one turn of the event loop are committed there while thread and disk allow it, and
`patient` ones, which nobody waits for, go with the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.common.errors import PreconditionError
from services.connector.ledger_pace import CommitPace

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_BATCH: Final = 256
_PATIENCE_SECONDS: Final = 0.01
"""How long a patient job may wait for one to share its commit with."""

_CHECKPOINT_JOBS: Final = 256
"""After so many jobs the thread moves the log into the file, which commits do not."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    is_short: bool = False

    def settle(self, result: Any, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

    def settle_from_thread(self, result: Any, error: Exception | None) -> None:
        # The loop may be gone when the process is on its way out; then nobody waits.
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.settle, result, error)


_Settled = tuple[_Job, Any, Exception | None]


class LedgerWriter:
    """Runs jobs on a connection, its thread's or the loop's, in batches of one transaction each."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._urgent: deque[_Job] = deque()
        self._others: deque[_Job] = deque()
        self._signals: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._closed = False
        self._awake = False
        self._nudge: asyncio.TimerHandle | None = None
        self._pace = CommitPace()
        # Whoever holds it has the connection and takes jobs.
        self._turn = threading.Lock()
        self._is_turn_ending = False
        self._since_checkpoint = 0
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Run what is queued, stop the thread and close the connection."""
        self._closed = True
        self._signals.put(False)
        self._thread.join()

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        urgent: bool,
        patient: bool = False,
        brief: bool = False,
    ) -> T:
        """Run a job inside a transaction and return its result once that is committed.

        A `brief` job is a statement or two: the event loop may do it.

        Raises what the job raised, sqlite3.Error when the commit failed, PreconditionError
        (LEDGER_UNAVAILABLE) after `close`.
        """
        if self._closed:
            raise PreconditionError("the order ledger is closed", reason="LEDGER_UNAVAILABLE")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(work, future, loop, is_short=brief or patient)
        (self._urgent if urgent else self._others).append(job)
        if brief:
            if not self._is_turn_ending:
                # At the end of the turn: what comes in it from other orders shares the commit.
                self._is_turn_ending = True
                loop.call_soon(self._end_turn)
        elif not patient:
            self._wake()
        elif self._nudge is None:
            self._nudge = loop.call_later(_PATIENCE_SECONDS, self._wake)
        return await future

    def _end_turn(self) -> None:
        self._is_turn_ending = False
        begun = time.perf_counter()
        # The thread at work on the file: it takes these next.
        if not self._pace.is_quick(begun) or not self._turn.acquire(blocking=False):
            self._wake()
            return
        try:
            # A long read among them would hold every call up: the thread does them all then.
            is_short = all(job.is_short for job in (*self._urgent, *self._others))
            settled = self._run_batch(self._take()) if is_short else []
        finally:
            self._turn.release()
        if not is_short:
            self._wake()
            return
        self._cancel_nudge()
        now = time.perf_counter()
        self._pace.note(now, now - begun)
        for job, result, failure in settled:
            job.settle(result, failure)
        if self._since_checkpoint >= _CHECKPOINT_JOBS:
            self._wake()

    def _cancel_nudge(self) -> None:
        if self._nudge is not None:
            self._nudge.cancel()
            self._nudge = None

    def _wake(self) -> None:
        self._cancel_nudge()
        # The thread takes the mark off with the signal and then looks for jobs: none is left.
        if not self._awake:
            self._awake = True
            self._signals.put(True)

    def _run(self) -> None:
        going = True
        while going or self._urgent or self._others:
            if not self._urgent and not self._others:
                # Blocks in its own thread, until there is something to do.
                going = self._signals.get() and going
                self._awake = False
            with self._turn:
                settled = self._run_batch(self._take())
            for job, result, failure in settled:
                job.settle_from_thread(result, failure)
            if self._since_checkpoint >= _CHECKPOINT_JOBS:
                self._checkpoint()
        self._connection.close()

    def _checkpoint(self) -> None:
        # What cannot be moved now stays in the log, as durable as in the file.
        with self._turn, contextlib.suppress(sqlite3.Error):
            self._since_checkpoint = 0
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _take(self) -> list[_Job]:
        batch: list[_Job] = []
        for lane in (self._urgent, self._others):
            while lane and len(batch) < _BATCH:
                batch.append(lane.popleft())
        return batch

    def _run_batch(self, batch: list[_Job]) -> list[_Settled]:
        if not batch:
            return []
        self._since_checkpoint += len(batch)
        results: list[tuple[Any, Exception | None]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [self._try(job) for job in batch]
            self._connection.execute("COMMIT")
        except Exception as error:
            # On a broken disk this fails too; the thread must live, or all would wait for ever.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            # No job has happened, and all learn it.
            return [(job, None, error) for job in batch]
        return [(job, *result) for job, result in zip(batch, results, strict=True)]

    def _try(self, job: _Job) -> tuple[Any, Exception | None]:
        try:
            return job.work(self._connection), None
        except Exception as error:
            # A statement that fails undoes itself; a disk that fails undoes the transaction.
            if not self._connection.in_transaction:
                raise
            return None, error
