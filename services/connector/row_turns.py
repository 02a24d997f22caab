"""Long answers converted in turns, so that an order never waits behind a bulk read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.connector.row_quarantine import RowQuarantine

T = TypeVar("T")

# About 2 ms of work: what a send may have to wait for.
ROWS_PER_TURN: Final = 100


async def collect_in_turns(
    quarantine: RowQuarantine,
    kind: str,
    rows: Any,
    convert: Callable[[Any], T | None],
    *,
    whole: bool = True,
) -> list[T]:
    """Do as `RowQuarantine.collect`, giving way to the loop after every hundred rows."""
    if not isinstance(rows, list) or len(rows) <= ROWS_PER_TURN:
        return quarantine.collect(kind, rows, convert, whole=whole)
    found: list[T] = []
    for start in range(0, len(rows), ROWS_PER_TURN):
        part = rows[start : start + ROWS_PER_TURN]
        found.extend(quarantine.collect(kind, part, convert, whole=False))
        await asyncio.sleep(0)
    if whole and not found:
        # All or nothing is judged over the whole answer: convert it once more to find out which.
        return quarantine.collect(kind, rows, convert)
    return found
