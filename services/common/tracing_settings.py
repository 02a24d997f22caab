"""Settings of traces: the table `[tracing]`; without it nothing is traced."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from services.common.settings import EndpointSettings


class TracingSettings(EndpointSettings):
    """An OTLP receiver over gRPC: `address` is `host:port`; off loopback it needs TLS.

    `service_name` is the `service.name` of the spans, `opensqt-<service>` when left out.
    `sample_ratio` is the share of the traces begun here that is kept; who joins another service's
    trace keeps what that one keeps.
    """

    service_name: str = Field(default="", max_length=64)
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    call_timeout: timedelta = Field(default=timedelta(seconds=5), gt=timedelta(0))
