"""The halt file: made with a new ledger, replaced as a whole, a halt where it cannot be read."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path

import pytest

from services.connector.trading_halt import HaltState, TradingHalt, decode_halt, encode_halt
from tests.support.hand_clock import NOW, HandClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the halt file is to be."""
    return tmp_path / "orders.ledger.halt"


def test_a_halt_outlives_the_process(path: Path) -> None:
    """Another process reads reason, time and name; a resume is kept as well."""
    first = TradingHalt(path, HandClock())
    first.create()
    assert not first.state().halted
    first.halt("odd fills", "anna")
    assert TradingHalt(path, HandClock()).state() == HaltState(True, "odd fills", NOW, "anna")
    first.resume("explained", "ben")
    assert TradingHalt(path, HandClock()).state() == HaltState(False, "explained", NOW, "ben")
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_there_is_not_made_anew(path: Path) -> None:
    """A new ledger beside an old halt stays halted."""
    TradingHalt(path, HandClock()).halt("kept", "anna")
    later = TradingHalt(path, HandClock())
    later.create()
    assert later.state().halted


def test_a_missing_file_is_a_halt_and_so_is_one_that_goes(path: Path) -> None:
    """Both at the start and later on, without a restart."""
    assert TradingHalt(path, HandClock()).state().halted
    running = TradingHalt(path, HandClock())
    running.create()
    assert not running.state().halted
    path.unlink()
    assert running.state().halted
    assert "missing" in running.state().reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "\x00" * 40,
        '{"halted": false}',
        '{"halted": 0, "reason": "", "at": "2026-03-20T10:00:00+00:00", "by": ""}',
        '{"halted": "false", "reason": "", "at": "2026-03-20T10:00:00+00:00", "by": ""}',
        '{"halted": false, "reason": 1, "at": "2026-03-20T10:00:00+00:00", "by": ""}',
        '{"halted": false, "reason": "", "at": "2026-03-20T10:00:00", "by": ""}',
        '{"halted": false, "reason": "", "at": "soon", "by": ""}',
        '{"halted": false, "reason": "", "at": "2026-03-20T10:00:00+00:00", "by": "", "x": 1}',
        "x" * 70_000,
    ],
)
def test_a_corrupt_file_is_a_halt(path: Path, text: str) -> None:
    """Whatever is wrong with it, opening stops and the reason says why."""
    path.write_text(text)
    found = TradingHalt(path, HandClock()).state()
    assert found.halted
    assert "unreadable" in found.reason


def test_bytes_that_are_no_text_are_a_halt(path: Path) -> None:
    """A file of another kind is unreadable, not an exception."""
    path.write_bytes(b"\xff\xfe\x00{")
    assert TradingHalt(path, HandClock()).state().halted


def test_an_edit_by_hand_is_seen_at_the_next_look(path: Path) -> None:
    """An operator without any tool can halt with an editor."""
    running = TradingHalt(path, HandClock())
    running.create()
    assert not running.state().halted
    row = json.loads(path.read_text())
    path.write_text(json.dumps({**row, "halted": True, "reason": "by hand"}))
    assert running.state() == HaltState(True, "by hand", NOW, "connector")


def test_a_halt_that_cannot_be_written_holds_until_the_end(tmp_path: Path) -> None:
    """The caller learns of it; the process halts all the same."""
    folder = tmp_path / "gone"
    folder.mkdir()
    running = TradingHalt(folder / "halt", HandClock())
    running.create()
    (folder / "halt.new").mkdir()
    with pytest.raises(OSError, match=r"halt\.new"):
        running.halt("now", "anna")
    assert running.state().halted


def test_a_time_still_to_come_counts_from_now(path: Path) -> None:
    """A halt dated tomorrow would leave the way open for hedges until then."""
    tomorrow = HaltState(True, "early", NOW + timedelta(days=1), "anna")
    path.write_text(encode_halt(tomorrow))
    assert TradingHalt(path, HandClock()).state().at == NOW


def test_nobody_is_told_the_old_state_while_another_reads_the_new_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are read on a thread of their own: no order slips through beside it."""
    running = TradingHalt(path, HandClock())
    running.create()
    assert not running.state().halted
    path.write_text(encode_halt(HaltState(True, "by hand", NOW, "anna")))
    entered, go_on, read = threading.Event(), threading.Event(), running._read

    def slow_read() -> HaltState:
        entered.set()
        go_on.wait(5)
        return read()

    monkeypatch.setattr(running, "_read", slow_read)
    with ThreadPoolExecutor(2) as pool:
        scrape = pool.submit(running.state)
        assert entered.wait(5)
        order = pool.submit(running.state)
        wait([order], timeout=0.1)
        go_on.set()
        assert (scrape.result(5).halted, order.result(5).halted) == (True, True)


def test_the_files_text_is_read_as_it_was_written() -> None:
    """Every field survives, the time with its offset."""
    state = HaltState(True, 'a "quoted" reason\n', NOW, "anna")
    assert decode_halt(encode_halt(state)) == state
