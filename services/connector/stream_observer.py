"""Who counts what goes wrong while reading, and shows how long streams have been silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from services.connector.row_quarantine import RowObserver
from services.connector.stream_hub import StreamObserver

if TYPE_CHECKING:
    from collections.abc import Callable


class DataObserver(StreamObserver, RowObserver, Protocol):
    """What the reading half of a connector tells of itself."""

    def watch_stream_silence(self, stream: str, read: Callable[[], float]) -> None:
        """Show what `read` returns: seconds since streams of that name brought or read rows."""
        ...
