"""A ledger file that was lost: the venue is asked before an id is used again."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from services.common.errors import (
    AlreadyExistsError,
)
from services.connector.ledger import Phase
from services.connector.order_types import (
    OrderClass,
)
from tests.support.connector_orders import instrument, order_request
from tests.support.desk_rig import HandOrders, accept, open_desk, venue_row


async def test_lost_ledger_adopts_what_the_venue_has_under_the_id(tmp_path: Path) -> None:
    """With a new ledger file the venue is asked first: its order is returned, none is sent."""
    orders = HandOrders(accept, found={"mine": venue_row("mine")})
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        state = await desk.place(order_request(), instrument())
        await desk.close(1.0)
        row = await ledger.find("mine")
    assert state.executed == Decimal("0.01")
    assert orders.sent == []
    assert row is not None
    assert row.phase is Phase.CLOSED


async def test_lost_ledger_refuses_other_content_and_records_nothing(tmp_path: Path) -> None:
    """Another order under the id at the venue is ALREADY_EXISTS, as it was with the ledger."""
    orders = HandOrders(accept, found={"mine": venue_row("mine", side="SELL")})
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        with pytest.raises(AlreadyExistsError):
            await desk.place(order_request(), instrument())
        assert await ledger.find("mine") is None
    assert orders.sent == []


async def test_with_a_ledger_that_existed_nothing_is_asked_before_sending(tmp_path: Path) -> None:
    """The question costs a round trip, so it is asked with a new file and a caller's id only."""
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(client_order_id=""), instrument())
        assert orders.asked == 0
        await desk.place(order_request(), instrument())
        assert orders.asked == 1
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(client_order_id="other"), instrument())
    assert orders.asked == 1
    assert len(orders.sent) == 3


@pytest.mark.parametrize("order_class", [OrderClass.HEDGE, OrderClass.UNWIND, OrderClass.EXIT])
async def test_an_order_that_makes_exposure_smaller_is_never_kept_waiting(
    tmp_path: Path, order_class: OrderClass
) -> None:
    """Its sender asks by id itself before sending again; a round trip here would be unhedged."""
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(order_class=order_class), instrument())
    assert orders.asked == 0
    assert orders.sent == ["mine"]
