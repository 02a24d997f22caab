"""Pages of a list that is held in memory: opaque tokens that keep their place and their filter."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.common.errors import InvalidFieldError

T = TypeVar("T")

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500


def page_size(asked: int) -> int:
    """Return the rows of a page: 0 is 50, above 500 is 500; negative raises InvalidFieldError."""
    if asked < 0:
        raise InvalidFieldError("page_size", "must not be negative")
    return min(asked, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


def take_page(
    rows: Sequence[T], key: Callable[[T], str], asked_size: int, token: str, filters: str
) -> tuple[Sequence[T], str]:
    """Return one page and the token of the next (empty at the end).

    `key` names a row; a page starts after the row its token names, or at the place that row had
    when it is gone. `filters` is the text of the request's filters: a token keeps to its own.
    Raises InvalidFieldError for a bad size, a token that is not ours or one of other filters.
    """
    size = page_size(asked_size)
    start = 0
    if token:
        index, name = _decode(token, filters)
        names = [key(row) for row in rows]
        # By name first: rows that came or went in front would shift a bare index.
        start = names.index(name) + 1 if name in names else min(index, len(rows))
    page = rows[start : start + size]
    end = start + len(page)
    return page, _encode(end, key(page[-1]), filters) if end < len(rows) else ""


def _digest(filters: str) -> str:
    return hashlib.sha256(filters.encode()).hexdigest()[:12]


def _encode(index: int, name: str, filters: str) -> str:
    return base64.urlsafe_b64encode(f"{_digest(filters)}:{index}:{name}".encode()).decode("ascii")


def _decode(token: str, filters: str) -> tuple[int, str]:
    try:
        text = base64.urlsafe_b64decode(token.encode("ascii")).decode()
        digest, index, name = text.split(":", 2)
        place = int(index)
    except (binascii.Error, UnicodeError, ValueError):
        raise InvalidFieldError("page_token", "is not a token of this service") from None
    if place < 0:
        raise InvalidFieldError("page_token", "is not a token of this service")
    if digest != _digest(filters):
        raise InvalidFieldError("page_token", "belongs to a request with other filters")
    return place, name
