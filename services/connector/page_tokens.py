"""Opaque page tokens over rows ordered by time, then key. Pure.

A token holds where the next page starts and a fingerprint of the filters, so that a token used with
other filters is refused instead of skipping or repeating rows.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from services.common.errors import InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

MAX_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class Position:
    """The place after the row (time in ms, key); an empty key stands before all rows of its time.

    `remaining` is how many rows of the caller's overall limit are left, None without one.
    """

    time: int
    key: str = ""
    remaining: int | None = None


def read_page_size(size: int, field: str = "page_size") -> int:
    """Return the page size wanted: the maximum for 0 and above it; raise below zero."""
    if size < 0:
        raise InvalidFieldError(field, "must not be negative")
    return min(size or MAX_PAGE_SIZE, MAX_PAGE_SIZE)


def fingerprint(*filters: object) -> str:
    """Return a short digest of the request's filters."""
    return hashlib.sha256(json.dumps(filters, default=str).encode()).hexdigest()[:12]


def encode_token(position: Position, filters: str) -> str:
    """Write a position as a token that only fits the same filters."""
    content = [position.time, position.key, position.remaining, filters]
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def decode_token(token: str, filters: str) -> Position:
    """Read a token; raise InvalidFieldError when it is damaged or of other filters."""
    try:
        padded = token + "=" * (-len(token) % 4)
        content: Any = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        time, key, remaining, of = content
    except (ValueError, TypeError, binascii.Error, UnicodeError):
        raise InvalidFieldError("page_token", "is not a token of this service") from None
    whole = isinstance(time, int) and isinstance(key, str) and len(key) <= 128
    if not whole or not (remaining is None or (isinstance(remaining, int) and remaining > 0)):
        raise InvalidFieldError("page_token", "is not a token of this service")
    # Silently paging on with other filters would skip rows nobody would miss.
    if of != filters:
        raise InvalidFieldError("page_token", "belongs to a request with other fields")
    return Position(time, key, remaining)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one page and where the next starts, None at the end."""

    rows: tuple[Any, ...]
    next: Position | None


def cut_page(
    rows: Sequence[T],
    place: Callable[[T], tuple[int, str]],
    position: Position,
    page_size: int,
    *,
    full: bool,
) -> Page | None:
    """Cut the next page out of one answer of the venue that began at `position.time`, inclusive.

    `full` says that the venue gave as many rows as it was asked for, so rows of the last time may
    be missing: that time is left whole to the next page. None means that the answer is full and all
    its rows have one time: such rows cannot be paged by time.
    """
    ordered = sorted(rows, key=place)
    resume: Position | None = None
    if full:
        last = place(ordered[-1])[0] if ordered else position.time
        # Before all rows of that time, whatever their keys.
        ordered = ordered[: bisect_left(ordered, (last, ""), key=place)]
        # Asking again from the same instant would give the same rows for ever.
        if last <= position.time:
            return None
        resume = Position(last, "", position.remaining)
    fresh = ordered[bisect_right(ordered, (position.time, position.key), key=place) :]
    wanted = page_size if position.remaining is None else min(page_size, position.remaining)
    page = tuple(fresh[:wanted])
    remaining = None if position.remaining is None else position.remaining - len(page)
    if remaining == 0:
        return Page(page, None)
    if len(fresh) > wanted:
        return Page(page, Position(*place(page[-1]), remaining))
    if resume is None:
        return Page(page, None)
    return Page(page, Position(resume.time, resume.key, remaining))
