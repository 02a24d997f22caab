"""Settings of the journal in PostgreSQL that several engines share."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, model_validator

from services.common.settings import SecretFile, SettingsPart, is_loopback

_NAME = r"^[A-Za-z0-9_.-]{1,64}$"


def _check_url(url: str) -> str:
    # No error names the text: a password that stands in it by mistake must not reach a log.
    try:
        parts = urlsplit(url)
        hosts, query = _hosts(parts.netloc), parse_qs(parts.query)
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ValueError("must be postgresql://user@host:port/database")
    if ":" in parts.netloc.rpartition("@")[0] or "password" in query:
        raise ValueError("must be without a password; name a password_file")
    # A host in the query is a socket's folder on this machine, or else one more to hold to this.
    hosts += [host for host in query.get("host", []) if not host.startswith("/")]
    is_guarded = query.get("sslmode") == ["verify-full"]
    if not is_guarded and not all(is_loopback(host) for host in hosts):
        raise ValueError("a server off loopback needs ?sslmode=verify-full")
    return url


def _hosts(netloc: str) -> list[str]:
    """Return the hosts of a URL that may name several, each with a port or none."""
    places = [place for place in netloc.rpartition("@")[2].split(",") if place]
    return [urlsplit(f"//{place}").hostname or "" for place in places]


class SharedJournalSettings(SettingsPart):
    """The database, this engine's name in it, and how fast another engine takes over."""

    url: Annotated[str, AfterValidator(_check_url)]
    password_file: SecretFile | None = None
    book: str = Field(default="main", pattern=_NAME)
    """Engines with the same book share one journal and its lease: one of them works at a time."""
    holder: str = Field(pattern=_NAME)
    """Name of this engine, which no other one has: with it an engine takes its own lease back."""
    lease_term: Annotated[
        timedelta, Field(ge=timedelta(milliseconds=500), le=timedelta(minutes=1))
    ] = timedelta(seconds=3)
    call_timeout: timedelta = Field(default=timedelta(seconds=1), gt=timedelta(0))

    @model_validator(mode="after")
    def _renews_in_time(self) -> Self:
        if self.call_timeout >= self.lease_term:
            raise ValueError("call_timeout is not shorter than lease_term")
        return self
