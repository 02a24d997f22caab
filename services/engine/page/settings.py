"""The `[page]` table of the engine: where its status page listens."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from services.common.server_settings import TlsSettings
from services.common.settings_part import Port, SettingsPart, is_loopback


class PageSettings(SettingsPart):
    """Where the page listens; its callers prove themselves as those of `[grpc]` do."""

    host: str = "127.0.0.1"
    port: Port = 0
    tls: TlsSettings | None = None
    """Certificate of the page; with `client_ca_file` a browser must show one of that CA."""
    max_connections: int = Field(default=64, ge=1, le=4_096)
    """Connections at once; one more waits until a place is free."""

    @model_validator(mode="after")
    def _encrypted_off_loopback(self) -> Self:
        if self.tls is None and not is_loopback(self.host):
            raise ValueError(f"listening on {self.host} needs tls; or set host to 127.0.0.1")
        return self
