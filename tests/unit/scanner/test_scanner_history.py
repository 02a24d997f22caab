"""The file of held histories: what comes back after a restart, a crash, damage, a stranger."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.common.clock import SystemClock
from services.common.errors import FatalError
from services.common.metrics import ServiceMetrics
from services.scanner.funding import settlements
from services.scanner.history_disk import DiskHistoryStore
from services.scanner.history_file import HistoryFile
from services.scanner.history_store import HeldHistory, unknown_spans
from services.scanner.metrics import ScannerMetrics
from services.scanner.plan import HOUR_MS
from services.scanner.spans import Span
from tests.support.scanner_rig import until

DAY = Span(0, 24 * HOUR_MS)


def metrics() -> ScannerMetrics:
    """Return metrics of a registry of their own."""
    return ScannerMetrics(ServiceMetrics("scanner", CollectorRegistry()))


def store_at(path: Path) -> DiskHistoryStore:
    """Return a store on a file, not opened yet."""
    return DiskHistoryStore(path, SystemClock(), metrics().history_write_failures)


async def filled(path: Path) -> None:
    """Write two symbols read in bulk, and one day more of one of them."""
    async with store_at(path) as store:
        await store.extend("p", "", DAY, {"A": ([8 * HOUR_MS], [1e-5]), "B": ([7], [-0.25])})
        later = Span(24 * HOUR_MS, 48 * HOUR_MS)
        await store.extend("p", "A", later, {"A": ([32 * HOUR_MS + 3], [0.1])})


async def test_history_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Rows to the last bit, spans of the venue and of single symbols; no row twice."""
    path = tmp_path / "deep" / "history.db"
    for _ in range(2):
        await filled(path)
    async with store_at(path) as store:
        assert store.settlements("p", "A").rates.tolist() == [1e-5, 0.1]
        assert store.settlements("p", "A").minutes.tolist() == [480, 1920]
        assert store.settlements("p", "B").rates.tolist() == [-0.25]
        assert store.held("p") == (DAY,)
        assert store.held_by_symbol("p") == {"A": (Span(24 * HOUR_MS, 48 * HOUR_MS),)}
        assert unknown_spans(store, "p", "A", Span(0, 48 * HOUR_MS)) == ()
    assert path.stat().st_mode & 0o077 == 0
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_what_is_pruned_does_not_come_back(tmp_path: Path) -> None:
    """A symbol whose rows are all too old leaves the file; spans end where rows do."""
    path = tmp_path / "history.db"
    await filled(path)
    kept = Span(16 * HOUR_MS, 99 * HOUR_MS)
    for _ in range(2):
        async with store_at(path) as store:
            await store.prune("p", kept)
            assert store.settlements("p", "A").rates.tolist() == [0.1]
            assert store.settlements("p", "B").minutes.size == 0
            assert store.held("p") == (Span(16 * HOUR_MS, 24 * HOUR_MS),)
    file = HistoryFile(path)
    assert {each.symbol for each in file.open()} == {"", "A"}
    file.close()


async def test_span_in_the_future_is_forgotten(tmp_path: Path) -> None:
    """A clock that was ahead once does not keep the days it jumped over unread."""
    async with store_at(tmp_path / "history.db") as store:
        await store.extend("p", "", Span(0, 9000 * HOUR_MS), {})
        await store.prune("p", DAY)
        assert store.held("p") == (DAY,)


def killed(path: Path) -> Path:
    """Return a copy of the file and its log, as another start finds them after a SIGKILL."""
    copy = path.with_name("killed") / path.name
    copy.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return copy


@pytest.mark.parametrize("symbol", ["", "A"])
@pytest.mark.parametrize("times", [[8 * HOUR_MS], [8 * HOUR_MS, 8999 * HOUR_MS]])
async def test_what_a_wrong_clock_knew_is_unknown_after_a_kill(
    tmp_path: Path, symbol: str, times: list[int]
) -> None:
    """Known for a year ahead, in bulk or by symbol, with a row at its end or without; the right
    clock takes it back and the process is killed: who starts an hour later asks for that hour.
    """
    async with store_at(tmp_path / "history.db") as store:
        ahead = Span(0, 9000 * HOUR_MS)
        await store.extend("p", symbol, ahead, {"A": (times, [0.5] * len(times))})
        await store.write()
        await store.prune("p", DAY)
        await store.write()
        copy = killed(tmp_path / "history.db")
    async with store_at(copy) as store:
        later = Span(0, 25 * HOUR_MS)
        assert unknown_spans(store, "p", "A", later) == (Span(24 * HOUR_MS, 25 * HOUR_MS),)
        assert store.settlements("p", "A").minutes.tolist() == [480]


