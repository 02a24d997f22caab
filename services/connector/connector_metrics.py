"""The connector's own figures for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.common.metrics import ServiceMetrics
    from services.connector.profile import EndpointClass


class ConnectorMetrics:
    """Counters of waits for the venue's rate limits."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._waits = metrics.counter(
            "rate_limit_waits_total",
            "Requests that waited for the venue's rate limit",
            ("endpoint_class",),
        )
        self._wait_seconds = metrics.counter(
            "rate_limit_wait_seconds_total",
            "Time that requests waited for the venue's rate limit",
            ("endpoint_class",),
        )

    def count_wait(self, endpoint_class: EndpointClass, seconds: float) -> None:
        """Count one wait."""
        self._waits.labels(endpoint_class.value).inc()
        self._wait_seconds.labels(endpoint_class.value).inc(seconds)
