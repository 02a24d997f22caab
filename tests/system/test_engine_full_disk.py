"""The journal on a disk that is really full: a file system in memory of a few MiB."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.room_reserve import ReserveFile
from services.engine.events import EngineHalted
from services.engine.journal import JournalError
from services.engine.journal_file import read_events
from services.engine.orders import OrderClass
from services.engine.sqlite_journal import SqliteJournal
from tests.support.journal_images import halted, order_intent

pytestmark = pytest.mark.system
_RESERVE = 1024 * 1024
_EXITS = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 4 MiB."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or unmount is None:
        pytest.skip("file systems can be mounted by root only")
    place = tmp_path / "disk"
    place.mkdir()
    make = [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if subprocess.run(make, check=False, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield place
    subprocess.run([unmount, str(place)], check=True)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


async def test_exits_are_journaled_on_a_full_disk_and_all_is_there_after_it(disk: Path) -> None:
    """Entries are refused from the first failed write until there is room; nothing is lost."""
    path = disk / "journal.db"
    journal = SqliteJournal(path, reserve=ReserveFile(disk / "reserve", _RESERVE))
    await journal.open()
    await journal.append([halted(0)])
    fill(disk / "others")
    refused: list[str] = []
    for number in range(_EXITS):
        try:
            await journal.append([order_intent(OrderClass.ENTRY, number)])
        except JournalError as error:
            refused.append(error.reason)
        journal.append_soon([order_intent(OrderClass.HEDGE, number)])
        await journal.append([order_intent(OrderClass.EXIT, number)])
    assert set(refused) == {"JOURNAL_FULL"}
    # Some entries fit into the last pages before the first write fails.
    assert len(refused) > _EXITS // 2
    (disk / "others").unlink()
    await journal.append([order_intent(OrderClass.ENTRY, _EXITS)])
    await journal.close()
    rows = read_events(path)
    assert len(rows) == 1 + 2 * _EXITS + (_EXITS - len(refused)) + 1
    assert not any(isinstance(row, EngineHalted) for row in rows[1:])
