"""Settings of the work queue that scanners on several machines share."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from services.common.settings import ClientTlsSettings, SecretFile, SettingsPart, is_loopback

# No user and no password in an address: addresses are logged.
_SERVER = re.compile(r"(?:nats|tls)://(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_PREFIX = r"^[A-Za-z0-9_-]{1,32}(\.[A-Za-z0-9_-]{1,32}){0,3}$"


def _check_server(address: str) -> str:
    if not _SERVER.fullmatch(address):
        raise ValueError("must be nats://host:port or tls://host:port, without user or password")
    return address


class NatsSettings(SettingsPart):
    """A NATS server with JetStream, its queue's bounds, and how to show oneself to it."""

    servers: tuple[Annotated[str, AfterValidator(_check_server)], ...] = Field(min_length=1)
    prefix: str = Field(default="opensqt", pattern=_PREFIX)
    """First part of every subject and stream; scanners with the same one share their scans."""
    token_file: SecretFile | None = None
    user: str | None = Field(default=None, min_length=1)
    password_file: SecretFile | None = None
    tls: ClientTlsSettings | None = None
    ack_wait_seconds: float = Field(default=30.0, ge=0.5, le=3600)
    """After this long without a sign of its worker a task goes to another one."""
    max_deliver: int = Field(default=3, ge=1, le=100)
    """How many workers may take a task before it counts as failed."""
    max_ack_pending: int = Field(default=256, ge=1, le=65_536)
    """Most tasks of one venue that are out at once; the rest waits where the scan runs."""
    outage_seconds: float = Field(default=60.0, gt=0, le=3600)
    """How long scans wait for a lost server before they fail and say so."""

    @model_validator(mode="after")
    def _shows_itself_one_way(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("set both user and password_file, or neither")
        if self.user is not None and self.token_file is not None:
            raise ValueError("set token_file or user, not both")
        return self

    @model_validator(mode="after")
    def _guarded_off_loopback(self) -> Self:
        hosts = [match["host"] for each in self.servers if (match := _SERVER.fullmatch(each))]
        if self.tls is None and not all(is_loopback(host) for host in hosts):
            raise ValueError("a server off loopback needs tls")
        return self
