"""The `[grpc]` table of a service: where it listens, who may call, and how much of it one may use.

Every bound has a safe default; on loopback none of it needs to be set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from services.common.scopes import Role
from services.common.secrets_files import ReadableFile, read_secret_lines
from services.common.settings_part import Port, SettingsPart, is_loopback

if TYPE_CHECKING:
    from pydantic import SecretStr

MAX_TOKENS = 2
"""Active tokens of one principal at once: the present one and, during a change, the next."""

MIN_TOKEN_LENGTH = 16
SHARED_PRINCIPAL = "shared"
"""Name of whoever shows a token of `grpc.token_file`: it has every role."""

LOCAL_PRINCIPAL = "local"
"""Name of every caller of a server on loopback that asks for no token: it has every role."""


def read_tokens(path: Path) -> tuple[SecretStr, ...]:
    """Return the one or two tokens of a file; ValueError, free of their text, when unsound."""
    lines = read_secret_lines(path)
    if len(lines) > MAX_TOKENS:
        raise ValueError(f"the token file holds more than {MAX_TOKENS} lines")
    if any(len(line.get_secret_value()) < MIN_TOKEN_LENGTH for line in lines):
        raise ValueError(f"a token has at least {MIN_TOKEN_LENGTH} characters")
    if not all(line.get_secret_value().isascii() for line in lines):
        raise ValueError("a token is ASCII text")
    return lines


def _check_tokens(path: Path) -> Path:
    read_tokens(path)
    return path


TokenFile = Annotated[Path, AfterValidator(_check_tokens)]
"""A file with one or two tokens; read again, while the service runs, whenever it changes."""


class TlsSettings(SettingsPart):
    """Certificate of a server; with `client_ca_file` callers must show a certificate of that CA."""

    # Certificates are named, not held: their bytes are read when they are needed, and again.
    certificate_file: ReadableFile
    key_file: ReadableFile
    client_ca_file: ReadableFile | None = None


class PrincipalSettings(SettingsPart):
    """One caller: its name in logs, its roles, and how it proves itself."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    roles: tuple[Role, ...] = Field(min_length=1)
    token_file: TokenFile | None = None
    certificate_names: tuple[str, ...] = ()
    """Subject alternative names, matched whole, of a client certificate that is this caller."""

    @model_validator(mode="after")
    def _can_prove_itself(self) -> Self:
        if self.token_file is None and not self.certificate_names:
            raise ValueError("set token_file or certificate_names")
        return self


class ServerSettings(SettingsPart):
    """Where and how the gRPC server listens; off loopback callers must be known, over TLS."""

    host: str = "127.0.0.1"
    port: Port = 0
    tls: TlsSettings | None = None
    token_file: TokenFile | None = None
    """Tokens with every role; `principals` beside or instead of it give each caller its own."""
    principals: tuple[PrincipalSettings, ...] = ()
    secrets_reload_seconds: float = Field(default=5.0, gt=0, le=3_600)
    """How often token files are looked at for a change."""
    drain_seconds: float = Field(default=10.0, ge=0, le=600)
    max_message_bytes: int = Field(default=65_536, ge=1_024, le=4_194_304)
    """Largest request taken, of the methods that take lists; replies may have up to 4 MiB."""
    max_concurrent_streams: int = Field(default=512, ge=1, le=65_536)
    """Calls on one connection; above the sum of one principal's bounds, exits find room on it."""
    max_connections: int = Field(default=1_024, ge=1, le=65_536)
    connection_idle_seconds: float = Field(default=3_600, ge=1, le=86_400)
    """A connection without a call for so long is closed; an order after it pays a handshake."""
    connection_age_seconds: float = Field(default=86_400, ge=1, le=2_592_000)
    """Age at which a connection is closed in good order, so that no key is trusted for ever."""
    max_concurrent_calls: int | None = Field(default=None, ge=1)
    """Calls at work at once over all callers, exits apart. None: no cap beyond the principals'."""
    principal_calls: int = Field(default=128, ge=1)
    """Calls with one reply that one principal may have at work; also those owing their request."""
    principal_streams: int = Field(default=128, ge=1)
    """Streams of replies that one principal may have open."""
    principal_exits: int = Field(default=32, ge=1)
    """Room of one principal that only calls which reduce exposure may use, when its calls do."""
    request_seconds: float = Field(default=5.0, gt=0, le=60)
    """How long a call may owe its request after its headers came."""
    call_seconds: float = Field(default=60.0, gt=0, le=3_600)
    """The most a call with one reply may take, also when its caller names no deadline or more."""
    write_seconds: float = Field(default=10.0, gt=0, le=600)
    """How long a stream waits for a caller who does not read before it is ended."""
    reflection: bool = True

    @field_validator("principals")
    @classmethod
    def _principals_differ(
        cls, principals: tuple[PrincipalSettings, ...]
    ) -> tuple[PrincipalSettings, ...]:
        names = [principal.name for principal in principals]
        if len({*names, SHARED_PRINCIPAL, LOCAL_PRINCIPAL}) != len(names) + 2:
            raise ValueError("names must differ from each other and from 'shared' and 'local'")
        subjects = [name for principal in principals for name in principal.certificate_names]
        if len(set(subjects)) != len(subjects):
            raise ValueError("a certificate name belongs to one principal only")
        tokens = [
            token.get_secret_value()
            for principal in principals
            if principal.token_file is not None
            for token in read_tokens(principal.token_file)
        ]
        if len(set(tokens)) != len(tokens):
            raise ValueError("a token belongs to one principal only")
        return principals

    @model_validator(mode="after")
    def _guarded_off_loopback(self) -> Self:
        is_open = self.token_file is None and not self.principals
        if not is_loopback(self.host) and (is_open or self.tls is None):
            raise ValueError(
                f"listening on {self.host} needs token_file and tls; set both, or host to"
                " 127.0.0.1 (principals may stand for token_file)"
            )
        return self

    @model_validator(mode="after")
    def _certificates_are_asked_for(self) -> Self:
        named = any(principal.certificate_names for principal in self.principals)
        if named and (self.tls is None or self.tls.client_ca_file is None):
            raise ValueError("certificate_names need tls.client_ca_file")
        return self
