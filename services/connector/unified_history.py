"""Histories that a venue tells newest first, read window by window so that none is cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.common.errors import Code, InvalidFieldError, RejectedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.connector.unified_traits import HistoryPages

    Ask = Callable[[int, int], Awaitable[list[dict[str, Any]]]]
    AskPage = Callable[[int], Awaitable[list[dict[str, Any]]]]

_MOST_CALLS: Final = 60
_MOST_PAGES: Final = 100


async def read_windows(
    ask: Ask, pages: HistoryPages, bounds: tuple[int, int], limit: int
) -> list[dict[str, Any]]:
    """Return rows from the first bound on (ms, both inclusive), at least `limit` or all there are.

    A full answer may have been cut at its oldest end: its window is halved and asked again. Raises
    RejectedError (HISTORY_TOO_DENSE) when that does not help, InvalidFieldError naming `start_time`
    when the way to it takes too many questions.
    """
    begin, end = bounds
    width = round(pages.window.total_seconds() * 1000)
    rows: list[dict[str, Any]] = []
    for _ in range(_MOST_CALLS):
        stop = min(begin + width - 1, end)
        part = await ask(begin, stop)
        if len(part) >= pages.rows:
            width //= 2
            if width < 1:
                raise _too_dense()
            continue
        rows.extend(part)
        begin = stop + 1
        if begin > end or len(rows) >= limit:
            return rows
    raise InvalidFieldError("start_time", "is too long ago for one call; ask for a shorter span")


async def read_newest(ask: Ask, pages: HistoryPages, end: int, limit: int) -> list[dict[str, Any]]:
    """Return the newest rows up to `end` (ms, inclusive), `limit` or as many as a few windows have.

    Raises as `read_windows`.
    """
    width = round(pages.window.total_seconds() * 1000)
    rows: list[dict[str, Any]] = []
    stop = end
    # Bounded: a venue that has none is not searched back to its beginning.
    for _ in range(_MOST_CALLS // 10):
        begin = max(stop - width + 1, 0)
        part = await read_windows(ask, pages, (begin, stop), pages.rows * _MOST_CALLS)
        rows = [*part, *rows]
        stop = begin - 1
        if len(rows) >= limit or stop < 0:
            break
    return rows


async def read_pages(ask: AskPage, pages: HistoryPages, start: int) -> list[dict[str, Any]]:
    """Return all rows back to `start` (ms) of a venue that gives pages from the newest on."""
    rows: list[dict[str, Any]] = []
    for number in range(1, _MOST_PAGES + 1):
        part = await ask(number)
        rows.extend(part)
        oldest = min((int(row["timestamp"]) for row in part), default=0)
        if len(part) < pages.rows or oldest < start:
            return rows
    raise InvalidFieldError("start_time", "is too long ago for one call; ask for a shorter span")


def _too_dense() -> RejectedError:
    return RejectedError(
        "more rows at one instant than the venue gives at once; ask by symbol",
        reason="HISTORY_TOO_DENSE",
        code=Code.FAILED_PRECONDITION,
    )
