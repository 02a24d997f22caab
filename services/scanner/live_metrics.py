"""Metrics of what keeps published opportunities fresh; labels come from fixed sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.common.metrics import ServiceMetrics


class LiveMetrics:
    """Gaps of streams, rows that could not be read, and the age of what is published."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.gaps = metrics.counter(
            "live_stream_gaps",
            "Streams of the best opportunities that broke.",
            ("exchange", "stream", "cause"),
        )
        self.malformed = metrics.counter(
            "live_rows_malformed", "Rows of streams that could not be used.", ("exchange", "stream")
        )
        self.streams = metrics.gauge("live_streams", "Streams open for the best opportunities.")
        self._oldest_age = metrics.gauge(
            "oldest_published_age_seconds",
            "Age of the oldest rate, price or book behind a published opportunity.",
        )

    def watch_age(self, read: Callable[[], float]) -> None:
        """Let the gauge of the oldest age ask `read`."""
        self._oldest_age.set_function(read)
