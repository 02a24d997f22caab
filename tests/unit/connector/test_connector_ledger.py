"""The order ledger: durable before sending, one row per id, one owner."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.errors import FatalError, PreconditionError
from services.connector.ledger import Ledger, LedgerRow, Phase
from services.connector.ledger_writer import LedgerWriter


def row(client_order_id: str = "a1", content: str = "hash") -> LedgerRow:
    """Return an open row."""
    return LedgerRow(
        client_order_id=client_order_id,
        venue_client_id=f"v-{client_order_id}",
        content_hash=content,
        symbol="BTCUSDT",
        phase=Phase.OPEN,
        created_us=1,
        intent="{}",
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Open a ledger in a folder of its own."""
    opened = Ledger(tmp_path / "folder" / "orders.ledger")
    opened.open()
    yield opened
    opened.close()


async def test_first_row_is_written_and_second_is_shown_the_first(ledger: Ledger) -> None:
    """An id has one row for ever; who comes later gets it back, whatever its content."""
    assert await ledger.record(row()) is None
    assert await ledger.record(row(content="other")) == row()
    assert await ledger.find("a1") == row()
    assert await ledger.find("nobody") is None


async def test_outcome_is_kept_and_found_by_the_venues_id(ledger: Ledger) -> None:
    """An update writes phase, venue id and state, and the row is no longer open."""
    await ledger.record(row())
    await ledger.update("a1", Phase.CLOSED, exchange_order_id="77", state="{}")
    found = await ledger.find_exchange_id("BTCUSDT", "77")
    assert found == replace(row(), phase=Phase.CLOSED, exchange_order_id="77", state="{}")
    assert await ledger.find_exchange_id("ETHUSDT", "77") is None
    assert await ledger.open_rows() == []


async def test_row_of_an_order_that_never_left_gives_way_to_its_owner(ledger: Ledger) -> None:
    """After a refusal that may pass, the same content takes the row over, no other."""
    await ledger.record(row())
    await ledger.update("a1", Phase.NOT_SENT, refusal="{}")
    held = await ledger.record(row(content="other"))
    assert held is not None
    assert held.phase is Phase.NOT_SENT
    assert await ledger.record(row()) is None
    assert [one.client_order_id for one in await ledger.open_rows()] == ["a1"]


async def test_row_is_in_the_file_when_record_returns(ledger: Ledger, tmp_path: Path) -> None:
    """Another connection sees the row as soon as `record` has returned."""
    await ledger.record(row())
    with sqlite3.connect(tmp_path / "folder" / "orders.ledger") as other:
        count = other.execute("SELECT count(*) FROM orders").fetchone()[0]
        assert other.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    other.close()
    assert count == 1


async def test_many_rows_at_once_are_all_written(ledger: Ledger) -> None:
    """Rows that arrive together share commits, and each id is decided once."""
    results = await asyncio.gather(*(ledger.record(row(f"a{n % 50}")) for n in range(200)))
    assert sum(result is None for result in results) == 50
    assert len(await ledger.open_rows()) == 50


async def test_failed_write_sends_nothing(ledger: Ledger) -> None:
    """A row that cannot be written is a failed precondition: the caller must not send."""
    await ledger.record(row("a1"))
    clash = replace(row("a2"), venue_client_id="v-a1", phase=Phase.OPEN)
    broken = replace(clash, created_us="text")  # type: ignore[arg-type]  # STRICT refuses it
    with pytest.raises(PreconditionError) as failed:
        await ledger.record(broken)
    assert failed.value.reason == "LEDGER_UNAVAILABLE"
    assert await ledger.record(row("a3")) is None


async def test_closed_ledger_takes_no_row(tmp_path: Path) -> None:
    """After close a row is refused like one that cannot be written."""
    ledger = Ledger(tmp_path / "orders.ledger")
    ledger.open()
    ledger.close()
    with pytest.raises(PreconditionError):
        await ledger.record(row())


def test_ledger_has_one_owner(ledger: Ledger, tmp_path: Path) -> None:
    """A second owner is refused while the first holds the file."""
    second = Ledger(tmp_path / "folder" / "orders.ledger")
    with pytest.raises(FatalError) as refused:
        second.open()
    assert refused.value.reason == "LEDGER_IN_USE"


def test_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """Garbage and a ledger of a later version are fatal, and leave no lock behind."""
    path = tmp_path / "orders.ledger"
    path.write_bytes(b"not a database" * 100)
    for _ in range(2):
        with pytest.raises(FatalError) as refused:
            Ledger(path).open()
        assert refused.value.reason == "LEDGER_UNUSABLE"
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(FatalError):
        Ledger(path).open()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from services.connector.ledger import Ledger, LedgerRow, Phase
async def main():
    ledger = Ledger(Path(sys.argv[1])); ledger.open()
    await ledger.record(LedgerRow("dead", "v", "h", "BTCUSDT", Phase.OPEN, 1, "{}"))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_row_outlives_a_kill(tmp_path: Path) -> None:
    """A process killed right after `record` leaves the row, open, and the file free."""
    path = tmp_path / "orders.ledger"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(path), env=dict(os.environ)
    )
    assert await process.wait() == -9
    ledger = Ledger(path)
    ledger.open()
    assert [one.client_order_id for one in await ledger.open_rows()] == ["dead"]
    ledger.close()