async def test_pruned_history_vouches_for_no_row_that_is_gone(tmp_path: Path) -> None:
    """One symbol is written after its oldest row went: what is known of all no longer begins
    before it.
    """
    async with store_at(tmp_path / "history.db") as store:
        times = [HOUR_MS, 8 * HOUR_MS]
        await store.extend("p", "", DAY, {"A": (times, [0.1, 0.2]), "B": (times, [0.3, 0.4])})
        await store.write()
        await store.prune("p", Span(4 * HOUR_MS, 48 * HOUR_MS))
        next_day = Span(24 * HOUR_MS, 48 * HOUR_MS)
        await store.extend("p", "A", next_day, {"A": ([32 * HOUR_MS], [0.5])})
        await store.write()
        copy = killed(tmp_path / "history.db")
    async with store_at(copy) as store:
        assert store.settlements("p", "A").minutes.tolist() == [480, 1920]
        assert store.held("p") == (Span(4 * HOUR_MS, 24 * HOUR_MS),)
        # Not worth rewriting for its oldest row alone.
        assert store.settlements("p", "B").minutes.tolist() == [60, 480]


async def test_second_process_on_the_file_is_refused(tmp_path: Path) -> None:
    """Two scanners on one file would each write over the other; the file is free again after."""
    path = tmp_path / "history.db"
    async with store_at(path):
        with pytest.raises(FatalError) as refused:
            await store_at(path).__aenter__()
        assert refused.value.reason == "HISTORY_IN_USE"
    async with store_at(path):
        pass


def foreign_database(path: Path) -> None:
    """Write a database of another program."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()


def later_version(path: Path) -> None:
    """Write a file of ours of a later version."""
    file = HistoryFile(path)
    file.open()
    file.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()


@pytest.mark.parametrize(
    "make", [foreign_database, later_version, lambda path: path.write_text("dear diary" * 999)]
)
def test_file_that_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    """Another program's database, a later version and a text are no history; nothing is changed."""
    path = tmp_path / "history.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(FatalError) as refused:
        HistoryFile(path).open()
    assert refused.value.reason == "HISTORY_UNUSABLE"
    assert path.read_bytes() == before


def test_what_the_disk_keeps_shut_is_not_to_be_moved_away(tmp_path: Path) -> None:
    """A file that cannot be opened may be sound: a month of readings is not asked for again."""
    path = tmp_path / "history.db"
    path.mkdir()
    with pytest.raises(FatalError, match="make room on its disk") as refused:
        HistoryFile(path).open()
    assert "move it away" not in refused.value.message


def bent_rate(path: Path) -> None:
    """Change one bit of one rate behind the program's back."""
    connection = sqlite3.connect(path)
    (rates,) = connection.execute("SELECT rates FROM histories WHERE symbol = 'A'").fetchone()
    bent = bytes([rates[0] ^ 1]) + rates[1:]
    connection.execute("UPDATE histories SET rates = ? WHERE symbol = 'A'", (bent,))
    connection.commit()
    connection.close()


