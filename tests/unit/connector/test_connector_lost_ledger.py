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


async def test_the_venues_list_is_read_once_for_a_symbol(tmp_path: Path) -> None:
    """With a new file the list is read before a caller's id, and never again, restart or not."""
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(client_order_id=""), instrument())
        assert orders.lists_read == 0
        await desk.place(order_request(), instrument())
        await desk.place(order_request(client_order_id="other"), instrument())
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(client_order_id="third"), instrument())
    assert (orders.lists_read, orders.asked) == (1, 0)
    assert len(orders.sent) == 4


@pytest.mark.parametrize("order_class", list(OrderClass))
async def test_no_class_sends_an_id_that_the_venue_has_seen(
    tmp_path: Path, order_class: OrderClass
) -> None:
    """An order of a lost ledger is returned, not sent again, whatever it is for."""
    orders = HandOrders(accept, found={"mine": venue_row("mine")})
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        state = await desk.place(order_request(order_class=order_class), instrument())
    assert state.executed == Decimal("0.01")
    assert orders.sent == []


async def test_without_a_list_each_id_is_asked_for(tmp_path: Path) -> None:
    """Where the venue lists no orders, an id is asked for before its first use."""
    orders = HandOrders(accept, listed=None)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(), instrument())
        await desk.place(order_request(client_order_id="other"), instrument())
    assert orders.asked == 2
    assert orders.lists_read == 1
    assert len(orders.sent) == 2


async def test_an_older_copy_of_the_ledger_uses_no_id_twice(tmp_path: Path) -> None:
    """A file put back from a copy lacks the newest orders: the venue's list has them."""
    orders = HandOrders(accept)
    orders.gate.set()
    path = tmp_path / "orders.ledger"
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(client_order_id="first"), instrument())
    copy = path.read_bytes()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(), instrument())
    path.write_bytes(copy)
    orders.found["mine"] = venue_row("mine")
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        again = await desk.place(order_request(), instrument())
        with pytest.raises(AlreadyExistsError):
            await desk.place(order_request(quantity=Decimal("0.02")), instrument())
    assert again.executed == Decimal("0.01")
    assert orders.sent == ["first", "mine"]
