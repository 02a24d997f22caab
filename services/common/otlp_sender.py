"""Sends ended spans to an OTLP receiver, from a thread of its own.

A receiver that is away costs the service nothing: spans wait in a bounded queue, the newest are
dropped when it is full, and one line tells of it until the receiver is back.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, TraceFlags
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace.status import Status, StatusCode

from services.common.logs import get_logger
from services.common.masking import cap_text, mask_text
from services.common.secrets_files import read_secret
from services.common.tls import channel_credentials
from services.common.tracing import SpanKind

if TYPE_CHECKING:
    from services.common.clock import Clock
    from services.common.trace_context import TraceContext
    from services.common.tracing import Fact, Span
    from services.common.tracing_settings import TracingSettings

MOST_WAITING: Final = 4_096
"""Spans kept for a receiver that is slow or away: some four hundred entries."""

BATCH: Final = 32
"""Spans of one call: the encoding of so few holds the interpreter for about a millisecond."""

PAUSE_SECONDS: Final = 1.0
"""Between two looks at the queue: a span is a second late at most while all goes well."""

MOST_CHARACTERS: Final = 1_000
"""Of one text of a span."""

CLOSE_SECONDS: Final = 2.0
"""How long the end of a service waits for its last spans to leave."""

_SCOPE: Final = InstrumentationScope("opensqt")
_KINDS: Final = {
    SpanKind.INTERNAL: OtelKind.INTERNAL,
    SpanKind.SERVER: OtelKind.SERVER,
    SpanKind.CLIENT: OtelKind.CLIENT,
}
_OK: Final = Status(StatusCode.UNSET)
_log = get_logger(__name__)


class OtlpSender:
    """Takes spans from the event loop by `put` and sends them until `close`."""

    def __init__(self, settings: TracingSettings, service: str, clock: Clock) -> None:
        self._clock = clock
        self._address = settings.address
        self._resource = _resource(settings.service_name or f"opensqt-{service}")
        self._exporter = _exporter(settings)
        self._waiting: deque[Span] = deque()
        self._dropped = 0
        self._is_away = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        # Its lines come with every try, and ours say the same once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, span: Span) -> None:
        """Take a span; one that finds no room is counted and dropped."""
        if len(self._waiting) >= MOST_WAITING:
            self._dropped += 1
            return
        self._waiting.append(span)

    def close(self) -> None:
        """Send what waits, if the receiver takes it in time, and stop."""
        self._closing.set()
        if not self._is_away:
            self._thread.join(CLOSE_SECONDS)
        # Ends a call under way, and the waits between its tries.
        self._exporter.shutdown()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(PAUSE_SECONDS):
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while self._waiting:
            batch = [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]
            # Whatever breaks in the library must not end the thread, nor reach the service.
            try:
                result = self._exporter.export([self._readable(span) for span in batch])
                problem = "" if result is SpanExportResult.SUCCESS else "the receiver took none"
            except Exception as error:
                problem = mask_text(repr(error))
            self._tell(problem)
            if problem:
                return
            for _ in batch:
                self._waiting.popleft()

    def _tell(self, problem: str) -> None:
        if problem and not self._is_away:
            _log.warning("traces_not_sent", receiver=self._address, problem=problem)
        if not problem and self._is_away:
            _log.info("traces_sent_again", receiver=self._address, dropped=self._dropped)
            self._dropped = 0
        self._is_away = bool(problem)

    def _readable(self, span: Span) -> ReadableSpan:
        # Made anew from both clocks each time: a step of the wall clock must not stay for ever.
        offset = self._clock.now().timestamp() - self._clock.monotonic()
        return ReadableSpan(
            name=span.name,
            context=_context(span.context, is_remote=False),
            parent=None if span.parent is None else _context(span.parent, is_remote=False),
            resource=self._resource,
            attributes={name: _masked(fact) for name, fact in span.facts.items()},
            links=[Link(_context(link, is_remote=True)) for link in span.links],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, _told(span.problem)) if span.problem else _OK,
            start_time=int((span.started_at + offset) * 1e9),
            end_time=int((span.ended_at + offset) * 1e9),
            instrumentation_scope=_SCOPE,
        )


def _masked(fact: Fact) -> Fact:
    # Some of it is a caller's text, and that may be anything.
    if isinstance(fact, tuple):
        return tuple(_told(one) for one in fact)
    return _told(fact) if isinstance(fact, str) else fact


def _told(text: str) -> str:
    # Cut: a batch that no receiver takes for its size would be sent for ever, and block the rest.
    return cap_text(mask_text(text), MOST_CHARACTERS)


def _context(context: TraceContext, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(context.trace_id, context.span_id, is_remote, flags)


def _resource(name: str) -> Resource:
    # Not `create`: it would ask the environment and the process for more than is meant to leave.
    return Resource({"service.name": name, "service.version": _version()})


def _version() -> str:
    try:
        return metadata.version("opensqt-arb")
    except metadata.PackageNotFoundError:
        return "unknown"


def _exporter(settings: TracingSettings) -> OTLPSpanExporter:
    options: dict[str, Any] = {}
    if settings.token_file is not None:
        token = read_secret(settings.token_file).get_secret_value()
        options["headers"] = (("authorization", f"Bearer {token}"),)
    if settings.tls is not None:
        options["credentials"] = channel_credentials(settings.tls)
        if settings.tls.server_name is not None:
            named = ("grpc.ssl_target_name_override", settings.tls.server_name)
            options["channel_options"] = (named,)
    return OTLPSpanExporter(
        endpoint=settings.address,
        insecure=settings.tls is None,
        timeout=settings.call_timeout.total_seconds(),
        **options,
    )
