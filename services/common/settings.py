"""Settings every service has: where it listens, who may call, how it logs.

A service subclasses `ServiceSettings`, names itself in `service` and adds its own fields.
Sources, the first that knows a key wins: environment `OPENSQT_<SERVICE>__FIELD__SUB`, the TOML
file, the defaults. `services.common.settings_loader.load_settings` reads them; constructing a
class reads nothing.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from services.common.secrets_files import (
    ReadableFile,
    SecretFile,
    read_secret,
    read_secret_lines,
)
from services.common.settings_loader import load_settings

__all__ = [
    "ClientTlsSettings",
    "EndpointSettings",
    "LogSettings",
    "MetricsSettings",
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

MAX_TOKENS = 2
"""Active tokens at once: the present one and, during a change, the next."""

MIN_TOKEN_LENGTH = 16
Port = Annotated[int, Field(ge=0, le=65_535)]
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


def is_loopback(host: str) -> bool:
    """Tell whether a host, without port, can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class SettingsPart(BaseModel):
    """A table inside the settings: frozen, and unknown keys are errors."""

    # pydantic quotes the wrong input in its errors, and that may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TlsSettings(SettingsPart):
    """Certificate of a server; with `client_ca_file` callers must show a certificate of that CA."""

    # Certificates are named, not held: their bytes are read when the server is made.
    certificate_file: ReadableFile
    key_file: ReadableFile
    client_ca_file: ReadableFile | None = None


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


class ServerSettings(SettingsPart):
    """Where and how the gRPC server listens; off loopback a token and TLS are required."""

    host: str = "127.0.0.1"
    port: Port = 0
    tls: TlsSettings | None = None
    token_file: Path | None = None
    drain_seconds: float = Field(default=10.0, ge=0, le=600)
    max_message_bytes: int = Field(default=262_144, ge=1_024, le=4_194_304)
    """Largest request taken; replies may have up to 4 MiB."""
    max_concurrent_streams: int = Field(default=256, ge=1, le=65_536)
    max_concurrent_calls: int | None = Field(default=None, ge=1)
    """Calls at work at once over all callers; the rest get RESOURCE_EXHAUSTED. None: no cap."""
    reflection: bool = True

    @field_validator("token_file")
    @classmethod
    def _tokens_are_sound(cls, path: Path | None) -> Path | None:
        if path is not None:
            lines = read_secret_lines(path)
            if len(lines) > MAX_TOKENS:
                raise ValueError(f"the token file holds more than {MAX_TOKENS} lines")
            if any(len(line.get_secret_value()) < MIN_TOKEN_LENGTH for line in lines):
                raise ValueError(f"a token has at least {MIN_TOKEN_LENGTH} characters")
            if not all(line.get_secret_value().isascii() for line in lines):
                raise ValueError("a token is ASCII text")
        return path

    @model_validator(mode="after")
    def _guarded_off_loopback(self) -> Self:
        if not is_loopback(self.host) and (self.token_file is None or self.tls is None):
            raise ValueError(
                f"listening on {self.host} needs token_file and tls; set both, or host to 127.0.0.1"
            )
        return self

    def tokens(self) -> tuple[SecretStr, ...]:
        """Return the active bearer tokens, at most two; empty: no token is asked for."""
        return () if self.token_file is None else read_secret_lines(self.token_file)


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
