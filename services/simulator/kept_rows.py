"""Encoded rows, kept as long as the market answers with the very same objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Row = TypeVar("Row")

# As many as the market keeps of finished candles, see market.candles; about 10 MB.
MAX_ROWS = 36_000


class KeptRows(Generic[Row]):
    """Bytes by the object they were made of; rows must not change, and the first kept go first."""

    def __init__(self, encode_row: Callable[[Row], bytes], max_rows: int = MAX_ROWS) -> None:
        self._encode_row = encode_row
        self._max_rows = max_rows
        self._kept: dict[int, tuple[Row, bytes]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def array(self, rows: Sequence[Row]) -> bytes:
        """Return the rows as a JSON array."""
        return b"[" + b",".join(map(self._encoded, rows)) + b"]"

    def _encoded(self, row: Row) -> bytes:
        # The object itself is held too: as long as it lives, no other one has its id.
        kept = self._kept.get(id(row))
        if kept is not None:
            return kept[1]
        if len(self._kept) >= self._max_rows:
            del self._kept[next(iter(self._kept))]
        encoded = self._encode_row(row)
        self._kept[id(row)] = (row, encoded)
        return encoded
