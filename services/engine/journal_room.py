"""Room on the disk for exits: a reserve file, given up when the disk is full.

From then on until the reserve can be made again rows that open exposure are refused, and all
others are written into the room that the reserve left.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol

from services.engine.events import EntryIntended, Event, OrderIntended
from services.engine.orders import OrderClass

RESERVE_BYTES: Final = 8 * 1024 * 1024
"""Room for the rows of some thousand exits, and for the write-ahead log that they go through."""


def opens_exposure(event: Event) -> bool:
    """Whether an event is there to have an order sent that makes a position larger."""
    match event:
        case EntryIntended():
            return True
        case OrderIntended(plan=plan):
            return plan.order_class is OrderClass.ENTRY
    return False


class Reserve(Protocol):
    """Room that can be given up once and taken again when there is some."""

    @property
    def is_held(self) -> bool:
        """Whether the room is there to be given up."""
        ...

    def hold(self) -> bool:
        """Take the room; return whether it is held."""
        ...

    def give_up(self) -> None:
        """Leave the room to others; where that fails it stays held."""
        ...


class ReserveFile:
    """A file whose blocks are allocated; it holds nothing."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size
        self._is_held = False

    @property
    def is_held(self) -> bool:
        """Whether the file has all its blocks."""
        return self._is_held

    def hold(self) -> bool:
        """Allocate the file; what it got is given back where it cannot get all."""
        if self._is_held:
            return True
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # Blocks, not a hole: a hole would leave nothing to write into.
                os.posix_fallocate(handle, 0, self._size)
            finally:
                os.close(handle)
        except OSError:
            self.give_up()
            return False
        self._is_held = True
        return True

    def give_up(self) -> None:
        """Delete the file."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return
        self._is_held = False
