"""Where a scan stands: what it has done, found, left out and missed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from services.scanner.instruments import Exclusion
    from services.scanner.task_runner import TaskEnd
    from services.scanner.tasks import VenueTask
    from services.scanner.venue_codec import Reading


class ScanState(StrEnum):
    """RUNNING, or how a scan ended."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


def _without_end() -> float | None:
    return None


@dataclass(slots=True, eq=False)
class ScanRecord:
    """One scan. Mutable: it is filled while the scan runs, by the scan alone."""

    scan_id: str
    start_time: datetime
    state: ScanState = ScanState.RUNNING
    end_time: datetime | None = None
    task_count: int = 0
    ended_task_count: int = 0
    failed_task_count: int = 0
    perpetual_count: int = 0
    symbol_count: int = 0
    opportunity_count: int = 0
    count_calls: Callable[[], int] = int
    seconds_to_read: Callable[[], float | None] = _without_end
    exclusions: tuple[Exclusion, ...] = ()
    missing_parts: tuple[str, ...] = ()
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, end: TaskEnd[VenueTask, Reading]) -> None:
        """Count a task that ended."""
        self.ended_task_count += 1
        if end.error is not None:
            self.failed_task_count += 1

    @property
    def venue_call_count(self) -> int:
        """Calls made to connectors so far."""
        return self.count_calls()

    def elapsed(self, now: datetime) -> timedelta:
        """Return how long the scan took, or has taken so far."""
        return (self.end_time or now) - self.start_time
