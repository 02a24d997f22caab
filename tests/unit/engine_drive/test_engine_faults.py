"""A thousand seeded lives of a position under random faults, commands and crashes."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.engine_lives import Life

SEEDS = 1000
CHUNK = 125


@pytest.mark.parametrize("start", range(0, SEEDS, CHUNK))
async def test_every_seeded_life_settles_neutral(start: int) -> None:
    """Whatever happens, positions settle matched, closed or flat, and nothing is sent twice."""
    for seed in range(start, start + CHUNK):
        try:
            await Life(seed).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        await asyncio.sleep(0)
