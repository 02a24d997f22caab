"""Metrics of the scanner; labels come from fixed sets."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import TYPE_CHECKING

from services.scanner.live_metrics import LiveMetrics
from services.scanner.task_runner import TaskPriority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from services.common.metrics import ServiceMetrics

RANKS = 10
"""Opportunities that have a gauge; a rank is a label of a fixed set, a symbol would not be."""


class PoolMetrics:
    """Gauges and histograms of the worker pool."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.size = metrics.gauge("workers", "Workers there are to be.")
        self.busy = metrics.gauge("workers_busy", "Workers with a task.")
        self.abandoned = metrics.gauge(
            "tasks_abandoned", "Tasks that go on though cancelled; each takes a place of its venue."
        )
        self._queued = metrics.gauge(
            "worker_queue_length", "Tasks that wait for a worker.", ("exchange",)
        )
        self._running = metrics.gauge("tasks_running", "Tasks under way.", ("exchange",))
        wait_seconds = metrics.histogram(
            "task_wait_seconds", "From the batch's arrival to the worker.", ("priority",)
        )
        task_seconds = metrics.histogram("task_duration_seconds", "Time of a task.", ("task",))
        tasks = metrics.counter("tasks", "Tasks ended.", ("task", "outcome"))
        # Looked up by their labels once: finding them costs as much as counting.
        # All from the start: a series that begins with its last value has no rate.
        self._wait_seconds = {each: wait_seconds.labels(each.name.lower()) for each in TaskPriority}
        self._task_seconds = cache(lambda task: task_seconds.labels(task))
        self._tasks = cache(lambda task, outcome: tasks.labels(task, outcome))

    def follow(
        self,
        venues: Iterable[str],
        waiting_count: Callable[[str], int],
        running_count: Callable[[str], int],
    ) -> None:
        """Read the counts of these venues whenever the metrics are asked for."""
        for venue in venues:
            self._queued.labels(venue).set_function(partial(waiting_count, venue))
            self._running.labels(venue).set_function(partial(running_count, venue))

    def waited(self, priority: TaskPriority, seconds: float) -> None:
        """Note how long a task waited for a worker."""
        self._wait_seconds[priority].observe(seconds)

    def ended(self, task: str, outcome: str, seconds: float) -> None:
        """Count a task that ended: done, failed, timeout or cancelled."""
        self._tasks(task, outcome).inc()
        self._task_seconds(task).observe(seconds)


class ScannerMetrics:
    """Counts scans, what they found and the calls they made."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.pool = PoolMetrics(metrics)
        self.live = LiveMetrics(metrics)
        self.scans = metrics.counter("scans", "Scans ended, by state.", ("state",))
        self.scan_seconds = metrics.histogram(
            "scan_duration_seconds",
            "Time of a scan.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600),
        )
        self.venue_calls = metrics.counter(
            "venue_calls", "Calls to connectors, by outcome.", ("exchange", "method", "outcome")
        )
        self.scan_interval = metrics.gauge(
            "scan_interval_seconds", "Pause between scans; 0 where they run only when asked for."
        )
        self.lifetime = metrics.gauge(
            "opportunity_lifetime_seconds",
            "How long after its oldest figure an opportunity stands.",
        )
        self.coverage = metrics.gauge(
            "scan_coverage_ratio", "Perpetuals analysed by the last scan over those listed."
        )
        self._net_apr = metrics.gauge(
            "opportunity_net_apr_ratio", "Net APR of the best opportunities, by rank.", ("rank",)
        )
        self.symbols = metrics.gauge("symbols", "Perpetuals analysed by the last scan.")
        self.opportunities = metrics.gauge("opportunities", "Opportunities published now.")
        self.excluded = metrics.gauge(
            "excluded_instruments", "Left out by the last scan, by reason.", ("reason",)
        )
        self.last_scan_time = metrics.gauge(
            "last_scan_timestamp_seconds", "When the last scan that published ended."
        )
        self.history_write_failures = metrics.counter(
            "history_write_failures", "Histories that could not be written to their file."
        )
        self.subscribers = metrics.gauge("subscribers", "Open watch streams.")

    def watch_best(self, read: Callable[[], Sequence[float]]) -> None:
        """Show the net APRs that `read` returns, best first, whenever the metrics are asked for."""

        def at(index: int) -> float:
            found = read()
            return found[index] if index < len(found) else math.nan

        for index in range(RANKS):
            self._net_apr.labels(str(index + 1)).set_function(partial(at, index))
