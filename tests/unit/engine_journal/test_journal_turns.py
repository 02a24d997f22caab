"""Who works a shared journal, by the answers a database gives: grants, outages, lost answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import PreconditionError
from services.engine import postgres_schema as sql
from services.engine.events import Event
from services.engine.halt_flag import HaltFlagFile
from services.engine.journal import JournalError
from services.engine.journal_chain import first_head, follow, row_of
from services.engine.leadership import JOURNAL_AHEAD, LEASE_LOST, Leadership
from services.engine.postgres_journal import PostgresJournal
from services.engine.postgres_lease import PostgresLease
from services.engine.postgres_session import SessionSource
from services.engine.risk_halt import HaltFlag
from tests.support.hand_clock import HandClock
from tests.support.journal_images import halted

TERM = timedelta(seconds=2)
AWAY = ConnectionRefusedError("away")


class Answers:
    """A database of a few words: each statement is answered by its list, the last one for ever."""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self._answers = answers
        self.asked: list[str] = []
        self.written: list[str] = []

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Give or raise the next answer to a statement."""
        self.asked.append(query)
        if query == sql.APPEND:
            self.written.append(args[2])
        answers = self._answers.get(query, [[]])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        rows: Sequence[Any] = answer
        return rows

    async def close(self) -> None:
        """Hang up."""


OPENED: dict[str, list[Any]] = {
    sql.READ_VERSION: [[(len(sql.MIGRATIONS),)]],
    sql.GRANT: [[(7, "one")]],
}


def head_after(*events: Event) -> tuple[int, str]:
    """Return the last row of a journal of these events, as the database tells of it."""
    head = first_head("main")
    for event in events:
        head = follow(head, row_of(event))
    return head.sequence, head.digest.hex()


def lease_on(answers: Answers, clock: HandClock) -> PostgresLease:
    """Return a lease of the engine "one"."""

    async def connect() -> Answers:
        return answers

    return PostgresLease(SessionSource(connect, 60.0), clock, "main", "one", TERM)


def journal_on(
    answers: Answers, leadership: Leadership, call_seconds: float = 60.0
) -> PostgresJournal:
    """Return the journal of the engine "one"; its pages are those that `answers` has."""

    async def connect() -> Answers:
        return answers

    lease = lease_on(answers, HandClock())
    return PostgresJournal(SessionSource(connect, call_seconds), lease, "main", leadership)


async def test_an_engine_waits_for_its_turn_and_names_who_has_it() -> None:
    """The holder is told once; a quarter of the term passes between two questions."""
    clock, told = HandClock(), list[str]()
    answers = Answers({sql.GRANT: [[], [], [], [(7, "two")]], sql.HOLDER: [[("two",)]]})
    lease = lease_on(answers, clock)
    assert await lease.acquire(told.append) == 7
    assert told == ["two"]
    assert clock.monotonic() == pytest.approx(1.5)
    assert lease.is_held
    assert not lease.is_continued


@pytest.mark.parametrize("before", [None, "one"])
async def test_an_engine_continues_where_nobody_worked_since(before: str | None) -> None:
    """A first start, and one after its own; nobody is told of a wait."""
    told: list[str] = []
    lease = lease_on(Answers({sql.GRANT: [[(7, before)]]}), HandClock())
    await lease.acquire(told.append)
    assert (lease.is_continued, told) == (True, [])


async def test_who_waits_lets_a_term_pass_after_an_outage() -> None:
    """The engine at work, for which the database was away as well, renews before it is asked."""
    clock = HandClock()
    holders = [[("two",)], AWAY, AWAY, [("two",)]]
    answers = Answers({sql.GRANT: [[], AWAY, [(7, "two")]], sql.HOLDER: holders})
    assert await lease_on(answers, clock).acquire() == 7
    # Four pauses until it answers again, and then the term.
    assert clock.monotonic() == pytest.approx(4 * 0.5 + TERM.total_seconds())


async def test_a_database_that_never_answered_is_an_error() -> None:
    """A wrong address shows at the start, not as a wait for ever."""
    journal = journal_on(Answers({sql.BEGIN_MIGRATING[0]: [AWAY]}), Leadership())
    with pytest.raises(JournalError, match="away"):
        await journal.open()


async def test_a_lease_is_kept_through_an_outage_and_lost_to_another_engine() -> None:
    """What cannot be asked is asked again; the word that it is another's ends the leadership."""
    leadership = Leadership()
    answers = Answers({sql.RENEW: [[(7,)], AWAY, [(7,)], []]})
    await journal_on(answers, leadership).keep()
    assert answers.asked.count(sql.RENEW) == 4
    assert leadership.reason == LEASE_LOST
    with pytest.raises(PreconditionError) as refused:
        leadership.check()
    assert refused.value.reason == LEASE_LOST


