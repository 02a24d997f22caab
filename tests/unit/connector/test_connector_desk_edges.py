"""The desk at its edges: repeats, bugs behind a sending, ids of one form, orders of others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from services.common.errors import (
    AlreadyExistsError,
    FatalError,
    RejectedError,
    UnreachableError,
)
from services.connector.ledger import Phase
from services.connector.limits_gate import OrderGate
from services.connector.order_ids import OrderIds
from services.connector.order_reader import OrderReader
from services.connector.order_record import is_about
from services.connector.order_types import OrderIntent, OrderStatus, VenueOrder
from services.connector.send_judgement import SendResult, Verdict
from tests.support.connector import eventually
from tests.support.connector_orders import instrument, order_request
from tests.support.desk_rig import HandOrders, accept, lose, open_desk, sent_one, venue_row

BOUNDED = {"slippage_bound_ratio": Decimal("0.01")}


def accept_row(row: VenueOrder) -> SendResult:
    """Reply with a row."""
    return SendResult(Verdict.ACCEPTED, row=row)


@dataclass
class NoBook(HandOrders):
    """A venue whose book fails as the test says; mutable, the test arms it."""

    problem: Exception | None = None

    async def best_opposite_price(self, _instrument: Any, _side: Any) -> Decimal:
        """Return 100, or fail."""
        if self.problem is not None:
            raise self.problem
        return Decimal(100)


async def test_repeat_of_a_sent_order_is_never_told_that_nothing_was(tmp_path: Path) -> None:
    """After a restart the venue's book fails, and the repeat still gets the order that filled."""
    orders = NoBook(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(**BOUNDED), instrument())
    orders.problem = UnreachableError("no book now")
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        state = await desk.place(order_request(**BOUNDED), instrument())
        with pytest.raises(AlreadyExistsError):
            await desk.place(order_request(quantity=Decimal("0.02"), **BOUNDED), instrument())
        with pytest.raises(UnreachableError):
            await desk.place(order_request(client_order_id="new", **BOUNDED), instrument())
    assert state.executed == Decimal("0.01")
    assert orders.sent == ["mine"]


async def test_bug_before_the_sending_sends_nothing_and_frees_the_id(tmp_path: Path) -> None:
    """An unforeseen error is INTERNAL to the caller at once; the id can be used afterwards."""
    orders = NoBook(accept, problem=LookupError("asks"))
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        with pytest.raises(FatalError) as bug:
            await desk.place(order_request(**BOUNDED), instrument())
        assert bug.value.reason == "INTERNAL"
        assert await ledger.find("mine") is None
        orders.problem = None
        await desk.place(order_request(**BOUNDED), instrument())
    assert orders.sent == ["mine"]


async def test_bug_behind_the_sending_leaves_the_order_followed(tmp_path: Path) -> None:
    """A reply that breaks the program proves nothing: the order is asked for and found."""
    orders = HandOrders(accept)
    orders.gate.set()

    def break_down(name: str) -> SendResult:
        orders.found[name] = venue_row(name)
        raise LookupError("status")

    orders.reply = break_down
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        state = await desk.place(order_request(), instrument())
    assert state.executed == Decimal("0.01")
    assert len(orders.sent) == 1


