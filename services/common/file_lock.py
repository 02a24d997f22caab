"""One process at a time for a file: a lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def lock_beside(path: Path) -> int:
    """Take the lock `<path>.lock` and return its handle; closing the handle gives it back.

    Raises BlockingIOError when another process holds it, OSError when the file cannot be made.
    """
    # Beside the file, not on it: SQLite takes locks of its own on the database.
    lock = path.with_name(f"{path.name}.lock")
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # The kernel drops this lock with the process, killed or not.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
