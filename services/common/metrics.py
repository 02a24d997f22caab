"""Prometheus: one registry per process, made by the composition root and passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from services.common.errors import FatalError

if TYPE_CHECKING:
    from types import TracebackType

    from services.common.settings import MetricsSettings

LATENCY_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
"""Seconds; the fine end shows our own cost, the coarse end a slow venue."""


def exemplar_of(position_id: str) -> dict[str, str] | None:
    """Return what marks an observation in a histogram by its position; none without an id.

    Exemplars cost no series, so an id may stand there; OpenMetrics allows 128 characters.
    """
    return {"position_id": position_id[:100]} if position_id else None


class ServiceMetrics:
    """Makes the metrics of one service, named `opensqt_<service>_<thing>_<unit>`.

    Holds those of gRPC calls itself. Labels come from fixed sets: never an order id, never a
    caller.
    """

    def __init__(self, service: str, registry: CollectorRegistry | None = None) -> None:
        self.service = service
        # Not the library's global one: two services in one process would collide in it.
        self.registry = CollectorRegistry() if registry is None else registry
        self.calls = self.counter("grpc_requests", "Calls finished, by code.", ("method", "code"))
        self.call_seconds = self.histogram(
            "grpc_request_duration_seconds", "From arrival to last reply.", ("method",)
        )
        self.calls_in_flight = self.gauge("grpc_requests_in_flight", "Calls at work.", ("method",))
        self._of_method: dict[str, MethodFigures] = {}

    def of_method(self, method: str) -> MethodFigures:
        """Return the figures of one gRPC method, looked up by its label once."""
        found = self._of_method.get(method)
        if found is None:
            found = self._of_method[method] = MethodFigures(self, method)
        return found

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """Return a new counter; the exposition adds `_total` to its name."""
        return Counter(self._name(name), text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """Return a new gauge."""
        return Gauge(self._name(name), text, labels, registry=self.registry)

    def histogram(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = LATENCY_BUCKETS,
    ) -> Histogram:
        """Return a new histogram, by default with buckets for latencies in seconds."""
        return Histogram(self._name(name), text, labels, registry=self.registry, buckets=buckets)

    def add_process_metrics(self) -> None:
        """Add memory, CPU, open files and the Python version of this process; once per registry."""
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def _name(self, name: str) -> str:
        return f"opensqt_{self.service}_{name}"


FINE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)
"""Seconds, for what takes no network: a durable write, the gap between two sends."""


class CurrentGauge:
    """A gauge of the labels that exist now: those that are gone leave the exposition.

    A closed position would else show its last value for ever, and its labels would pile up.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._shown: set[tuple[str, ...]] = set()

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Show these values, keyed by their labels, and no others."""
        for labels in self._shown - values.keys():
            self._gauge.remove(*labels)
        for labels, value in values.items():
            self._gauge.labels(*labels).set(value)
        self._shown = set(values)


class MethodFigures:
    """The metrics of one gRPC method: finding them by label costs more than counting."""

    def __init__(self, metrics: ServiceMetrics, method: str) -> None:
        self.in_flight = metrics.calls_in_flight.labels(method)
        self.seconds = metrics.call_seconds.labels(method)
        self._calls = metrics.calls
        self._method = method
        self._finished: dict[str, Counter] = {}

    def finished(self, code: str) -> Counter:
        """Return the counter of calls that ended with `code`, one of gRPC's seventeen."""
        found = self._finished.get(code)
        if found is None:
            found = self._finished[code] = self._calls.labels(self._method, code)
        return found


class MetricsExporter:
    """Serves a registry over HTTP from its own thread; use as a context manager."""

    def __init__(self, settings: MetricsSettings, registry: CollectorRegistry) -> None:
        """Listen at once; raise FatalError PORT_TAKEN where that cannot be."""
        wanted = f"{settings.host}:{settings.port}"
        # Each counter and histogram would have one more series, which tells when it was made.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the package leaves it untyped
        try:
            # A thread of its own: a scrape is answered even while the event loop is busy.
            self._server, self._thread = start_http_server(
                settings.port, addr=settings.host, registry=registry
            )
        except OSError as error:
            problem = f"cannot serve metrics on {wanted}: is the port taken? ({error.strerror})"
            raise FatalError(problem, reason="PORT_TAKEN") from error
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening and wait for the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def __enter__(self) -> Self:
        """Return the exporter, which listens already."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close the exporter."""
        self.close()
