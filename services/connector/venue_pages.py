"""Histories the venue gives by start time, as pages that neither lose nor repeat a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import to_millis
from services.common.errors import Code, InvalidFieldError, RejectedError
from services.connector.page_tokens import (
    Position,
    cut_page,
    decode_token,
    encode_token,
    fingerprint,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

VENUE_ROWS: Final = 1000
"""Most rows Binance gives in one answer of fundingRate and income."""
# Answers cost by count, not by rows: tiny pages would eat the 500 requests of 5 minutes.
_FEWEST_ROWS: Final = 100
_MAX_EMPTY_CALLS: Final = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of one answer that have a place, and how many the venue sent in all."""

    rows: list[Any]
    sent: int


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What part of a history is wanted: `symbol` in any form or None for all, `end` exclusive."""

    symbol: str | None
    start: datetime | None
    end: datetime | None
    page_size: int
    limit: int = 0
    page_token: str = ""

    @property
    def filters(self) -> str:
        """Return the fingerprint of everything that must not change between pages."""
        return fingerprint(self.symbol, self.start, self.end, self.limit)

    @property
    def end_millis(self) -> int | None:
        """Return the last millisecond wanted, as the venue counts (inclusive)."""
        return None if self.end is None else to_millis(self.end) - 1


async def read_history(
    request: HistoryRequest,
    fetch: Callable[[int | None, int | None, int], Awaitable[Answer]],
    place: Callable[[Any], tuple[int, str]],
) -> tuple[tuple[Any, ...], str]:
    """Return one page of raw rows, ascending, and the token of the next page.

    `fetch(start, end, limit)` asks the venue; `place` gives a row's (time, key). Without a start
    time the newest rows come, in one page. A page may be shorter than asked for although there is
    a token.

    Raises RejectedError (HISTORY_TOO_DENSE) when one millisecond has more rows than an answer.
    """
    if request.limit < 0:
        raise InvalidFieldError("limit", "must not be negative")
    if request.start is not None and request.end is not None and request.end <= request.start:
        raise InvalidFieldError("end_time", "must be after start_time")
    if request.start is None and not request.page_token:
        return await _newest(request, fetch, place), ""
    position = _first_position(request)
    # Two more than a page: the row the page begins after, and the last, which may be cut short.
    fewest = max(request.page_size + 2, _FEWEST_ROWS)
    asked = VENUE_ROWS if request.symbol is None else min(fewest, VENUE_ROWS)
    # Bounded: years of silence cost the caller a token, not its deadline.
    for _ in range(_MAX_EMPTY_CALLS):
        answer = await fetch(position.time, request.end_millis, asked)
        full = answer.sent >= asked
        page = cut_page(answer.rows, place, position, request.page_size, full=full)
        if page is None:
            raise RejectedError(
                "more rows at one instant than the venue gives at once; ask by symbol",
                reason="HISTORY_TOO_DENSE",
                code=Code.FAILED_PRECONDITION,
            )
        if page.rows or page.next is None:
            token = "" if page.next is None else encode_token(page.next, request.filters)
            return page.rows, token
        position = page.next
    return (), encode_token(position, request.filters)


def _first_position(request: HistoryRequest) -> Position:
    if request.page_token:
        return decode_token(request.page_token, request.filters)
    if request.start is None:
        raise InvalidFieldError("start_time", "is required")
    return Position(max(to_millis(request.start), 0), "", request.limit or None)


async def _newest(
    request: HistoryRequest,
    fetch: Callable[[int | None, int | None, int], Awaitable[Answer]],
    place: Callable[[Any], tuple[int, str]],
) -> tuple[Any, ...]:
    wanted = min(request.page_size, request.limit or request.page_size)
    answer = await fetch(None, request.end_millis, wanted)
    return tuple(sorted(answer.rows, key=place)[-wanted:])
