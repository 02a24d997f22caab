"""Settings every service has: where it listens, who may call, how it logs.

A service subclasses `ServiceSettings`, names itself in `service` and adds its own fields.
Sources, the first that knows a key wins: environment `OPENSQT_<SERVICE>__FIELD__SUB`, the TOML
file, the defaults. `services.common.settings_loader.load_settings` reads them; constructing a
class reads nothing.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from services.common.secrets_files import ReadableFile, SecretFile, read_secret
from services.common.server_settings import PrincipalSettings, ServerSettings, TlsSettings
from services.common.settings_loader import load_settings
from services.common.settings_part import Port, SettingsPart, is_loopback

__all__ = [
    "ClientTlsSettings",
    "EndpointSettings",
    "LogSettings",
    "MetricsSettings",
    "PrincipalSettings",
    "ReadableFile",
    "SecretFile",
    "SecretStr",
    "ServerSettings",
    "ServiceSettings",
    "SettingsPart",
    "SettingsRoot",
    "TlsSettings",
    "VenueSettings",
    "is_loopback",
    "load_settings",
    "read_secret",
]

_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


class ClientTlsSettings(SettingsPart):
    """How a client trusts a server and, for mTLS, shows itself.

    Without `ca_file`: the public roots.
    """

    ca_file: ReadableFile | None = None
    certificate_file: ReadableFile | None = None
    key_file: ReadableFile | None = None
    server_name: str | None = None

    @model_validator(mode="after")
    def _whole_pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("set both certificate_file and key_file, or neither")
        return self


class MetricsSettings(SettingsPart):
    """Where the Prometheus exporter listens (plain HTTP: keep it inside).

    Port 0 takes a free one.
    """

    host: str = "127.0.0.1"
    port: Port = 0


class LogSettings(SettingsPart):
    """Form and least level of log lines on stderr."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class EndpointSettings(SettingsPart):
    """A service to call: `address` is `host:port`; off loopback it needs TLS."""

    address: str
    token_file: SecretFile | None = None
    tls: ClientTlsSettings | None = None
    call_timeout: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0))

    @field_validator("address")
    @classmethod
    def _address_has_port(cls, address: str) -> str:
        if not _ADDRESS.fullmatch(address):
            raise ValueError("must be host:port, as 127.0.0.1:5001")
        return address

    @model_validator(mode="after")
    def _guarded_off_loopback(self) -> Self:
        if self.tls is None and not is_loopback(self.address.rpartition(":")[0]):
            raise ValueError("an address off loopback needs tls")
        return self


class VenueSettings(EndpointSettings):
    """A connector to call. `name` is what its GetName answers."""

    name: str = Field(min_length=1, max_length=64)
    kind: Literal["spot", "perpetual"]


class SettingsRoot(BaseSettings):
    """Base of the settings of a program; a subclass sets `service` and adds its fields."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_nested_delimiter="__",
        case_sensitive=False,
        validate_default=True,
    )
    service: ClassVar[str] = "service"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Construct from arguments alone; `load_settings` gathers file and environment."""
        return (init_settings,)


class ServiceSettings(SettingsRoot):
    """Base of a service's settings: where it listens, its exporter, its logs."""

    grpc: ServerSettings = ServerSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    ready_file: Path | None = None
