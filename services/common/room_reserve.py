"""Room on the disk for what must be written even when it is full: a file, given up then."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final, Protocol

RESERVE_BYTES: Final = 8 * 1024 * 1024
"""Room for the rows of some hundred exits, and for the write-ahead log that they go through."""
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Primary codes of a write that found no room: the log's index fails as an I/O error."""
_NOT_DURABLE: Final = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
"""I/O errors of a disk that has room: more of it would not help."""


def lacks_room(problem: Exception) -> bool:
    """Whether a write to a database failed as it does on a full disk."""
    # The low byte is the primary code.
    code = getattr(problem, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _NO_ROOM and code not in _NOT_DURABLE


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
