"""Journals on disk as tests of damage need them: made small, copied, flipped and judged."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from services.common.file_mark import read_mark
from services.engine.events import CommandAccepted, EngineHalted, Event, OrderIntended
from services.engine.instruments import InstrumentKind, InstrumentRef, LegSide
from services.engine.journal import JournalError
from services.engine.journal_file import events_in
from services.engine.journal_mark import JournalMark, load_mark, loss_of
from services.engine.journal_schema import prepare, read_fact, read_identity
from services.engine.orders import OrderClass, OrderPlan, OrderSide
from services.engine.sqlite_journal import SqliteJournal
from tests.support.virtual_clock import START

_JOURNAL_MODE_BYTES = (18, 19)
"""Of the file's head: 2 for a write-ahead log, which a database in memory cannot have."""


def halted(number: int) -> EngineHalted:
    """Return a numbered event."""
    return EngineHalted(START, f"number {number}")


def order_intent(order_class: OrderClass, number: int = 1, padding: int = 0) -> OrderIntended:
    """Return the numbered intent of an order, with so many bytes more in its id."""
    plan = OrderPlan(
        client_order_id=f"order-{number}" + "x" * padding,
        instrument=InstrumentRef("spot", "BTCUSDT", InstrumentKind.SPOT),
        leg=LegSide.LONG,
        order_class=order_class,
        side=OrderSide.BUY,
        quantity=Decimal(1),
        worst_price=None,
    )
    return OrderIntended("p1", START, plan)


def some_events(count: int) -> tuple[Event, ...]:
    """Return events of two kinds, one of which is in an index too."""
    return tuple(
        CommandAccepted(START, f"request-{n}", f"hash-{n}", ()) if n % 2 else halted(n)
        for n in range(count)
    )


async def write_journal(path: Path, events: tuple[Event, ...]) -> None:
    """Append the events to the journal of a path, each durably, and close it."""
    journal = SqliteJournal(path)
    await journal.open()
    await asyncio.gather(*(journal.append([event]) for event in events))
    await journal.close()


def mark_of(path: Path) -> JournalMark:
    """Return the mark beside a journal."""
    handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDONLY)
    try:
        return load_mark(handle)
    finally:
        os.close(handle)


def mark_words(path: Path) -> tuple[str, ...]:
    """Return the words in the lock file of a journal."""
    handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDONLY)
    try:
        return read_mark(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class Image:
    """A closed journal's bytes, its mark and what it holds."""

    raw: bytes
    mark: JournalMark
    events: tuple[Event, ...]

    @classmethod
    def of(cls, path: Path, events: tuple[Event, ...]) -> Image:
        """Read a closed journal."""
        raw = bytearray(path.read_bytes())
        for position in _JOURNAL_MODE_BYTES:
            raw[position] = 1
        return cls(bytes(raw), mark_of(path), events)

    def flipped(self, bit: int) -> bytes:
        """Return the bytes with one bit turned."""
        raw = bytearray(self.raw)
        raw[bit // 8] ^= 1 << bit % 8
        return bytes(raw)

    def judge(self, raw: bytes) -> str:
        """Return who notices that these are not the bytes of the journal.

        "unharmed": all rows are read as they were written. "missed" must never be.
        """
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            try:
                connection.deserialize(raw)
                taken_over = prepare(connection, "another")
            except (sqlite3.Error, ValueError, TypeError):
                return "sqlite"
            except JournalError:
                return "start"
            try:
                events = events_in(connection)
                identity = read_identity(connection)
                read_fact(connection, "epoch")
            except sqlite3.Error:
                return "sqlite"
            except (JournalError, ValueError, TypeError):
                return "chain"
            if loss_of(connection, self.mark, identity, taken_over=taken_over):
                return "mark"
        return "unharmed" if events == self.events else "missed"

    def judge_flips(self, count: int, seed: int) -> Counter[str]:
        """Turn one random bit at a time and count who noticed."""
        drawn = random.Random(seed)
        bits = len(self.raw) * 8
        return Counter(self.judge(self.flipped(drawn.randrange(bits))) for _ in range(count))
