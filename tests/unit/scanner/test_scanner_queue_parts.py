"""Names, headers and settings of the shared queue; and that the default loads none of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.common.errors import InvalidFieldError, UnreachableError
from services.scanner.nats_link import NatsLink
from services.scanner.nats_names import NatsNames, ResultPart, TaskName, result_part, split, token
from services.scanner.nats_queue import _kept_up
from services.scanner.nats_settings import NatsSettings
from tests.support.hand_clock import HandClock

NAMES = NatsNames("desk.one")
LOCAL = ("nats://127.0.0.1:4222",)


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=64))
def test_any_venue_is_one_token(venue: str) -> None:
    """Dots, stars, spaces and percent signs of a name never reach a subject."""
    written = token(venue)
    assert written
    assert not set(written) & set(".*> %\t/\\")
    subject = NAMES.task(TaskName(venue, "owner", "batch", 7))
    assert NAMES.task_name(venue, subject) == TaskName(venue, "owner", "batch", 7)
    assert len(subject.split(".")) == 7


def test_names_of_venues_stay_apart() -> None:
    """Two venues share no queue, however alike their names are."""
    venues = ["a.b", "a=2Eb", "a%2Eb", "a b", "a:b", "A.b"]
    assert len({token(venue) for venue in venues}) == len(venues)


def test_names_begin_with_the_prefix() -> None:
    """Desks on one server do not meet; streams have no dots in their names."""
    assert NAMES.stream("tasks") == "desk_one_tasks"
    assert NAMES.tasks_of_venue("v") == "desk.one.tasks.v.>"
    assert NAMES.tasks_of_batch("o", "b") == "desk.one.tasks.*.o.b.*"
    assert NAMES.results("o") == "desk.one.results.o"


@pytest.mark.parametrize("subject", ["", "desk.one.tasks.v.o.b.x", "a.b.c", "v.o.b.1"])
def test_other_subjects_name_no_task(subject: str) -> None:
    """Whatever somebody else puts into the stream is refused."""
    with pytest.raises(InvalidFieldError):
        NAMES.task_name("v", subject)


def test_result_parts_survive_their_headers() -> None:
    """What a worker wrote is what the owner reads."""
    part = ResultPart("batch.3", "batch.3.run", 1, 4, is_error=True)
    assert result_part(part.headers()) == part
    # One that is sent again is stored once; the parts of a run are different messages.
    assert part.headers()["Nats-Msg-Id"] == "batch.3.run.1"


@pytest.mark.parametrize(
    "changes",
    [
        {"Opensqt-Run": "x"},
        {"Opensqt-Part": "-1"},
        {"Opensqt-Part": "4"},
        {"Opensqt-Parts": "999999999"},
        {"Opensqt-Parts": ""},
    ],
)
def test_impossible_parts_are_refused(changes: dict[str, str]) -> None:
    """No part outside its whole, no whole without bound."""
    headers = ResultPart("batch.3", "batch.3.run", 1, 4, is_error=False).headers()
    with pytest.raises(InvalidFieldError):
        result_part({**headers, **changes})
    with pytest.raises(InvalidFieldError):
        result_part(None)


@settings(max_examples=50)
@given(st.binary(max_size=100), st.integers(1, 40))
def test_pieces_make_the_whole(body: bytes, size: int) -> None:
    """Nothing is lost or added, and an empty body is a piece too."""
    pieces = split(body, size)
    assert b"".join(pieces) == body
    assert pieces
    assert all(len(piece) <= size for piece in pieces)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"servers": ()}, "at least 1"),
        ({"servers": ("127.0.0.1:4222",)}, "nats://host:port"),
        ({"servers": ("nats://me:secret@127.0.0.1:4222",)}, "without user"),
        ({"servers": ("nats://10.0.0.1:4222",)}, "needs tls"),
        ({"prefix": "a.*"}, "pattern"),
        ({"prefix": ""}, "pattern"),
        ({"user": "me"}, "both user and password_file"),
        ({"ack_wait_seconds": 0.1}, "greater than"),
        ({"max_deliver": 0}, "greater than"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, Any], problem: str) -> None:
    """Each mistake has its words, and no secret is quoted."""
    with pytest.raises(ValidationError, match=problem) as caught:
        NatsSettings(**{"servers": LOCAL, **changes})
    assert "secret@" not in str(caught.value)


def test_one_way_to_show_oneself(tmp_path: Path) -> None:
    """A token or a password; the server would take only one."""
    secret = tmp_path / "secret"
    secret.write_text("correct-horse\n")
    with pytest.raises(ValidationError, match="not both"):
        NatsSettings(servers=LOCAL, token_file=secret, user="me", password_file=secret)
    guarded = NatsSettings(servers=("tls://nats.example:4222",), token_file=secret, tls={})
    assert "correct" not in repr(guarded)


async def test_a_part_of_the_queue_that_fails_is_begun_again() -> None:
    """A process without its worker would look alive and leave the scans of others waiting."""
    begun: list[int] = []

    async def run() -> None:
        begun.append(len(begun))
        if len(begun) < 3:
            raise ZeroDivisionError

    await _kept_up("worker", run, HandClock())
    assert begun == [0, 1, 2]


async def test_a_refusal_is_told_in_the_servers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the connections after it break: a wrong secret must not look like a bad network."""
    monkeypatch.setattr("services.scanner.nats_link.CONNECT_SECONDS", 1)
    seen: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer)
        writer.write(b'INFO {"server_id":"x","version":"2.9.0","max_payload":1048576}\r\n')
        if len(seen) > 1:
            writer.transport.abort()
            return
        await reader.readuntil(b"PING\r\n")
        writer.write(b"-ERR 'Authorization Violation'\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = NatsLink(NatsSettings(servers=(f"nats://127.0.0.1:{port}",)), HandClock())
        with pytest.raises(UnreachableError, match="Authorization Violation"):
            await link.connect()
    assert len(seen) > 1


def test_the_default_loads_no_nats() -> None:
    """Who scans on one machine needs neither the server nor its client."""
    code = "import sys, services.scanner.__main__; sys.exit('nats' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
