"""Bounds of the order desk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True)
class DeskOptions:
    """`max_wait_seconds` bounds a caller without a deadline, `fill_seconds` the wait for a close.

    `margin_seconds` is kept of a caller's deadline so that our answer arrives before it passes.
    """

    max_wait_seconds: float = 30.0
    fill_seconds: float = 10.0
    margin_seconds: float = 0.15
    kept_records: int = 5_000

    def answer_margin(self, remaining: float) -> float:
        """Return how long before the deadline the answer leaves; at most a fifth of the rest."""
        return min(self.margin_seconds, max(remaining, 0.0) / 5)

    def fill_wait(self, asked: timedelta | None) -> float:
        """Return how long to wait for an order to close before its state is returned as it is."""
        return self.fill_seconds if asked is None else asked.total_seconds()
