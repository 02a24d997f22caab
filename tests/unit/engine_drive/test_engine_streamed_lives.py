"""Random lives whose fills are told while calls are open, taking and resting ones."""

from __future__ import annotations

import pytest

from tests.support.engine_lives import Life

SEEDS = 100
# Ended once with a hedge sold that had never been bought: an unwind had taken more than there was.
FOUND = (2066,)


@pytest.mark.parametrize("passive", [False, True], ids=["taking", "passive"])
async def test_a_streamed_life_ends_matched(*, passive: bool) -> None:
    """Whatever comes first, event or answer, nothing is hedged twice, forgotten or left bare."""
    for seed in (*range(SEEDS), *FOUND):
        try:
            await Life(seed, streamed=seed % 4 != 0, passive=passive).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
