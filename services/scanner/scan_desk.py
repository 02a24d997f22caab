"""Starts, joins, repeats, cancels and remembers scans; one runs at a time."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from services.common.errors import NotFoundError, UnreachableError
from services.common.logs import get_logger
from services.scanner.moments import moment_of
from services.scanner.pauses import pause_after
from services.scanner.progress import ScanRecord, ScanState
from services.scanner.scan_traces import ScanTraces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.common.clock import Clock
    from services.common.ids import Ids
    from services.scanner.board import Board
    from services.scanner.findings import Findings
    from services.scanner.metrics import ScannerMetrics
    from services.scanner.moments import Moment

KEPT_SCANS = 100
KEPT_REQUESTS = 10_000
_EXPIRY_SECONDS = 1.0
_log = get_logger(__name__)


class ScanDesk:
    """Use `run` as the task that owns scans; without it nothing starts."""

    def __init__(
        self,
        scan: Callable[[ScanRecord], Awaitable[Findings]],
        board: Board,
        *,
        interval_seconds: float,
        timeout_seconds: float,
        call_count: Callable[[], int],
        ids: Ids,
        clock: Clock,
        metrics: ScannerMetrics,
        traces: ScanTraces | None = None,
    ) -> None:
        self._scan = scan
        self._board = board
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._call_count = call_count
        self._ids = ids
        self._clock = clock
        self._metrics = metrics
        self._traces = traces or ScanTraces()
        self._records: OrderedDict[str, ScanRecord] = OrderedDict()
        self._requests: OrderedDict[str, str] = OrderedDict()
        self._group: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._running: ScanRecord | None = None
        self._canceled_by_caller: set[ScanRecord] = set()
        self.last_published: ScanRecord | None = None

    @property
    def is_scanning(self) -> bool:
        """Whether a scan is under way."""
        return self._running is not None

    async def run(self) -> None:
        """Own the scans until cancelled: expire what is old and, with an interval, repeat scans."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._expire_regularly())
                if self._interval_seconds > 0:
                    group.create_task(self._repeat())
        finally:
            self._group = None

    def start(self, request_id: str) -> ScanRecord:
        """Start a scan, or join the one that runs; a repeated `request_id` gets the same scan.

        Raises UnreachableError while the service is stopping.
        """
        known = self._records.get(self._requests.get(request_id, ""))
        if known is not None:
            return known
        # Two scans at once would ask the venues twice for the same; the second caller joins.
        record = self._running or self._begin()
        self._requests[request_id] = record.scan_id
        while len(self._requests) > KEPT_REQUESTS:
            self._requests.popitem(last=False)
        return record

    def get(self, scan_id: str) -> ScanRecord:
        """Return a scan, the latest for an empty id; raise NotFoundError SCAN_NOT_FOUND."""
        if not scan_id and self._records:
            return next(reversed(self._records.values()))
        record = self._records.get(scan_id)
        if record is None:
            raise NotFoundError(
                f"no scan {scan_id!r} is remembered" if scan_id else "no scan was started yet",
                reason="SCAN_NOT_FOUND",
            )
        return record

    async def cancel(self, scan_id: str) -> ScanRecord:
        """Cancel a scan with its tasks and return it once it ended; one that ended stays as it is.

        Raises NotFoundError SCAN_NOT_FOUND for an unknown id, or when none was named and none runs.
        """
        if not scan_id and self._running is None:
            raise NotFoundError("no scan is running", reason="SCAN_NOT_FOUND")
        record = self.get(scan_id) if scan_id else self._running
        if record is not None and record is self._running and self._task is not None:
            self._canceled_by_caller.add(record)
            self._task.cancel()
            await record.ended.wait()
        return self.get(record.scan_id if record is not None else scan_id)

    def _begin(self) -> ScanRecord:
        if self._group is None:
            raise UnreachableError("the service is not running scans", reason="SHUTTING_DOWN")
        record = ScanRecord(self._ids.new_id(), self._clock.now())
        self._records[record.scan_id] = record
        # Bounded: a scanner that runs for months starts tens of thousands of scans.
        while len(self._records) > KEPT_SCANS:
            self._records.popitem(last=False)
        self._running = record
        self._task = self._group.create_task(self._supervise(record))
        return record

    async def _supervise(self, record: ScanRecord) -> None:
        """Run one scan to its end.

        Whatever happens to it, the record says so and the desk goes on.
        """
        began = moment_of(self._clock)
        span = self._traces.begin(record.scan_id)
        calls_before = self._call_count()
        record.count_calls = lambda: self._call_count() - calls_before
        until = self._clock.monotonic() + self._timeout_seconds
        # Half of what is left for each batch: one that hangs leaves the next ones their time, and
        # the scan publishes what it has read instead of nothing.
        record.seconds_to_read = lambda: max(0.0, (until - self._clock.monotonic()) / 2)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                findings = await self._scan(record)
            self._publish(record, findings, began)
            self._traces.published(span, record, findings)
        except asyncio.CancelledError:
            record.state = ScanState.CANCELED
            # Cancelled by a caller, only the scan ends; cancelled with the desk, so does
            # everything.
            if record not in self._canceled_by_caller:
                raise
        except TimeoutError:
            record.state = ScanState.FAILED
            record.missing_parts = (f"the scan took longer than {self._timeout_seconds:g} s",)
        except Exception:
            _log.exception("scan_failed", scan_id=record.scan_id)
            record.state = ScanState.FAILED
            record.missing_parts = ("the scan failed by an error of its own; the log has it",)
        finally:
            self._end(record)
            self._traces.end(span, record)

    def _publish(self, record: ScanRecord, findings: Findings, began: Moment) -> None:
        record.exclusions = findings.exclusions
        record.missing_parts = findings.missing_parts
        record.opportunity_count = len(findings.opportunities)
        if findings.is_blind:
            # An empty list would say that nothing qualifies; the truth is that nobody could look.
            record.state = ScanState.FAILED
            return
        self._board.publish(findings, began)
        record.state = ScanState.PARTIAL if findings.missing_parts else ScanState.SUCCEEDED
        self.last_published = record
        self._metrics.last_scan_time.set(self._clock.now().timestamp())
        self._metrics.symbols.set(record.symbol_count)
        self._metrics.coverage.set(record.symbol_count / max(record.perpetual_count, 1))
        # Reasons of the scan before that no longer occur must not stay at their old counts.
        self._metrics.excluded.clear()
        for reason, count in Counter(each.reason for each in findings.exclusions).items():
            self._metrics.excluded.labels(reason.value).set(count)

    def _end(self, record: ScanRecord) -> None:
        calls = record.venue_call_count
        record.count_calls = lambda: calls
        record.end_time = self._clock.now()
        self._running = self._task = None
        self._canceled_by_caller.discard(record)
        record.ended.set()
        seconds = record.elapsed(record.end_time).total_seconds()
        self._metrics.scans.labels(record.state.value).inc()
        self._metrics.scan_seconds.observe(seconds)
        _log.info(
            "scan_ended",
            scan_id=record.scan_id,
            state=record.state.value,
            seconds=seconds,
            perpetuals=record.perpetual_count,
            symbols=record.symbol_count,
            opportunities=record.opportunity_count,
            venue_calls=record.venue_call_count,
            missing_parts=list(record.missing_parts),
        )

    async def _repeat(self) -> None:
        incomplete = 0
        while True:
            record = self._running or self._begin()
            await record.ended.wait()
            lacks = record.state in (ScanState.FAILED, ScanState.PARTIAL)
            incomplete = incomplete + 1 if lacks else 0
            await self._clock.sleep(pause_after(self._interval_seconds, incomplete))

    async def _expire_regularly(self) -> None:
        while True:
            await self._clock.sleep(_EXPIRY_SECONDS)
            self._board.expire()
