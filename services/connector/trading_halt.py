"""The halt on disk: a file beside the ledger that says whether positions may be opened.

It is made together with a new ledger. Where it is missing beside an older ledger, or cannot be
read, the connector takes it for a halt: somebody removed it, or a restore forgot it. It is looked
at before each opening order (one stat), so an operator can also halt by changing or removing it.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from services.common.durable_file import replace_file
from services.common.logs import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from services.common.clock import Clock

_logger = get_logger(__name__)
_MAX_BYTES: Final = 64 * 1024
_CONNECTOR: Final = "connector"


@dataclass(frozen=True, slots=True)
class HaltState:
    """Whether opening is stopped, why, since when (aware), and on whose word."""

    halted: bool
    reason: str
    at: datetime
    by: str


def encode_halt(state: HaltState) -> str:
    """Return the file's text."""
    return json.dumps({**asdict(state), "at": state.at.astimezone(UTC).isoformat()}, indent=1)


def decode_halt(text: str) -> HaltState:
    """Return the state in a file's text; raise ValueError when it is not whole."""
    row = json.loads(text)
    if not isinstance(row, dict) or set(row) != {"halted", "reason", "at", "by"}:
        raise ValueError("it must hold halted, reason, at and by")
    if not isinstance(row["halted"], bool):
        raise ValueError("halted must be true or false")
    texts = [row[name] for name in ("reason", "at", "by")]
    if not all(isinstance(one, str) for one in texts):
        raise ValueError("reason, at and by must be text")
    at = datetime.fromisoformat(row["at"])
    if at.tzinfo is None:
        raise ValueError("at must name its offset from UTC")
    return HaltState(row["halted"], row["reason"], at, row["by"])


class TradingHalt:
    """The halt file of one ledger."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._mark: tuple[int, int, int] | None = None
        self._state: HaltState | None = None
        # Callers come on threads of their own: two at once would take each other's draft away.
        self._writing = threading.Lock()
        # Nor may one be told the old state while another reads the new one.
        self._reading = threading.Lock()

    def create(self) -> None:
        """Allow opening where there is no file yet; for a ledger that was made just now."""
        if not self._path.exists():
            now = self._clock.now()
            self._write(HaltState(False, "made together with a new ledger", now, _CONNECTOR))

    def state(self) -> HaltState:
        """Return what the file says now; missing or unreadable it says halted."""
        with self._reading:
            mark = self._look()
            # The file is small and changes once in a month; the stat is all an order pays.
            if self._state is None or mark != self._mark:
                self._mark = mark
                self._state = self._read()
                _logger.warning(
                    "trading_halt_read", halted=self._state.halted, problem=self._state.reason
                )
            return self._state

    def halt(self, reason: str, by: str) -> HaltState:
        """Stop opening, durably; raise OSError when that fails: it holds until the process ends."""
        state = HaltState(True, reason, self._clock.now(), by)
        try:
            self._write(state)
        except OSError:
            with self._reading:
                self._mark, self._state = self._look(), state
            raise
        return self.state()

    def resume(self, reason: str, by: str) -> HaltState:
        """Allow opening again, durably; raise OSError when it cannot be written."""
        self._write(HaltState(False, reason, self._clock.now(), by))
        return self.state()

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> HaltState:
        try:
            with self._path.open("rb") as file:
                raw = file.read(_MAX_BYTES + 1)
            if len(raw) > _MAX_BYTES:
                raise ValueError("it is too large")
            state = decode_halt(raw.decode())
        except FileNotFoundError:
            return self._unreadable(f"the halt file {self._path.name} is missing")
        except (OSError, ValueError) as error:
            return self._unreadable(f"the halt file {self._path.name} is unreadable: {error}")
        # A time still to come would leave the way open for who completes a pair.
        latest = self._clock.now()
        return HaltState(state.halted, state.reason, min(state.at, latest), state.by)

    def _unreadable(self, reason: str) -> HaltState:
        return HaltState(True, reason, self._clock.now(), _CONNECTOR)

    def _write(self, state: HaltState) -> None:
        with self._writing:
            replace_file(self._path, encode_halt(state))
