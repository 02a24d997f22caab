"""The ledger on a full disk: what reduces exposure is recorded in the room kept for it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import FatalError, PreconditionError
from services.common.room_reserve import ReserveFile
from services.connector.ledger import Ledger, LedgerRow, Phase


class Room:
    """Room that can be had while `is_free`."""

    def __init__(self) -> None:
        self.is_free = True
        self.is_held = False

    def hold(self) -> bool:
        """Take it where there is some."""
        self.is_held = self.is_held or self.is_free
        return self.is_held

    def give_up(self) -> None:
        """Leave it."""
        self.is_held = False


class FullDisk(Ledger):
    """A ledger whose writes find no room while the reserve takes it."""

    room: Room

    async def _submit(self, *arguments: object, **pace: object) -> object:  # type: ignore[override]  # passes all on
        if self.room.is_held and not self.room.is_free:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return await super()._submit(*arguments, **pace)  # type: ignore[arg-type]  # as above


def row(name: str) -> LedgerRow:
    """Return a row of an id."""
    return LedgerRow(name, name, "hash", "BTCUSDT", Phase.OPEN, 1, "{}")


class FullStart(Ledger):
    """A ledger on a disk that has no room for its opening while `taken` exists."""

    taken: Path

    def _prepare(self, *arguments: Any) -> Any:
        found = super()._prepare(*arguments)
        if self.taken.exists():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return found


async def test_a_start_on_a_full_disk_takes_the_reserve_of_the_last_life(tmp_path: Path) -> None:
    """Orders that are open must not be left to nobody; without a reserve the start says so."""
    path, kept = tmp_path / "orders.ledger", tmp_path / "orders.ledger.reserve"
    first = Ledger(path, reserve=ReserveFile(kept, 4096))
    first.open()
    await first.record(row("open-1"), urgent=True)
    first.close()
    assert kept.exists()
    ledger = FullStart(path, reserve=ReserveFile(kept, 4096))
    ledger.taken = kept
    ledger.open()
    assert [one.client_order_id for one in await ledger.open_rows()] == ["open-1"]
    ledger.close()
    bare = FullStart(path, reserve=ReserveFile(tmp_path / "other", 4096))
    bare.taken = path
    with pytest.raises(FatalError, match=r"disk is full.*leave it where it is") as refused:
        bare.open()
    # Moved away as a damaged one is, a sound ledger would be missed.
    assert refused.value.reason == "LEDGER_UNAVAILABLE"


async def test_exits_take_the_reserve_and_entries_wait_for_room(tmp_path: Path) -> None:
    """From the first failed write until the reserve can be held again."""
    room = Room()
    ledger = FullDisk(tmp_path / "orders.ledger", reserve=room)
    ledger.room = room
    ledger.open()
    try:
        room.is_free = False
        assert await ledger.record(row("exit-1"), urgent=True) is None
        assert not room.is_held
        with pytest.raises(PreconditionError) as refused:
            await ledger.record(row("entry-1"))
        assert refused.value.reason == "LEDGER_FULL"
        await ledger.update("exit-1", Phase.CLOSED)
        assert await ledger.record(row("exit-2"), urgent=True) is None
        room.is_free = True
        assert await ledger.record(row("entry-1")) is None
    finally:
        ledger.close()
