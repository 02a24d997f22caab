"""How old the figures behind an opportunity may be for an entry to stand on them."""

from __future__ import annotations

from datetime import timedelta


def is_stale(age: timedelta, bound: timedelta | None) -> bool:
    """Tell whether figures of this age are too old; None bounds nothing.

    The scanner's `observe_time` is that of the oldest rate, price or book behind an opportunity.
    """
    # An age below zero is a clock that is wrong, and tells nothing of freshness.
    return bound is not None and not -bound <= age <= bound
