"""The highest epoch that engines have shown here: who shows a lower one has been overtaken.

An engine gets a higher epoch with each start, and with each takeover where several share a journal.
One that was paused meanwhile and wakes sends with its old epoch, and is refused: closing orders
too, since whoever overtook it works the same positions. Callers that show none are not engines.
Kept per principal in a file beside the ledger. One that cannot be read is taken for none: the next
word of the engine at work mends it, and orders that reduce must not wait for that.
"""

from __future__ import annotations

import asyncio
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from services.common.durable_file import replace_file
from services.common.errors import PreconditionError
from services.common.logs import get_logger

if TYPE_CHECKING:
    from pathlib import Path

_logger = get_logger(__name__)
_MAX_BYTES: Final = 64 * 1024

CALL_EPOCH: Final[ContextVar[int]] = ContextVar("call_epoch", default=0)
"""The epoch that the call being served shows; 0 where it shows none."""


class EngineEpochs:
    """The epochs of one ledger. Used from one event loop."""

    def __init__(self, ledger_path: Path) -> None:
        self._path = ledger_path.with_name(f"{ledger_path.name}.epochs")
        self._highest = _read(self._path)
        self._kept = dict(self._highest)
        self._writing = asyncio.Lock()

    async def admit(self, principal: str, epoch: int) -> EngineSender | None:
        """Take note of the epoch a caller shows, durably; return the engine, None for epoch 0.

        Raises PreconditionError (EPOCH_SUPERSEDED) for a lower epoch than was shown before.
        """
        if epoch == 0:
            return None
        self.check(principal, epoch)
        # In memory first: an order of the one who is overtaken may be about to leave.
        self._highest[principal] = epoch
        if self._kept.get(principal, 0) < epoch:
            await self._keep(principal, epoch)
            self.check(principal, epoch)
        return EngineSender(self, principal, epoch)

    def check(self, principal: str, epoch: int) -> None:
        """Raise PreconditionError (EPOCH_SUPERSEDED) when a higher epoch was shown."""
        highest = self._highest.get(principal, 0)
        if epoch < highest:
            raise PreconditionError(
                f"engine epoch {epoch} was superseded by {highest}",
                reason="EPOCH_SUPERSEDED",
                metadata={"engineEpoch": str(highest)},
            )

    async def _keep(self, principal: str, epoch: int) -> None:
        async with self._writing:
            if self._kept.get(principal, 0) >= epoch:
                return
            seen = dict(self._highest)
            try:
                # In a thread: the event loop does not wait for the disk.
                await asyncio.to_thread(replace_file, self._path, json.dumps(seen, indent=1))
            except OSError as error:
                # Memory holds it until the process ends, and each later call tries again.
                _logger.error("engine_epoch_not_kept", problem=error.strerror)
                return
            self._kept = seen
        _logger.info("engine_epoch_seen", principal=principal, epoch=epoch)


class EngineSender:
    """An engine as it showed itself with one call."""

    def __init__(self, epochs: EngineEpochs, principal: str, epoch: int) -> None:
        self._epochs = epochs
        self._principal = principal
        self._epoch = epoch

    def check(self) -> None:
        """Raise PreconditionError (EPOCH_SUPERSEDED) when it was overtaken since."""
        self._epochs.check(self._principal, self._epoch)


def _read(path: Path) -> dict[str, int]:
    try:
        with path.open("rb") as file:
            rows = json.loads(file.read(_MAX_BYTES))
        if not all(type(value) is int and value > 0 for value in rows.values()):
            raise ValueError("an epoch is no number above zero")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        _logger.error("engine_epochs_unreadable", path=str(path), problem=str(error))
        return {}
    return dict(rows)