async def test_absence_proves_nothing_before_the_fence_of_a_broken_sending(tmp_path: Path) -> None:
    """The fence is set though the sending broke: the order shows late and is not missed."""
    orders = HandOrders(accept)
    orders.gate.set()

    def break_down(_name: str) -> SendResult:
        raise LookupError("status")

    orders.reply = break_down
    async with open_desk(orders, tmp_path, timedelta(minutes=1)) as (desk, _ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await eventually(lambda: asyncio.sleep(0, orders.asked >= 3))
        orders.found["mine"] = venue_row("mine")
        assert (await placing).executed == Decimal("0.01")


async def test_the_fence_runs_anew_after_a_restart(tmp_path: Path) -> None:
    """The last process may have sent just before it died: absence proves nothing at once."""
    orders = HandOrders(accept)
    async with open_desk(orders, tmp_path, timedelta(minutes=1)) as (desk, _ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await sent_one(orders)
        await desk.close(0)
        placing.cancel()
    async with open_desk(orders, tmp_path, timedelta(minutes=1)) as (desk, _ledger):
        assert await desk.start() == 1
        await eventually(lambda: asyncio.sleep(0, orders.asked >= 3))
        orders.found["mine"] = venue_row("mine")
        assert (await desk.place(order_request(), instrument())).executed == Decimal("0.01")
    assert orders.sent == ["mine"]


async def test_anothers_order_under_our_id_proves_nothing_before_the_fence(tmp_path: Path) -> None:
    """It may end and ours be taken next: ours is found, though another was seen first."""
    orders = HandOrders(lose)
    orders.gate.set()

    def lose_to_another(name: str) -> SendResult:
        orders.found[name] = venue_row(name, side="SELL")
        return lose(name)

    orders.reply = lose_to_another
    async with open_desk(orders, tmp_path, timedelta(minutes=1)) as (desk, _ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await eventually(lambda: asyncio.sleep(0, orders.asked >= 3))
        orders.found["mine"] = venue_row("mine")
        assert (await placing).executed == Decimal("0.01")


async def test_reply_about_another_order_is_no_evidence(tmp_path: Path) -> None:
    """A fill under another id is not booked as ours: ours is asked for."""
    orders = HandOrders(accept)
    orders.gate.set()

    def mix_up(name: str) -> SendResult:
        orders.found[name] = venue_row(name)
        return accept_row(venue_row("other", orderId=99))

    orders.reply = mix_up
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        state = await desk.place(order_request(), instrument())
    assert state.exchange_order_id == "28"


async def test_the_id_of_an_acknowledgement_is_durable(tmp_path: Path) -> None:
    """After it nothing else need come: the successor knows the order by the venue's id."""
    orders = HandOrders(lambda _name: SendResult(Verdict.ACCEPTED, exchange_order_id="28"))
    orders.gate.set()
    async with open_desk(orders, tmp_path, timedelta(minutes=1)) as (desk, ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))

        async def is_written() -> bool:
            row = await ledger.find_exchange_id("BTCUSDT", "28")
            return row is not None and row.phase is Phase.OPEN

        await eventually(is_written)
        orders.found["mine"] = venue_row("mine")
        assert (await placing).executed == Decimal("0.01")


async def test_an_id_that_never_arrived_is_spent_over_a_restart(tmp_path: Path) -> None:
    """Its repeat is told so from the ledger, and nothing is sent."""
    orders = HandOrders(lose)
    orders.gate.set()
    for _ in range(2):
        async with open_desk(orders, tmp_path) as (desk, _ledger):
            with pytest.raises(RejectedError) as ended:
                await desk.place(order_request(), instrument())
            assert ended.value.reason == "ORDER_NOT_ARRIVED"
    assert orders.sent == ["mine"]


async def test_two_ids_of_one_form_at_the_venue_are_not_two_orders(tmp_path: Path) -> None:
    """The second is refused, and the first keeps its row, its place and its stream."""
    orders = HandOrders(accept)
    orders.gate.set()
    long_id = "x" * 64
    async with open_desk(orders, tmp_path) as (desk, ledger):
        await desk.place(order_request(client_order_id=long_id), instrument())
        form = orders.sent[0]
        assert form != long_id
        first = await desk.find(long_id)
        with pytest.raises(AlreadyExistsError):
            await desk.place(order_request(client_order_id=form), instrument())
        assert await ledger.find(long_id) is not None
        assert desk.shelf.find_venue_id(form) is first
    assert orders.sent == [form]


@dataclass
class Acknowledges(HandOrders):
    """A venue that only acknowledges a cancel; mutable, it remembers that it was asked."""

    canceled: bool = False

    async def cancel(self, _key: Any) -> VenueOrder | None:
        """Acknowledge, and let the end be found from the second question on."""
        self.canceled = True
        return None

    async def query(self, key: Any, priority: Any = None) -> VenueOrder | None:
        """Return the order, live until the cancel has taken effect."""
        row = await super().query(key, priority)
        if row is None or not self.canceled:
            return row
        if self.asked > 1:
            return replace(row, status=OrderStatus.CANCELED)
        return row


async def test_acknowledged_cancel_is_waited_for(tmp_path: Path) -> None:
    """A cancel that takes effect a moment later is told as the end it led to."""
    live = venue_row("mine", status="NEW", executedQty="0", cummulativeQuoteQty="0", fills=[])
    live = replace(live, price=Decimal(100))
    orders = Acknowledges(lambda _name: accept_row(live), found={"mine": live})
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        resting = order_request(
            type=live.type, price=Decimal(1000), client_order_id="mine", time_in_force=None
        )
        orders.found = {}
        await desk.place(resting, instrument())
        orders.found, orders.asked = {"mine": live}, 0
        reader = OrderReader(desk._venue, cast("Any", orders), desk)
        ids = OrderIds("mine", "", "mine", use_margin=False)
        assert (await reader.cancel(instrument(), ids)).status is OrderStatus.CANCELED


async def test_rows_of_other_orders_under_our_id_are_not_ours(tmp_path: Path) -> None:
    """Another symbol, or another order of the venue, is not the record's though the id is."""
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(), instrument())
        record = await desk.find("mine")
    assert record is not None
    row = venue_row("mine")
    assert is_about(record, row, instrument())
    assert not is_about(record, row, instrument(base="ETH"))
    assert not is_about(record, replace(row, exchange_order_id="29"), instrument())


@dataclass(frozen=True, slots=True)
class OpenGuard:
    """A guard that hands over the ledger's orders instead of judging by them."""

    seen: list[Any]

    async def admit(self, _intent: OrderIntent, _instrument: Any, own: Any) -> None:
        """Keep what the ledger tells."""
        self.seen.extend(await own.own_orders("BTCUSDT"))


async def test_orders_that_never_lived_are_known_and_hold_nothing(tmp_path: Path) -> None:
    """A refused order counts as closed with nothing filled, so that its claim ends with it."""
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        await desk.place(order_request(), instrument())
        # Its end is written beside the caller.
        await desk.close(1.0)
        await ledger.update("mine", Phase.REJECTED)
        record = await desk.find("mine")
        assert record is not None
        assert record.intent is not None
        seen: list[Any] = []
        guard = cast("Any", OpenGuard(seen))
        desk.shelf.remove(record)
        await OrderGate(guard, ledger).admit(record, record.intent, desk.shelf)
    (own,) = seen
    assert (own.client_order_id, own.executed, own.is_closed) == ("mine", Decimal(0), True)
