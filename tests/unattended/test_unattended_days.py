"""Days on its own: in by the stream, funding collected, out as the carry goes, all explained."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from cli.demo.books import Books, changed_coins
from cli.demo.result import QUOTE_ASSETS
from services.common.codec import decimal_from_proto
from services.engine import events as ev
from tests.support.fading_market import CALM, FADES, FLIPS, rate_at
from tests.support.stack import CLOSED, OPEN, running_stack
from tests.support.unattended import Night, assert_explained, unattended_options

pytestmark = pytest.mark.timeout(240)


async def test_days_pass_and_nobody_attends(tmp_path: Path) -> None:
    """Two rates are entered, held over days and left: one as it flips, one as it fades away."""
    async with running_stack(
        tmp_path / "stack", unattended_options(tmp_path / "data", "auto")
    ) as stack:
        night, before = Night(stack), await stack.books()
        await night.until_state({FLIPS: OPEN, FADES: OPEN})
        for _ in range(6):
            await night.pass_settlement()
        # The seventh would cost: it is left before that.
        await night.until_state({FLIPS: CLOSED, FADES: OPEN})
        for _ in range(6):
            await night.pass_settlement()
        await night.until_state({FLIPS: CLOSED, FADES: CLOSED})
        await _assert_flat(night, before)
        told = assert_explained(await night.events())
        rows = await night.positions()
        assert set(rows) == {FLIPS, FADES}, f"{CALM} pays too little to be entered"
        for symbol, settlements in ((FLIPS, 6), (FADES, 12)):
            await _assert_collected(night, symbol, settlements)
        assert told["enter TARGET"] >= 2
        assert told["exit FUNDING_FLIPPED"] >= 1
        assert sum(n for name, n in told.items() if name.startswith("exit")) >= 2
        assert told["hold CARRY"] >= 2


async def _assert_flat(night: Night, before: Books) -> None:
    """Check the venue's own books: no perpetual, of each coin less than a lot, no id twice."""
    after = await night.stack.books()
    assert after.positions == {}
    assert after.duplicate_ids == ()
    for asset, change in changed_coins(before, after, QUOTE_ASSETS).items():
        market = await night.stack.market(f"{asset}USDT")
        assert abs(change) < market.larger_lot, asset


async def _assert_collected(night: Night, symbol: str, settlements: int) -> None:
    """Check that a symbol's funding is the venue's, and about what its rates pay for its size."""
    (position,) = (await night.positions())[symbol]
    booked = decimal_from_proto(position, "funding_received")
    assert booked == (await night.stack.books()).funding_by_symbol[symbol]
    rates = sum((rate_at(symbol, n) for n in range(1, settlements + 1)), Decimal(0))
    (intent,) = [
        e
        for e in await night.events()
        if isinstance(e, ev.EntryIntended) and e.position_id == position.position_id
    ]
    worth = intent.quantity * intent.lead_reference * rates
    assert booked is not None
    assert abs(booked - worth) < worth / 20
