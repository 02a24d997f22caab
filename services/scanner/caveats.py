"""What is uncertain about a published figure, by names that go on the wire."""

from __future__ import annotations

from enum import StrEnum


class Caveat(StrEnum):
    """One doubt about an opportunity; docs/quality-score.md explains each."""

    FEE_DEFAULT = "FEE_DEFAULT"
    SPREAD_DEFAULT = "SPREAD_DEFAULT"
    BORROW_DEFAULT = "BORROW_DEFAULT"
    BOOK_UNREAD = "BOOK_UNREAD"
    BOOK_MISSING = "BOOK_MISSING"
    BOOK_STALE = "BOOK_STALE"
    BOOK_SHALLOW = "BOOK_SHALLOW"
    WINDOW_PARTIAL = "WINDOW_PARTIAL"
    SETTLEMENTS_MISSING = "SETTLEMENTS_MISSING"
    INTERVAL_CHANGED = "INTERVAL_CHANGED"
    STREAM_STALE = "STREAM_STALE"
