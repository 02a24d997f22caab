"""Pages of the settlements of all symbols, cut out of blocks that are encoded once.

What was paid in the past never changes, and a client that reads a month of it asks for the same
rows in other cuts each time: encoding them for each page would be most of what a page costs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.simulator.market.instants import HOUR_MS, instant, millis
from services.simulator.market.source import FundingSettlement, MarketSource

RowEncoder = Callable[[FundingSettlement], bytes]

BLOCK_MS = 8 * HOUR_MS
# A month of a thousand perpetuals; a range beyond it is made without blocks.
MAX_BLOCKS_OF_PAGE = 128
MAX_KEPT_BYTES = 48 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Block:
    """Encoded rows joined by commas; row n begins at `begins[n]`, the last entry is one past."""

    times: array[int]
    begins: array[int]
    body: bytes

    @property
    def size(self) -> int:
        """Return about how many bytes the block takes, what it needs beside its rows included."""
        return len(self.body) + 16 * len(self.begins) + 512

    def cut(self, first: int, last: int) -> bytes:
        """Return rows `first` up to, not including, `last`, joined by commas."""
        return self.body[self.begins[first] : self.begins[last] - 1]


class SettlementBlocks:
    """Settlements of the past as encoded rows, the longest unasked given up first."""

    def __init__(
        self, source: MarketSource, encode_row: RowEncoder, max_bytes: int = MAX_KEPT_BYTES
    ) -> None:
        self._source = source
        self._encode_row = encode_row
        self._max_bytes = max_bytes
        self._blocks: dict[int, Block] = {}
        self._bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Return the size of the blocks kept."""
        return self._bytes

    def page(self, start: int, end: int, limit: int, now: int) -> bytes | None:
        """Return the first `limit` rows with start <= time <= end (ms) as a JSON array.

        None where the range is longer than pages from blocks are worth.
        """
        upto = min(end, now)
        if (upto - start) // BLOCK_MS >= MAX_BLOCKS_OF_PAGE:
            return None
        parts: list[bytes] = []
        for number in range(start // BLOCK_MS, upto // BLOCK_MS + 1):
            block = self._block(number, start, upto, now)
            first = bisect_left(block.times, start)
            last = min(bisect_right(block.times, upto), first + limit)
            if first < last:
                parts.append(block.cut(first, last))
                limit -= last - first
            if limit <= 0:
                break
        return b"[" + b",".join(parts) + b"]"

    def _block(self, number: int, start: int, upto: int, now: int) -> Block:
        begin, end = number * BLOCK_MS, (number + 1) * BLOCK_MS
        # Not kept before its end, when it lacks what is still to be paid: only what is asked for.
        if end > now:
            return self._make(max(begin, start), upto)
        block = self._blocks.pop(number, None)
        if block is None:
            block = self._make(begin, end - 1)
            self._bytes += block.size
        # Put in anew: a dict keeps the order of insertion, so the first is the longest unasked.
        self._blocks[number] = block
        while self._bytes > self._max_bytes and len(self._blocks) > 1:
            self._bytes -= self._blocks.pop(next(iter(self._blocks))).size
        return block

    def _make(self, first: int, last: int) -> Block:
        rows = self._source.settlements_between(instant(first - 1), instant(last))
        return _joined(rows, self._encode_row)


def _joined(rows: Iterable[FundingSettlement], encode_row: RowEncoder) -> Block:
    times, begins, parts = array("q"), array("q", (0,)), []
    for row in rows:
        part = encode_row(row)
        times.append(millis(row.time))
        parts.append(part)
        # One more than the row: the comma behind it.
        begins.append(begins[-1] + len(part) + 1)
    return Block(times, begins, b",".join(parts))
