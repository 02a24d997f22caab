"""Settings of a shared journal: what is refused, and that no error repeats a password."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from services.engine.shared_journal_settings import SharedJournalSettings


def settings(url: str, **changes: Any) -> SharedJournalSettings:
    """Return settings with this URL."""
    return SharedJournalSettings.model_validate({"url": url, "holder": "one", **changes})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://engine@127.0.0.1:5432/journal",
        "postgresql://engine@[::1]/journal",
        "postgresql://engine@/journal?host=/run/postgresql",
        "postgresql://engine@db.example:5432/journal?sslmode=verify-full",
        "postgresql://engine@a.example:5432,b.example:5432/journal?sslmode=verify-full",
    ],
)
def test_a_server_on_this_machine_or_behind_tls_is_taken(url: str) -> None:
    """By address, by a socket's folder, or several that are guarded."""
    assert settings(url).url == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://engine@127.0.0.1/journal", "postgresql://user@host:port/database"),
        ("postgresql://engine@127.0.0.1:5432", "postgresql://user@host:port/database"),
        ("postgresql://[::1/journal", "not a URL"),
        ("postgresql://engine:hunter2@127.0.0.1/journal", "without a password"),
        ("postgresql://engine@127.0.0.1/journal?password=hunter2", "without a password"),
        ("postgresql://engine@db.example/journal", "sslmode=verify-full"),
        ("postgresql://engine@db.example/journal?sslmode=require", "sslmode=verify-full"),
        ("postgresql://engine@127.0.0.1,db.example/journal", "sslmode=verify-full"),
        ("postgresql://engine@/journal?host=db.example", "sslmode=verify-full"),
        ("postgresql://engine@db.example/journal?sslmode=verify-full&sslmode=disable", "sslmode"),
    ],
)
def test_an_unguarded_or_unreadable_address_is_refused(url: str, problem: str) -> None:
    """The error says what is wanted and never what was given."""
    with pytest.raises(ValidationError) as refused:
        settings(url)
    text = refused.value.errors(include_input=False, include_url=False)[0]["msg"]
    assert problem in text
    assert "hunter2" not in text


def test_a_lease_that_one_lost_call_would_cost_is_refused() -> None:
    """A call must end while there is time to renew by another."""
    with pytest.raises(ValidationError, match="call_timeout"):
        settings("postgresql://e@127.0.0.1/j", lease_term=1, call_timeout=1)
