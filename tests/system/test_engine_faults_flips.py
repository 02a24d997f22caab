"""Ten thousand flipped bits in the rows of a journal, and ten thousand anywhere in a closed one.

Which bytes hold something is read from the file by SQLite's own format: the cells of the tables'
pages and what overflows from them (https://www.sqlite.org/fileformat2.html, sections 1.5 and 1.6).
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.engine.events import EngineHalted
from services.engine.journal import JournalError
from services.engine.journal_mark import is_altered
from services.engine.orders import OrderClass
from services.engine.sqlite_journal import SqliteJournal
from tests.support.fault_row import Tell, tell_row
from tests.support.journal_images import (
    Image,
    mark_of,
    order_intent,
    some_events,
    write_journal,
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
FLIPS = 10_000
_LEAF, _INTERIOR = 13, 5


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return a number of one to nine bytes and where the next one begins."""
    value = 0
    for count in range(9):
        byte = raw[at + count]
        if count == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at + count + 1


def _number(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "big")


def bytes_of_rows(raw: bytes, root: int) -> Iterator[int]:
    """Yield where the bytes of a table's rows are: the payload of each cell, its overflow too."""
    size = _number(raw, 16, 2)
    start = (root - 1) * size
    head = start + (100 if root == 1 else 0)
    kind, cells = raw[head], _number(raw, head + 3, 2)
    pointers = head + (8 if kind == _LEAF else 12)
    for index in range(cells):
        cell = start + _number(raw, pointers + 2 * index, 2)
        if kind == _INTERIOR:
            yield from bytes_of_rows(raw, _number(raw, cell, 4))
            continue
        length, at = _varint(raw, cell)
        _, at = _varint(raw, at)
        usable = size - raw[20]
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        held = length if length <= usable - 35 else local if local <= usable - 35 else least
        # But for the type of a column that the row's own number stands for: nobody reads it.
        yield from (place for place in range(at, at + held) if place != at + 1)
        page, left = (_number(raw, at + held, 4) if held < length else 0), length - held
        while left > 0:
            place = (page - 1) * size
            taken = min(left, usable - 4)
            yield from range(place + 4, place + 4 + taken)
            page, left = _number(raw, place, 4), left - taken
    if kind == _INTERIOR:
        yield from bytes_of_rows(raw, _number(raw, head + 8, 4))


async def test_ten_thousand_flipped_bits_in_rows_are_all_noticed(
    tmp_path: Path, record_property: Tell
) -> None:
    """Of a journal whose engine died: no bit of any row turns unnoticed."""
    path = tmp_path / "journal.db"
    # One row is longer than a page, so that overflow pages are among them.
    events = (*some_events(16), order_intent(OrderClass.ENTRY, padding=5_000))
    await write_journal(path, events)
    image = Image.of(path, events)
    assert image.judge(image.raw) == "unharmed"
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name IN ('journal', 'facts')"
        )
        places = [place for (root,) in found for place in bytes_of_rows(image.raw, root)]
    drawn = random.Random(7)
    bits = (8 * drawn.choice(places) + drawn.randrange(8) for _ in range(FLIPS))
    verdicts = Counter(image.judge(image.flipped(bit)) for bit in bits)
    assert verdicts["unharmed"] + verdicts["missed"] == 0
    words = ", ".join(f"{name} {count}" for name, count in sorted(verdicts.items()))
    tell_row(
        record_property,
        "journal",
        f"{FLIPS} bits flipped in its rows, one at a time",
        f"{sum(verdicts.values())} noticed of {FLIPS} ({words}); {len(places)} bytes of rows",
    )


async def test_ten_thousand_flipped_bits_of_a_closed_file_are_all_noticed(
    tmp_path: Path, record_property: Tell
) -> None:
    """Anywhere in the file, in bytes that hold nothing too, by the digest in its mark."""
    path = tmp_path / "journal.db"
    await write_journal(path, some_events(30))
    mark, raw = mark_of(path), path.read_bytes()
    assert not is_altered(mark, path)
    drawn = random.Random(8)
    noticed = 0
    with path.open("r+b", buffering=0) as file:
        for _ in range(FLIPS):
            bit = drawn.randrange(8 * len(raw))
            for byte in (raw[bit // 8] ^ 1 << bit % 8, raw[bit // 8]):
                file.seek(bit // 8)
                file.write(bytes([byte]))
                noticed += is_altered(mark, path)
    assert noticed == FLIPS
    tell_row(
        record_property,
        "journal",
        f"{FLIPS} bits flipped anywhere in a closed file",
        f"{noticed} noticed of {FLIPS}: the next start is halted",
    )


def _cut(path: Path, _older: bytes) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def _zero(path: Path, _older: bytes) -> None:
    raw = bytearray(path.read_bytes())
    # The first page of the rows.
    raw[4 * 4096 : 5 * 4096] = bytes(4096)
    path.write_bytes(bytes(raw))


def _put_back(path: Path, older: bytes) -> None:
    path.write_bytes(older)


def _delete(path: Path, _older: bytes) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("its last page cut off", _cut),
        ("a page of zeros", _zero),
        ("an older copy put back", _put_back),
        ("deleted", _delete),
    ],
)
async def test_a_damaged_journal_is_refused_or_halted(
    tmp_path: Path, what: str, damage: Callable[[Path, bytes], None], record_property: Tell
) -> None:
    """The engine does not start with it, or starts with a halt as its newest row."""
    path = tmp_path / "journal.db"
    await write_journal(path, some_events(20))
    older = path.read_bytes()
    await write_journal(path, (order_intent(OrderClass.ENTRY),))
    damage(path, older)
    journal = SqliteJournal(path)
    try:
        await journal.open()
        last = (await journal.load())[-1]
        assert isinstance(last, EngineHalted)
        happened = f"starts halted: {last.reason}"
    except JournalError as error:
        happened = f"refused: {error.reason}"
    finally:
        await journal.close()
    tell_row(record_property, "journal", what, happened.replace(str(tmp_path), "…"))
