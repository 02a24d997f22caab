"""The measure that bounds of time are multiplied with on slow or busy machines."""

from __future__ import annotations

import pytest

from tests.support.pace import MOST, Pace


@pytest.mark.parametrize(
    ("taken", "factor"), [([], 1), ([0.01], 1), ([0.03, 0.09], 2), ([30.0], MOST)]
)
def test_a_bound_is_stretched_by_the_machine_and_never_without_end(
    taken: list[float], factor: float
) -> None:
    """Nor shortened by a fast one."""
    assert Pace(taken).factor == pytest.approx(factor)