async def test_the_first_word_of_another_engine_is_kept() -> None:
    """What follows is a consequence of it."""
    leadership = Leadership()
    leadership.check()
    leadership.lose(LEASE_LOST, "first")
    leadership.lose("EPOCH_SUPERSEDED", "second")
    assert (leadership.reason, leadership.problem) == (LEASE_LOST, "first")


async def test_a_refused_append_ends_the_leadership() -> None:
    """No row was taken: the lease is another's."""
    leadership = Leadership()
    answers = Answers({**OPENED, sql.APPEND: [[]]})
    journal = journal_on(answers, leadership)
    await journal.open()
    with pytest.raises(JournalError):
        await journal.append([halted(1)])
    await journal.close()
    assert leadership.is_lost


async def test_tables_of_a_long_journal_are_made_however_long_it_takes() -> None:
    """An index over all its rows takes longer than any other statement may."""

    class Slow(Answers):
        async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
            await asyncio.sleep(0.3 if query == sql.migration(1) else 0)
            return await super().fetch(query, *args)

    answers = Slow({sql.READ_VERSION: [[(0,)]], sql.GRANT: [[(7, "one")]]})
    journal = journal_on(answers, Leadership(), call_seconds=0.1)
    await journal.open()
    await journal.close()
    made = [sql.migration(number) for number in range(1, len(sql.MIGRATIONS) + 1)]
    assert [query for query in answers.asked if query.startswith("DO ")] == made


async def test_a_journal_is_read_over_a_new_connection_where_the_old_one_has_ended() -> None:
    """As after a wait for the lease during which the server was started anew."""
    answers = Answers({sql.ROWS: [AWAY, []]})
    assert await journal_on(answers, Leadership()).load() == ()
    # A timeout has no words of its own.
    for error, words in ((AWAY, "away"), (TimeoutError(), "TimeoutError")):
        with pytest.raises(JournalError, match=words):
            await journal_on(Answers({sql.ROWS: [error]}), Leadership()).load()


async def test_a_write_that_was_told_as_lost_and_is_there_ends_the_engine() -> None:
    """The journal says what the engine does not know: only a start reads it."""
    leadership, heads = Leadership(), [[], AWAY, AWAY, [head_after(halted(1))]]
    answers = Answers({**OPENED, sql.HEAD: heads, sql.APPEND: [AWAY, [(2,)]]})
    journal = journal_on(answers, leadership)
    await journal.open()
    heard = []
    for _ in range(3):
        with pytest.raises(JournalError) as told:
            await journal.append([halted(1)])
        heard.append((told.value.reason, leadership.reason))
    await journal.close()
    assert heard == [("JOURNAL_UNAVAILABLE", ""), *[(JOURNAL_AHEAD, JOURNAL_AHEAD)] * 2]
    assert answers.asked.count(sql.APPEND) == 1


async def test_rows_that_nobody_waited_for_are_not_written_twice() -> None:
    """Those of an attempt that took effect are there; what came since follows them."""
    leadership = Leadership()
    first, second = head_after(halted(1)), head_after(halted(1), halted(2))
    heads = [[], AWAY, AWAY, [first], AWAY, AWAY, [second]]
    answers = Answers({**OPENED, sql.HEAD: heads, sql.APPEND: [AWAY, AWAY, [(3,)]]})
    journal = journal_on(answers, leadership)
    await journal.open()
    for number in (1, 2):
        journal.append_soon([halted(number)])
        with pytest.raises(JournalError):
            await journal.append([])
    await journal.append([])
    assert answers.asked.count(sql.APPEND) == 2
    await journal.append([halted(3)])
    await journal.close()
    assert not leadership.is_lost
    written = [[row["sequence"] for row in json.loads(rows)] for rows in answers.written]
    assert written == [[1], [2], [3]]


async def test_the_rest_of_a_journal_is_waited_for() -> None:
    """An outage while it is read is no damage: the page comes once the database is back."""
    answers = Answers({sql.PAGE: [AWAY, AWAY, []], sql.HOLDER: [AWAY, [("one",)]]})
    page = await journal_on(answers, Leadership()).load_page(None, 0)
    assert page.events == ()
    assert (answers.asked.count(sql.HOLDER), answers.asked[-1]) == (2, sql.PAGE)
    with pytest.raises(JournalError, match="row 1 is not as it was written"):
        await journal_on(Answers({}), Leadership()).load_page(None, 1)


def test_a_halt_of_before_another_engine_worked_means_nothing(tmp_path: Path) -> None:
    """Nor does a missing flag; one that cannot be read is a halt all the same."""
    path = tmp_path / "journal.db.halt"
    later = HaltFlagFile(path, is_current=False)
    assert later.read() == HaltFlag(known=True)
    HaltFlagFile(path).write(HaltFlag(known=True, used=True, halted=True, reason="by hand"))
    assert later.read() == HaltFlag(known=True, used=True)
    assert HaltFlagFile(path).read().halted
    path.write_text("{")
    assert later.read().problem
