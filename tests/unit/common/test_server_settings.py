"""Callers in the settings: what is refused at load, and the bound on lines they can cause."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.common.line_budget import LineBudget
from services.common.scopes import Role
from services.common.server_settings import PrincipalSettings, ServerSettings

TOKEN = "a-token-of-the-caller-01"


def principal(
    tmp_path: Path, name: str, *, token: str = TOKEN, **changes: Any
) -> PrincipalSettings:
    """Return a reader with a token of its own file."""
    path = tmp_path / "tokens"
    path.write_text(token + "\n")
    values = {"name": name, "roles": (Role.READER,), "token_file": path, **changes}
    return PrincipalSettings(**values)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "Big Letters"}, "pattern"),
        ({"roles": ()}, "at least 1"),
        ({"roles": ("admin",)}, "reader"),
        ({"token_file": None}, "set token_file or certificate_names"),
    ],
)
def test_a_principal_that_could_prove_or_do_nothing_is_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    """A name fit for logs, at least one known role, some way to be known."""
    with pytest.raises(ValidationError, match=why):
        principal(tmp_path, **{"name": "one", **changes})


def test_principals_must_differ_in_name_token_and_certificate(tmp_path: Path) -> None:
    """Else a call would be of two callers."""
    one = principal(tmp_path, "one")
    pairs = (
        ("names must differ", (one, principal(tmp_path, "one"))),
        ("names must differ", (principal(tmp_path, "shared"),)),
        ("a token belongs", (one, principal(tmp_path, "two"))),
        (
            "a certificate name belongs",
            tuple(
                PrincipalSettings(name=name, roles=(Role.READER,), certificate_names=("a",))
                for name in ("one", "two")
            ),
        ),
        (
            "need tls.client_ca_file",
            (PrincipalSettings(name="one", roles=(Role.READER,), certificate_names=("a",)),),
        ),
    )
    for why, principals in pairs:
        with pytest.raises(ValidationError, match=why) as caught:
            ServerSettings(principals=principals)
        assert TOKEN not in str(caught.value)


def test_the_defaults_leave_an_exit_room_on_a_full_connection() -> None:
    """One principal's bounds together stay below the calls of a connection."""
    settings = ServerSettings()
    bounds = settings.principal_calls * 2 + settings.principal_streams + settings.principal_exits
    assert bounds < settings.max_concurrent_streams


class HandClock:
    """A clock that stands until it is moved. Mutable: that is its use."""

    def __init__(self) -> None:
        self.seconds = 5.0

    def now(self) -> datetime:
        """Return an instant."""
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        """Return the seconds set."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.seconds += seconds


def test_lines_at_the_door_are_bounded_in_each_second() -> None:
    """So many pass, the rest waits for the next second."""
    clock = HandClock()
    budget = LineBudget(clock, per_second=2)
    assert [budget.take() for _ in range(4)] == [True, True, False, False]
    clock.seconds += 1
    assert budget.take()