def test_other_venues_ledger_is_refused(tmp_path: Path) -> None:
    """A ledger stays with the venue it was made for: another one would not know its orders."""
    path = tmp_path / "orders.ledger"
    first = Ledger(path, "binance")
    first.open()
    first.close()
    with pytest.raises(FatalError, match="belongs to binance"):
        Ledger(path, "okx-swap").open()


async def test_flipped_byte_in_a_row_is_noticed(tmp_path: Path) -> None:
    """A row that is not as it was written is told, when it is read and at the next start."""
    path = tmp_path / "orders.ledger"
    ledger = Ledger(path)
    ledger.open()
    await ledger.record(row())
    with sqlite3.connect(path) as other:
        other.execute("UPDATE orders SET intent = '{ }'")
    other.close()
    with pytest.raises(PreconditionError) as damaged:
        await ledger.find("a1")
    assert damaged.value.reason == "LEDGER_UNAVAILABLE"
    with pytest.raises(PreconditionError):
        await ledger.record(row())
    assert await ledger.record(row("a2")) is None
    ledger.close()
    with pytest.raises(FatalError, match="start again") as refused:
        Ledger(path).open()
    assert refused.value.reason == "LEDGER_UNUSABLE"


async def test_damaged_page_is_refused_at_the_start(tmp_path: Path) -> None:
    """A file with a page of zeros is never taken for an empty ledger."""
    path = tmp_path / "orders.ledger"
    ledger = Ledger(path)
    ledger.open()
    for n in range(40):
        await ledger.record(row(f"a{n}"))
    ledger.close()
    content = bytearray(path.read_bytes())
    content[4096 : 2 * 4096] = bytes(4096)
    path.write_bytes(bytes(content))
    with pytest.raises(FatalError) as refused:
        Ledger(path).open()
    assert refused.value.reason == "LEDGER_UNUSABLE"
    assert "move it away" in refused.value.message


@pytest.mark.parametrize("how", ["deleted", "emptied", "older copy"])
async def test_lost_or_replaced_file_is_noticed_for_days(tmp_path: Path, how: str) -> None:
    """A file that is not the last one knows nothing for sure until the venue's list was read."""
    path = tmp_path / "orders.ledger"
    old = Ledger(path)
    old.open()
    await old.remember_seen("BTCUSDT", [], whole=True)
    old.close()
    copy = path.read_bytes()
    later = Ledger(path)
    later.open()
    assert later.knows_all("BTCUSDT", 0)
    later.close()
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(copy if how == "older copy" else b"")
    for _ in range(2):
        opened = Ledger(path)
        opened.open()
        assert not opened.knows_all("BTCUSDT", time.time_ns() // 1_000)
        opened.close()
    opened = Ledger(path)
    opened.open()
    assert opened.knows_all("BTCUSDT", time.time_ns() // 1_000 + 8 * 86_400_000_000)
    await opened.remember_seen("BTCUSDT", ["theirs"], whole=True)
    opened.close()
    opened = Ledger(path)
    opened.open()
    assert opened.knows_all("BTCUSDT", time.time_ns() // 1_000)
    assert opened.has_seen("theirs")
    opened.close()


async def test_ledger_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """Rows written before there were digests are read, and protected from then on."""
    path = tmp_path / "orders.ledger"
    with sqlite3.connect(path) as other:
        other.executescript(
            "CREATE TABLE orders (client_order_id TEXT PRIMARY KEY, venue_client_id TEXT NOT NULL "
            "UNIQUE, content_hash TEXT NOT NULL, symbol TEXT NOT NULL, phase TEXT NOT NULL, "
            "created_us INTEGER NOT NULL, intent TEXT NOT NULL, exchange_order_id TEXT NOT NULL, "
            "state TEXT NOT NULL, refusal TEXT NOT NULL) STRICT;"
            "INSERT INTO orders VALUES ('a1','v-a1','hash','BTCUSDT','open',1,'{}','','','');"
            "PRAGMA user_version = 1;"
        )
    other.close()
    ledger = Ledger(path)
    ledger.open()
    assert await ledger.open_rows() == [row()]
    assert not ledger.is_new
    ledger.close()


async def test_exit_row_goes_ahead_of_a_thousand_entry_rows() -> None:
    """However many rows wait, an urgent one is the first after the commit under way."""
    writer = LedgerWriter(
        sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    )
    writer.start()
    gate, done = threading.Event(), list[str]()
    busy = asyncio.create_task(writer.run(lambda _: gate.wait(5), urgent=False))
    await asyncio.sleep(0)
    entries = [
        asyncio.create_task(writer.run(lambda _: done.append("entry"), urgent=False))
        for _ in range(1_000)
    ]
    await asyncio.sleep(0)
    way_out = asyncio.create_task(writer.run(lambda _: done.append("exit"), urgent=True))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(busy, *entries, way_out)
    writer.close()
    assert len(done) == 1_001
    # At most what the writer took along with the job that kept it busy comes before.
    assert done.index("exit") <= 256
