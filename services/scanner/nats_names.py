"""Names of subjects, streams and consumers, and what a message carries beside its body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from services.common.errors import InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGE_ID = "Nats-Msg-Id"
"""JetStream stores one message of an id within its window, however often it is sent."""

EVENT = "Opensqt-Event"
REVISION = "Opensqt-Revision"
_RUN, _PART, _PART_COUNT, _OUTCOME = (
    "Opensqt-Run",
    "Opensqt-Part",
    "Opensqt-Parts",
    "Opensqt-Outcome",
)
_MAX_PARTS = 4096


@dataclass(frozen=True, slots=True)
class TaskName:
    """Which task a message is about: its venue, the process that wants it, its batch, its place."""

    venue: str
    owner: str
    batch: str
    number: int

    @property
    def key(self) -> str:
        """The task's name within its owner."""
        return f"{self.batch}.{self.number}"


@dataclass(frozen=True, slots=True)
class ResultPart:
    """A piece of a task's end. Pieces of different runs of a task are never put together."""

    key: str
    run: str
    part: int
    part_count: int
    is_error: bool

    def headers(self) -> dict[str, str]:
        """Return the headers the piece travels with."""
        return {
            MESSAGE_ID: f"{self.run}.{self.part}",
            _RUN: self.run,
            _PART: str(self.part),
            _PART_COUNT: str(self.part_count),
            _OUTCOME: "error" if self.is_error else "reading",
        }


@dataclass(frozen=True, slots=True)
class NatsNames:
    """All names under one prefix."""

    prefix: str

    def stream(self, kind: str) -> str:
        """Return the name of the stream of `tasks`, `results` or `opportunities`."""
        return f"{self.prefix.replace('.', '_')}_{kind}"

    def task(self, name: TaskName) -> str:
        """Return the subject of a task."""
        return f"{self.prefix}.tasks.{token(name.venue)}.{name.owner}.{name.key}"

    def tasks_of_venue(self, venue: str) -> str:
        """Return the subjects of all tasks of a venue."""
        return f"{self.prefix}.tasks.{token(venue)}.>"

    def tasks_of_batch(self, owner: str, batch: str) -> str:
        """Return the subjects of all tasks of a batch."""
        return f"{self.prefix}.tasks.*.{owner}.{batch}.*"

    def results(self, owner: str) -> str:
        """Return the subject of what comes back to a process."""
        return f"{self.prefix}.results.{owner}"

    def withdrawn(self) -> str:
        """Return the subject on which batches are called off."""
        return f"{self.prefix}.withdrawn"

    def publisher(self) -> str:
        """Return the subject on which stands who publishes."""
        return f"{self.prefix}.publisher"

    def opportunity(self, opportunity_id: str) -> str:
        """Return the subject of one opportunity."""
        return f"{self.prefix}.opportunities.{token(opportunity_id)}"

    def task_name(self, venue: str, subject: str) -> TaskName:
        """Return whose task a subject names; raise InvalidFieldError for another form."""
        parts = subject.split(".")
        if len(parts) < 6 or not parts[-1].isdecimal():
            raise InvalidFieldError("subject", "is no task's")
        return TaskName(venue, parts[-3], parts[-2], int(parts[-1]))


def token(text: str) -> str:
    """Return a text as one token of a subject, and as the name of a consumer."""
    # Dots part tokens; over a percent sign in a name nats-server 2.9 drops the connection.
    return quote(text, safe=":").replace(".", "%2E").replace("%", "=")


def result_part(headers: Mapping[str, str] | None) -> ResultPart:
    """Return what the headers of a result say; raise InvalidFieldError for another form."""
    told = headers or {}
    run, part, count = (told.get(name, "") for name in (_RUN, _PART, _PART_COUNT))
    if not (part.isdecimal() and count.isdecimal()) or run.count(".") != 2:
        raise InvalidFieldError("headers", "are no result's")
    if not int(part) < int(count) <= _MAX_PARTS:
        raise InvalidFieldError("headers", "name a part that cannot be")
    return ResultPart(
        run.rpartition(".")[0], run, int(part), int(count), told.get(_OUTCOME) == "error"
    )


def split(body: bytes, size: int) -> list[bytes]:
    """Return a body in pieces of at most `size` bytes; an empty body is one empty piece."""
    return [body[start : start + size] for start in range(0, len(body), size)] or [b""]
