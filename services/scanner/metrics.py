"""Metrics of the scanner; labels come from fixed sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.common.metrics import ServiceMetrics


class PoolMetrics:
    """Gauges and histograms of the worker pool."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.size = metrics.gauge("workers", "Workers of the pool.")
        self.busy = metrics.gauge("workers_busy", "Workers with a task.")
        self.queued = metrics.gauge("worker_queue_length", "Tasks that wait for a worker.")
        self.wait_seconds = metrics.histogram("task_wait_seconds", "From queue to worker.")
        self.task_seconds = metrics.histogram("task_duration_seconds", "Time of a task.", ("task",))
        self.tasks = metrics.counter("tasks", "Tasks ended.", ("task", "outcome"))


class ScannerMetrics:
    """Counts scans, what they found and the calls they made."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.pool = PoolMetrics(metrics)
        self.scans = metrics.counter("scans", "Scans ended, by state.", ("state",))
        self.scan_seconds = metrics.histogram(
            "scan_duration_seconds",
            "Time of a scan.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600),
        )
        self.venue_calls = metrics.counter(
            "venue_calls", "Calls to connectors, by outcome.", ("exchange", "method", "outcome")
        )
        self.symbols = metrics.gauge("symbols", "Perpetuals analysed by the last scan.")
        self.opportunities = metrics.gauge("opportunities", "Opportunities published now.")
        self.excluded = metrics.gauge(
            "excluded_instruments", "Left out by the last scan, by reason.", ("reason",)
        )
        self.last_scan_time = metrics.gauge(
            "last_scan_timestamp_seconds", "When the last scan that published ended."
        )
        self.subscribers = metrics.gauge("subscribers", "Open watch streams.")
