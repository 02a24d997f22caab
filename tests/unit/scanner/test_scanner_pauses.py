"""The pause between scans: the set one, less while scans are not complete."""

from __future__ import annotations

import pytest

from services.scanner.pauses import pause_after


@pytest.mark.parametrize(
    ("incomplete_count", "seconds"),
    [(0, 300.0), (1, 5.0), (2, 10.0), (6, 160.0), (7, 300.0), (10_000, 300.0)],
)
def test_incomplete_scans_are_repeated_soon_then_ever_later(
    incomplete_count: int, seconds: float
) -> None:
    """From five seconds on, doubling up to the interval; a complete one has the whole interval."""
    assert pause_after(300.0, incomplete_count) == seconds


def test_a_short_interval_stays_as_it_is() -> None:
    """Nobody waits longer than the setting says."""
    assert pause_after(1.0, 1) == 1.0
