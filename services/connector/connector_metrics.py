"""The connector's own figures for Prometheus."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from services.common.metrics import FINE_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from services.common.metrics import ServiceMetrics
    from services.connector.venue import RequestOutcome


class ConnectorMetrics:
    """Orders by their end, streams, unreadable rows, and waits for the venue's rate limits."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._orders = metrics.counter(
            "orders_total", "Orders by the verdict on their sending", ("verdict",)
        )
        self._order_seconds = metrics.histogram(
            "order_send_seconds", "Time from sending an order to the end of its request"
        )
        self._doubts = metrics.counter(
            "order_doubts_resolved_total", "Orders in doubt by what was proven", ("outcome",)
        )
        self._suspicions = metrics.counter(
            "order_absences_contradicted_total",
            "Orders the venue does not know although a trade or the position may be theirs",
        )
        self._stream_up = metrics.gauge(
            "order_stream_up", "1 while the venue sends this account's orders; NaN without a key"
        )
        # Market data alone needs no stream of orders, and no alert that it is down.
        self._stream_up.set(math.nan)
        self._silence = metrics.gauge(
            "order_stream_silence_seconds",
            "Time since the order stream was last known to be alive",
        )
        self._drops = metrics.counter("order_stream_drops_total", "Drops of the order stream")
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
        self._rate_refusals = metrics.counter(
            "rate_limit_refusals_total",
            "Requests not sent because the venue's rate limit would have outlasted their caller",
            ("endpoint_class",),
        )
        self._pause_end = metrics.gauge(
            "venue_pause_end_timestamp_seconds",
            "Until when the venue asked for silence (Unix time): of one class, or (all) by a ban",
            ("endpoint_class",),
        )
        self._limit_refusals = metrics.counter(
            "limit_refusals_total",
            "Orders that the connector's own limits refused, by reason",
            ("reason",),
        )
        self._trading_halted = metrics.gauge(
            "trading_halted", "1 while the halt file lets nothing be opened on this account"
        )
        self._bad_rows = metrics.counter(
            "bad_rows_total", "Rows of the venue that could not be read, by kind", ("kind",)
        )
        self._garbage_pause = metrics.gauge(
            "garbage_pause_longest_seconds", "Longest collection of garbage since the start"
        )
        self._clock_skew = metrics.gauge(
            "clock_skew_seconds", "The venue's clock less ours, as last measured"
        )
        self._paper = metrics.gauge(
            "paper", "1 where orders and account are made up (paper trading), 0 on a venue"
        )
        self._add_streams(metrics)
        self._add_requests(metrics)
        self._add_ledger(metrics)

    def _add_streams(self, metrics: ServiceMetrics) -> None:
        # Labels by stream and kind of row, never by symbol: a venue lists hundreds of those.
        self._stream_events = metrics.counter(
            "stream_events_total",
            "Drops, resumes and readers ended for being slow, by stream",
            ("stream", "event"),
        )
        self._stream_silence = metrics.gauge(
            "stream_silence_seconds",
            "Time since the quietest running stream of a kind brought or read rows, 0 with none",
            ("stream",),
        )

    def _add_requests(self, metrics: ServiceMetrics) -> None:
        requests = metrics.counter(
            "venue_requests_total",
            "Requests to the venue by how they ended",
            ("endpoint_class", "outcome"),
        )
        request_seconds = metrics.histogram(
            "venue_request_duration_seconds",
            "From a request leaving to its answer, read and parsed",
            ("endpoint_class",),
        )
        # Found by their labels once: that costs an order more than counting.
        self._requests = cache(lambda name, outcome: requests.labels(name, outcome))
        self._request_seconds = cache(lambda name: request_seconds.labels(name))
        self._budget_used = metrics.gauge(
            "rate_budget_used_ratio",
            "Share of the venue's allowance that is spent, of the fullest window",
            ("endpoint_class",),
        )

    def _add_ledger(self, metrics: ServiceMetrics) -> None:
        self._ledger_seconds = metrics.histogram(
            "ledger_write_seconds", "One durable write, its wait included", buckets=FINE_BUCKETS
        )
        self._ledger_failures = metrics.counter(
            "ledger_failures_total", "Durable writes that failed; their orders were not sent"
        )
        self._ledger_failing = metrics.gauge(
            "ledger_failing", "1 while the last durable write failed: no order is sent"
        )

    def mark_paper(self, *, is_paper: bool) -> None:
        """Say whether orders and account are made up."""
        self._paper.set(is_paper)

    def count_order(self, verdict: str, seconds: float) -> None:
        """Count one sending and its time."""
        self._orders.labels(verdict).inc()
        self._order_seconds.observe(seconds)

    def count_resolved(self, outcome: str) -> None:
        """Count one order in doubt that was proven found or not arrived."""
        self._doubts.labels(outcome).inc()

    def count_suspicion(self) -> None:
        """Count one order in doubt whose absence a trade or the position speaks against."""
        self._suspicions.inc()

    def watch_garbage(self, read: Callable[[], float]) -> None:
        """Show the longest collection, which `read` returns."""
        self._garbage_pause.set_function(read)

    def watch_silence(self, read: Callable[[], float]) -> None:
        """Show what `read` returns, whenever the figures are asked for."""
        self._silence.set_function(read)

    def expect_stream(self) -> None:
        """Show the order stream as down until it is up: this account is to have one."""
        self._stream_up.set(0)

    def show_stream(self, *, up: bool) -> None:
        """Show whether the order stream is up, and count its drops."""
        self._stream_up.set(1 if up else 0)
        if not up:
            self._drops.inc()

    def count_wait(self, endpoint_class: str, seconds: float) -> None:
        """Count one wait for the rate limit."""
        self._waits.labels(str(endpoint_class)).inc()
        self._wait_seconds.labels(str(endpoint_class)).inc(seconds)

    def count_rate_refusal(self, endpoint_class: str) -> None:
        """Count one request that was not sent for the rate limit's sake."""
        self._rate_refusals.labels(str(endpoint_class)).inc()

    def show_pause(self, endpoint_class: str | None, end: datetime) -> None:
        """Show until when the venue wants silence: of one class, or (None) of everything."""
        label = "all" if endpoint_class is None else str(endpoint_class)
        self._pause_end.labels(label).set(end.timestamp())

    def count_limit_refusal(self, reason: str) -> None:
        """Count one order that the limits refused."""
        self._limit_refusals.labels(reason).inc()

    def watch_halt(self, read: Callable[[], bool]) -> None:
        """Show whether opening is halted; `read` is called on the exporter's thread."""
        self._trading_halted.set_function(read)

    def count_stream_event(self, stream: str, event: str) -> None:
        """Count a `drop`, a `resume` or a `slow_subscriber` of a stream that callers follow."""
        self._stream_events.labels(stream, event).inc()

    def watch_stream_silence(self, stream: str, read: Callable[[], float]) -> None:
        """Show what `read` returns for streams of that name, whenever the figures are asked for."""
        self._stream_silence.labels(stream).set_function(read)

    def count_request(self, endpoint_class: str, outcome: RequestOutcome, seconds: float) -> None:
        """Count one request that left, how it ended and how long it took."""
        self._requests(str(endpoint_class), outcome.value).inc()
        self._request_seconds(str(endpoint_class)).observe(seconds)

    def watch_budget(self, endpoint_class: str, read: Callable[[], float]) -> None:
        """Show what `read` returns for that class, whenever the figures are asked for."""
        self._budget_used.labels(endpoint_class).set_function(read)

    def watch_clock(self, read: Callable[[], float]) -> None:
        """Show the skew that `read` returns."""
        self._clock_skew.set_function(read)

    def ledger_written(self, seconds: float) -> None:
        """Observe one durable write."""
        self._ledger_seconds.observe(seconds)
        self._ledger_failing.set(0)

    def ledger_failed(self) -> None:
        """Count a write that failed, and show that orders wait for the ledger."""
        self._ledger_failures.inc()
        self._ledger_failing.set(1)

    def count_bad_rows(self, kind: str, count: int) -> None:
        """Count malformed rows that were left out or refused."""
        self._bad_rows.labels(kind).inc(count)
