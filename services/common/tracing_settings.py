"""Settings of traces: the table `[tracing]`; without it nothing is traced."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from services.common.settings import EndpointSettings


class TracingSettings(EndpointSettings):
    """An OTLP receiver over gRPC: `address` is `host:port`; off loopback it needs TLS."""

    service_name: str = Field(default="", max_length=64)
    """The `service.name` of the spans; `opensqt-<service>` when left out."""
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of the traces begun here that is kept; a joined trace is kept where it was begun."""
    call_timeout: timedelta = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """Longest time of one call to the receiver, with its repeats; nothing else waits for it."""
