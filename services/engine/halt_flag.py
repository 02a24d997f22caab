"""The halt flag: one small file beside the journal, replaced whole and synced to disk."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from services.engine.risk_halt import HaltFlag

_MOST_BYTES = 64 * 1024


class HaltFlagFile:
    """Reads and replaces the flag; a reader sees the old one or the new one, never a part."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> HaltFlag:
        """Return what the file says; what cannot be read comes back as `problem`."""
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
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True)
        plain = {"used": flag.used, "halted": flag.halted, "reason": flag.reason}
        body = json.dumps(plain).encode()
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        # The name is in the folder: without this a power cut brings the old flag back.
        listing = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(listing)
        finally:
            os.close(listing)
