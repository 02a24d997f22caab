"""Long answers are converted in turns and judged as a whole."""

from __future__ import annotations

import asyncio

import pytest

from services.common.errors import UnreachableError
from services.connector.row_quarantine import RowQuarantine
from services.connector.row_turns import ROWS_PER_TURN, collect_in_turns


async def test_others_run_while_a_long_answer_is_converted() -> None:
    """The loop is given back after every turn."""
    done = 0

    async def other() -> None:
        nonlocal done
        for _ in range(5):
            await asyncio.sleep(0)
            done += 1

    running = asyncio.get_running_loop().create_task(other())
    rows = [str(number) for number in range(ROWS_PER_TURN * 8)]
    found = await collect_in_turns(RowQuarantine(), "numbers", rows, int)
    assert found == list(range(len(rows)))
    assert done == 5
    await running


async def test_bad_rows_of_a_long_answer_are_left_out_and_counted() -> None:
    """A turn without a good row is no reason to give up the others."""
    quarantine = RowQuarantine()
    rows = ["x"] * ROWS_PER_TURN + ["1"] * 5
    assert await collect_in_turns(quarantine, "numbers", rows, int) == [1] * 5
    assert quarantine.counts == {"numbers": ROWS_PER_TURN}


async def test_a_long_answer_of_bad_rows_alone_is_broken() -> None:
    """As with a short one."""
    with pytest.raises(UnreachableError):
        await collect_in_turns(RowQuarantine(), "numbers", ["x"] * (ROWS_PER_TURN + 1), int)


async def test_a_long_answer_about_others_is_empty() -> None:
    """Nothing of ours in it is no failure."""
    rows = ["1"] * (ROWS_PER_TURN + 1)
    assert await collect_in_turns(RowQuarantine(), "numbers", rows, lambda _: None) == []
