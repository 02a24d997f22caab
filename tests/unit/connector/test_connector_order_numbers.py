"""Orders by number: the venue's id where it is one, else its hash, for Get and Cancel alike."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import NotFoundError
from services.connector.order_ids import OrderIds, read_order_ids
from services.connector.order_numbers import to_order_number
from services.connector.order_reader import OrderReader
from services.connector.order_types import OrderStatus
from services.connector.send_judgement import SendResult, Verdict
from services.connector.venues import find_profile
from tests.support.connector_orders import instrument, order_request
from tests.support.desk_rig import HandOrders, open_desk, venue_row

UUID = "1321003749386327552-a6b5"
RESTING = {"status": "NEW", "executedQty": "0", "fills": [], "timeInForce": "GTC"}


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 0), ("1", 1), ("28457", 28457), ("9223372036854775807", 2**63 - 1)],
)
def test_a_number_is_itself(text: str, number: int) -> None:
    """Up to int64's end the venue's number is kept; no id has no number."""
    assert to_order_number(text) == number


@given(st.text(min_size=1, max_size=40))
def test_whatever_the_id_its_number_is_stable_and_in_range(text: str) -> None:
    """Every id has one number of 63 bits, and a number that is not the id itself is its hash."""
    number = to_order_number(text)
    assert 0 <= number < 2**63
    assert number == to_order_number(text)


@pytest.mark.parametrize("text", ["007", "9223372036854775808", "1_000", "\u0661", UUID])
def test_what_cannot_be_turned_back_is_hashed(text: str) -> None:
    """Leading zeros, numbers past int64 and everything that is no plain number."""
    assert str(to_order_number(text)) != text


def by_number(number: int) -> OrderIds:
    """Return the ids of a request that names an order by its number alone."""
    return read_order_ids("", "", number, use_margin=False, profile=find_profile("binance"))


class Venue(HandOrders):
    """A venue whose order ids are no numbers."""

    async def open_orders(self, _instrument: Any, *, use_margin: bool) -> list[Any]:
        """Return what is known by the venue's id."""
        assert not use_margin
        return list(self.by_order_id.values())

    async def cancel(self, key: Any) -> Any:
        """Acknowledge the cancel of an order that is known."""
        return self.by_order_id.get(key.exchange_order_id)


async def test_hash_names_our_order_in_memory_and_from_the_ledger(tmp_path: Path) -> None:
    """Get by the hash of a venue's id finds the order, also in the next process."""
    filled = venue_row("mine", orderId=UUID)
    orders = Venue(lambda _name: SendResult(Verdict.ACCEPTED, row=filled))
    orders.gate.set()
    for _ in range(2):
        async with open_desk(orders, tmp_path) as (desk, _ledger):
            await desk.place(order_request(), instrument())
            reader = OrderReader(desk._venue, cast("Any", orders), desk)
            state = await reader.get(instrument(), by_number(to_order_number(UUID)))
            await desk.close(1.0)
            assert desk.shelf.find_order_number("ETHUSDT", to_order_number(UUID)) is None
        assert (state.client_order_id, state.executed) == ("mine", Decimal("0.01"))
    assert orders.sent == ["mine"]


async def test_hash_names_a_live_order_of_others(tmp_path: Path) -> None:
    """An order placed elsewhere is read and canceled by the hash of its id while it lives."""
    orders = Venue(lambda _name: SendResult(Verdict.UNKNOWN))
    orders.by_order_id[UUID] = venue_row("theirs", orderId=UUID, **RESTING)
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        reader = OrderReader(desk._venue, cast("Any", orders), desk)
        state = await reader.get(instrument(), by_number(to_order_number(UUID)))
        assert (state.exchange_order_id, state.status) == (UUID, OrderStatus.NEW)
        state = await reader.cancel(instrument(), by_number(to_order_number(UUID)))
        assert state.exchange_order_id == UUID
        with pytest.raises(NotFoundError):
            await reader.get(instrument(), by_number(12345))
