"""The tracer of a process, from its settings; OpenTelemetry is imported only where wanted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from services.common.errors import FatalError
from services.common.span_tracer import SpanTracer
from services.common.tracing import NULL_TRACER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.common.clock import Clock
    from services.common.tracing import Tracer
    from services.common.tracing_settings import TracingSettings


@asynccontextmanager
async def open_tracer(
    settings: TracingSettings | None, service: str, clock: Clock
) -> AsyncIterator[Tracer]:
    """Yield the tracer; at the end it sends what it still holds, within two seconds.

    Raises FatalError TRACING_EXTRA_MISSING where OpenTelemetry is not installed.
    """
    if settings is None:
        yield NULL_TRACER
        return
    try:
        # Here, not above: a service without traces must not pay for them.
        from services.common.otlp_sender import OtlpSender
    except ImportError as error:
        raise FatalError(
            "[tracing] is set, and OpenTelemetry is not installed: "
            f"pip install ./proto '.[tracing]' in a checkout ({error.name} is missing)",
            reason="TRACING_EXTRA_MISSING",
        ) from None
    sender = OtlpSender(settings, service, clock)
    sender.start()
    try:
        yield SpanTracer(clock, sender.put, settings.sample_ratio)
    finally:
        # In a thread: the loop has streams to end meanwhile.
        await asyncio.to_thread(sender.close)
