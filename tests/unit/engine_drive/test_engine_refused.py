"""What becomes of a position when its connector refuses an order, by reason and order class."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio

from services.common.errors import OpensqtError
from services.engine.orders import OrderClass
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import Fault
from tests.support.refusals import DEFINITE, PASSING
from tests.support.virtual_clock import VirtualClock

LOT = Decimal("0.001")


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[EngineRig]:
    """Run an engine; its books are checked at the end."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    yield rig
    assert rig.recorder.alarms == []
    rig.check_books()
    await rig.close_rig()


def refused(error: OpensqtError) -> Fault:
    """Return the fault of a refusal in these words."""
    return Fault(reject=True, refusal=error)


@pytest.mark.parametrize("error", [*DEFINITE, *PASSING], ids=lambda error: error.reason)
async def test_a_refused_entry_ends_flat_and_says_why(rig: EngineRig, error: OpensqtError) -> None:
    """The entry is not tried again: its prices are those of the decision."""
    rig.long_venue.script.append(refused(error))
    view = await rig.open("1")
    assert view.status is PositionStatus.FLAT
    assert view.state_reason == f"LEAD_REJECTED {error.reason}"
    assert len(rig.long_venue.arrivals) == 1
    assert rig.short_venue.arrivals == []


@pytest.mark.parametrize("error", DEFINITE, ids=lambda error: error.reason)
async def test_a_refused_hedge_gives_the_lead_back(rig: EngineRig, error: OpensqtError) -> None:
    """One refusal is enough, and the reason is told."""
    rig.short_venue.script.append(refused(error))
    view = await rig.open("1")
    assert view.status is PositionStatus.FLAT
    assert view.state_reason == f"HEDGE_FAILED_LEAD_UNWOUND {error.reason}"
    assert len(rig.short_venue.arrivals) == 1
    assert rig.long_venue.filled() < LOT


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.reason)
async def test_a_hedge_refused_for_now_is_tried_again(rig: EngineRig, error: OpensqtError) -> None:
    """With a new id after a pause that grows, within the budget."""
    rig.short_venue.script.extend([refused(error), refused(error)])
    started = rig.clock.monotonic()
    view = await rig.open("1")
    hedges = [o for o in view.orders if o.order_class is OrderClass.HEDGE]
    assert view.status is PositionStatus.OPEN
    assert len({o.client_order_id for o in hedges}) == len(rig.short_venue.arrivals) == 3
    first = rig.policy.exit_backoff_first
    assert rig.clock.monotonic() - started >= 3 * first.total_seconds()
    assert view.unhedged_time < rig.policy.unhedged_time_budget


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.reason)
async def test_a_hedge_refused_for_long_gives_the_lead_back(
    rig: EngineRig, error: OpensqtError
) -> None:
    """The budget bounds attempts and time; then the way back."""
    rig.short_venue.script.extend([refused(error)] * 20)
    view = await rig.open("1")
    assert view.status is PositionStatus.FLAT
    assert view.state_reason == f"HEDGE_FAILED_LEAD_UNWOUND {error.reason}"
    assert len(rig.short_venue.arrivals) == rig.policy.hedge_attempts
    assert rig.long_venue.filled() < LOT


@pytest.mark.parametrize(
    ("number", "error"), list(enumerate([*DEFINITE, *PASSING])), ids=lambda value: str(value)[:30]
)
async def test_a_refused_exit_is_tried_again(
    rig: EngineRig, number: int, error: OpensqtError
) -> None:
    """Getting out is never given up: the leg goes on with new ids, the other at once."""
    view = await rig.open("1")
    venue = rig.venues[number % 2]
    venue.script.extend([refused(error)] * 3)
    closed = await rig.close(view.position_id)
    assert closed.status is PositionStatus.CLOSED
    exits = [
        o
        for o in closed.orders
        if o.order_class is OrderClass.EXIT and o.client_order_id in venue.arrivals
    ]
    assert len({o.client_order_id for o in exits}) == len(exits) == 4
    assert rig.short_venue.filled() == 0
