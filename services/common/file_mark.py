"""Words in the lock file beside a database: what the database was when it was used last.

A database that was lost, or put back from an older copy, does not know it; the mark does.
"""

from __future__ import annotations

import os

_MOST_BYTES = 256


def read_mark(handle: int) -> tuple[str, ...]:
    """Return the words of the lock file that is open here; none where nothing was ever written."""
    return tuple(os.pread(handle, _MOST_BYTES, 0).decode("ascii", errors="replace").split())


def write_mark(handle: int, *words: str, durable: bool = True) -> None:
    """Put these words in the place of all others; raise OSError when that fails.

    Not `durable` it survives the death of the process, and a power cut may bring back the words of
    before.
    """
    text = f"{' '.join(words)}\n".encode("ascii")
    os.pwrite(handle, text, 0)
    # After the words: the file is never seen empty.
    os.ftruncate(handle, len(text))
    if durable:
        os.fsync(handle)