def torn_page(path: Path) -> None:
    """Overwrite all pages after the first."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


@pytest.mark.parametrize("damage", [bent_rate, torn_page])
async def test_damaged_file_is_set_aside_and_never_believed(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """One wrong bit is enough: the store begins empty, and the damaged file is kept beside it."""
    path = tmp_path / "history.db"
    await filled(path)
    damage(path)
    async with store_at(path) as store:
        assert store.held("p") == ()
        assert store.settlements("p", "A").minutes.size == 0
        await store.extend("p", "", DAY, {"A": ([7], [0.5])})
    assert (tmp_path / "history.db.damaged").exists()
    async with store_at(path) as store:
        assert store.settlements("p", "A").rates.tolist() == [0.5]


async def test_log_of_a_damaged_file_is_set_aside_with_it(tmp_path: Path) -> None:
    """While somebody looks into the file its log outlives it; the new file has none of either."""
    path = tmp_path / "history.db"
    await filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as looking:
        looking.execute("BEGIN")
        looking.execute("SELECT count(*) FROM histories").fetchone()
        bent_rate(path)
        log = path.with_name("history.db-wal").read_bytes()
        assert log
        async with store_at(path) as store:
            assert store.held("p") == ()
            assert path.with_name("history.db.damaged-wal").read_bytes() == log
            await store.extend("p", "", DAY, {"B": ([7], [0.5])})
    async with store_at(path) as store:
        assert store.settlements("p", "A").minutes.size == 0
        assert store.settlements("p", "B").rates.tolist() == [0.5]


def test_power_cut_costs_no_more_than_the_last_seconds(tmp_path: Path) -> None:
    """The store's own connection has the log synchronised at every checkpoint; without that a
    power cut could leave half a page.
    """
    normal = 1
    file = HistoryFile(tmp_path / "history.db")
    file.open()
    assert file._connection is not None
    assert file._connection.execute("PRAGMA synchronous").fetchone() == (normal,)
    assert file._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()


async def test_write_that_is_cancelled_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while the thread writes, and the thread then fails: of both venues all is written
    the next time.
    """
    path = tmp_path / "history.db"
    begun, go_on = threading.Event(), threading.Event()

    def slow_and_failing(*_: object) -> None:
        begun.set()
        go_on.wait(10)
        raise sqlite3.OperationalError("disk I/O error")

    store = store_at(path)
    async with store:
        with monkeypatch.context() as patched:
            patched.setattr(HistoryFile, "write", slow_and_failing)
            for venue in ("p", "q"):
                await store.extend(venue, "", DAY, {"A": ([7], [0.5]), "B": ([7], [0.25])})
            writing = asyncio.create_task(store.write())
            await asyncio.to_thread(begun.wait, 10)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            go_on.set()
        await store.write()
        copy = killed(path)
    async with store_at(copy) as store:
        for venue in ("p", "q"):
            assert store.held(venue) == (DAY,)
            assert store.settlements(venue, "A").rates.tolist() == [0.5]
            assert store.settlements(venue, "B").rates.tolist() == [0.25]


async def test_what_could_not_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs nothing that is held: the next write has it."""
    path = tmp_path / "history.db"
    failures = metrics().history_write_failures

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with DiskHistoryStore(path, SystemClock(), failures) as store:
        await store.extend("p", "", DAY, {"A": ([7], [0.5])})
        with monkeypatch.context() as patched:
            patched.setattr(HistoryFile, "write", full)
            await store.write()
        assert failures._value.get() == 1.0
        assert store.settlements("p", "A").rates.tolist() == [0.5]
    async with store_at(path) as store:
        assert store.settlements("p", "A").rates.tolist() == [0.5]


def test_write_is_all_or_nothing(tmp_path: Path) -> None:
    """A write that fails half-way leaves what was there: a span is never known without its rows."""
    path = tmp_path / "history.db"
    file = HistoryFile(path)
    file.open()
    old, new = (HeldHistory("p", "A", (DAY,), settlements([7], [rate])) for rate in (0.5, 0.9))
    file.write([old])
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TRIGGER stop BEFORE INSERT ON histories WHEN NEW.symbol = 'B'"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    connection.close()
    with pytest.raises(sqlite3.Error):
        file.write([new, HeldHistory("p", "B", (DAY,), settlements([7], [0.5]))])
    file.close()
    (held,) = file.open()
    assert (held.symbol, held.rows.rates.tolist()) == ("A", [0.5])
    file.close()


async def test_whole_batch_is_written_at_once(tmp_path: Path) -> None:
    """Told that no more is coming, the store writes without its usual wait."""
    path = tmp_path / "history.db"
    async with store_at(path) as store:
        await store.extend("p", "", DAY, {"A": ([7], [0.5])})
        store.write_soon()
        await until(lambda: row_count(path), seconds=4)


def row_count(path: Path) -> int:
    """Return how many rows another process sees in the file."""
    connection = sqlite3.connect(path)
    count = connection.execute("SELECT count(*) FROM histories").fetchone()[0]
    connection.close()
    return int(count)
