"""Metrics of the shared work queue; there are none without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.common.metrics import ServiceMetrics


class QueueMetrics:
    """Whether the queue's server is there, and what becomes of tasks here.

    Events of those this process wants: sent, ended, withdrawn, unwanted (an end that came twice or
    too late). Of those it works: worked, repeated (taken before by another), returned (refused for
    now), poisoned.
    """

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.connected = metrics.gauge("queue_connected", "Whether the queue's server is there.")
        self.tasks = metrics.counter("queue_tasks", "Tasks of the shared queue.", ("event",))
        self.published = metrics.counter(
            "queue_opportunities", "Opportunities put on their subjects.", ("event",)
        )
