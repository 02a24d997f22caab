"""The halt flag: one small file beside the journal, replaced whole and synced to disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from services.common.durable_file import replace_file
from services.engine.risk_halt import HaltFlag

_MOST_BYTES = 64 * 1024


def halt_path(journal_path: Path) -> Path:
    """Return where the halt flag of a journal lies: beside it."""
    return journal_path.with_name(f"{journal_path.name}.halt")


class HaltFlagFile:
    """Reads and replaces the flag; a reader sees the old one or the new one, never a part.

    Where another engine worked the journal since it was written, it is not `current`: that it says
    halted, or is missing, means nothing then, and the journal alone tells.
    """

    def __init__(self, path: Path, *, is_current: bool = True) -> None:
        self._path = path
        self._is_current = is_current

    def read(self) -> HaltFlag:
        """Return what the file says; what cannot be read comes back as `problem`."""
        found = self._read()
        if self._is_current:
            return found
        return replace(found, known=True, halted=False, reason="")

    def _read(self) -> HaltFlag:
        try:
            with self._path.open("rb") as file:
                body = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return HaltFlag(known=False)
        except OSError as error:
            return HaltFlag(known=True, problem=str(error))
        try:
            plain = json.loads(body)
        except ValueError:
            return HaltFlag(known=True, problem="not JSON")
        match plain:
            case {"used": bool(used), "halted": bool(halted), "reason": str(reason)}:
                return HaltFlag(known=True, used=used, halted=halted, reason=reason)
        return HaltFlag(known=True, problem="not a halt flag")

    def write(self, flag: HaltFlag) -> None:
        """Replace the flag durably; raises OSError when that failed, with the old one in place."""
        plain = {"used": flag.used, "halted": flag.halted, "reason": flag.reason}
        replace_file(self._path, json.dumps(plain))
