"""The order desk on a venue made by hand: joins, released ids, evidence against belief."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from services.common.clock import SystemClock
from services.common.errors import (
    AlreadyExistsError,
    OutcomeUnknownError,
    PreconditionError,
    RejectedError,
    RetryableError,
)
from services.common.ids import RandomIds
from services.common.metrics import ServiceMetrics
from services.connector.connector_metrics import ConnectorMetrics
from services.connector.desk_options import DeskOptions
from services.connector.instruments import InstrumentBook, TradingStatus
from services.connector.ledger import Ledger, Phase
from services.connector.order_desk import OrderDesk
from services.connector.order_mapping import to_state
from services.connector.order_settler import OrderSettler, SettlePace
from services.connector.order_types import OrderIntent, OrderStatus, OrderType, VenueOrder
from services.connector.profile import Fence
from services.connector.rate_budget import CALL_DEADLINE
from services.connector.send_judgement import SendResult, Verdict
from services.connector.venue import Venue
from services.connector.venue_orders import OrderKey, VenueOrders
from services.connector.venues import find_profile
from services.connector.venues.binance_rows import order_row
from tests.support.connector_orders import SPOT_FULL, instrument, order_request

FENCE = timedelta(milliseconds=150)


def venue_row(name: str, **changes: Any) -> VenueOrder:
    """Return the venue's row of a filled purchase of 0.01 BTC under a client id."""
    fill = {
        "price": "100",
        "qty": "0.01",
        "commission": "0.00001",
        "commissionAsset": "BTC",
        "tradeId": 1,
    }
    base = {
        **SPOT_FULL,
        "clientOrderId": name,
        "origQty": "0.01",
        "executedQty": "0.01",
        "cummulativeQuoteQty": "1",
        "status": "FILLED",
        "fills": [fill],
    }
    return order_row({**base, **changes})


# Mutable: a test arms it and counts what it was asked.
@dataclass
class HandOrders:
    """A venue that answers as the test says."""

    reply: Callable[[str], SendResult]
    sent: list[str] = field(default_factory=list)
    found: dict[str, VenueOrder] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def place(self, intent: OrderIntent, _instrument: Any, name: str) -> SendResult:
        """Count the sending, wait for the gate, and reply."""
        self.sent.append(name)
        await self.gate.wait()
        return self.reply(name)

    async def query(self, key: OrderKey, _priority: Any = None) -> VenueOrder | None:
        """Return what the test put there."""
        self.asked += 1
        return self.found.get(key.venue_client_id)

    async def order_fills(self, _key: OrderKey) -> list[Any]:
        """Return no fills."""
        return []

    async def best_opposite_price(self, _instrument: Any, _side: Any) -> Decimal:
        """Return 100."""
        return Decimal(100)


def accept(name: str) -> SendResult:
    """Reply with the fill."""
    return SendResult(Verdict.ACCEPTED, row=venue_row(name))


def lose(_name: str) -> SendResult:
    """Reply with nothing."""
    return SendResult(Verdict.UNKNOWN, note="lost")


@contextlib.asynccontextmanager
async def open_desk(
    orders: HandOrders, folder: Path, fence: timedelta = FENCE, kept_records: int = 100
) -> AsyncIterator[tuple[OrderDesk, Ledger]]:
    """Open a desk on a hand-made venue and a ledger in a folder."""
    ledger = Ledger(folder / "orders.ledger")
    ledger.open()
    venue = Venue(
        code="binance",
        name="binance",
        kind=instrument().kind,
        exchange=None,
        trading=None,
        instruments=InstrumentBook([instrument()]),
        budget=cast("Any", None),
        clock=SystemClock(),
        profile=find_profile("binance"),
        fence=Fence(fence, timedelta(0), timedelta(0)),
    )
    calls = cast("VenueOrders", orders)
    pace = SettlePace(grace_seconds=0.01, first_seconds=0.01, most_seconds=0.05)
    desk = OrderDesk(
        venue,
        calls,
        OrderSettler(calls, venue.clock, pace),
        ledger,
        RandomIds(),
        DeskOptions(max_wait_seconds=2.0, fill_seconds=0.2, kept_records=kept_records),
        ConnectorMetrics(ServiceMetrics("connector")),
    )
    try:
        yield desk, ledger
    finally:
        orders.gate.set()
        await desk.close(1.0)
        ledger.close()


async def sent_one(orders: HandOrders) -> None:
    """Wait until the venue has seen an order."""
    async with asyncio.timeout(2):
        for _ in range(100):
            if orders.sent:
                return
            await asyncio.sleep(0.01)


async def test_row_is_durable_before_the_order_leaves(tmp_path: Path) -> None:
    """While the order is on its way its row is open in the ledger, under the id that was sent."""
    orders = HandOrders(accept)
    async with open_desk(orders, tmp_path) as (desk, ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await sent_one(orders)
        (row,) = await ledger.open_rows()
        assert (row.client_order_id, row.venue_client_id) == ("mine", orders.sent[0])
        orders.gate.set()
        state = await placing
    assert state.executed == Decimal("0.01")


async def test_other_content_in_flight_is_refused_at_once(tmp_path: Path) -> None:
    """A second order under an id in flight does not wait for the first to be refused."""
    orders = HandOrders(accept)
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await sent_one(orders)
        with pytest.raises(AlreadyExistsError):
            await desk.place(order_request(quantity=Decimal("0.02")), instrument())
        orders.gate.set()
        await placing
    assert len(orders.sent) == 1


async def test_unwritable_ledger_sends_nothing(tmp_path: Path) -> None:
    """With the ledger closed an order is refused before it leaves, and its id stays free."""
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        ledger.close()
        with pytest.raises(PreconditionError) as refused:
            await desk.place(order_request(), instrument())
        assert refused.value.reason == "LEDGER_UNAVAILABLE"
        assert orders.sent == []
        ledger.open()
        await desk.place(order_request(), instrument())
    assert len(orders.sent) == 1


async def test_order_that_was_not_sent_frees_its_id(tmp_path: Path) -> None:
    """After a rate limit the owner may send the same order again under the same id."""
    limited = RetryableError("wait")
    orders = HandOrders(lambda _name: SendResult(Verdict.NOT_SENT, error=limited))
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        with pytest.raises(RetryableError):
            await desk.place(order_request(), instrument())
        row = await ledger.find("mine")
        assert row is not None
        assert row.phase is Phase.NOT_SENT
        with pytest.raises(AlreadyExistsError):
            await desk.place(order_request(quantity=Decimal("0.02")), instrument())
        orders.reply = accept
        state = await desk.place(order_request(), instrument())
    assert state.executed == Decimal("0.01")


async def test_not_found_before_the_fence_proves_nothing(tmp_path: Path) -> None:
    """An order that appears after a first "not found" is adopted."""
    orders = HandOrders(lose)
    orders.gate.set()
    async with open_desk(orders, tmp_path, timedelta(seconds=5)) as (desk, _ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await sent_one(orders)
        async with asyncio.timeout(2):
            for _ in range(200):
                if orders.asked >= 3:
                    break
                await asyncio.sleep(0.01)
        assert not placing.done()
        orders.found["mine"] = venue_row("mine")
        state = await placing
    assert state.status is OrderStatus.FILLED
    assert len(orders.sent) == 1


async def test_stream_answers_before_the_reply(tmp_path: Path) -> None:
    """A fill on the stream ends the call although the reply is still on its way."""
    orders = HandOrders(lose)
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await sent_one(orders)
        record = await desk.find("mine")
        assert record is not None
        desk.learn(record, to_state(venue_row("mine"), instrument(), "mine"))
        state = await placing
    assert state.executed == Decimal("0.01")


async def test_refusal_after_the_stream_showed_the_order_is_not_believed(tmp_path: Path) -> None:
    """A reply that says rejected does not undo a fill that was seen."""
    refusal = RejectedError("no")
    orders = HandOrders(lambda _name: SendResult(Verdict.REJECTED, error=refusal))
    async with open_desk(orders, tmp_path) as (desk, ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await sent_one(orders)
        record = await desk.find("mine")
        assert record is not None
        desk.learn(record, to_state(venue_row("mine"), instrument(), "mine"))
        await placing
        orders.gate.set()
        await desk.close(1.0)
        row = await ledger.find("mine")
    assert row is not None
    assert row.phase is Phase.CLOSED
    assert record.error is None


async def test_evidence_overturns_a_belief_that_nothing_arrived(tmp_path: Path) -> None:
    """An order believed lost that shows up on the stream is an order again."""
    orders = HandOrders(lose)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        with pytest.raises(RejectedError) as lost:
            await desk.place(order_request(), instrument())
        assert lost.value.reason == "ORDER_NOT_ARRIVED"
        record = await desk.find("mine")
        assert record is not None
        desk.learn(record, to_state(venue_row("mine"), instrument(), "mine"))
        state = await desk.place(order_request(), instrument())
        await desk.close(1.0)
        row = await ledger.find("mine")
    assert state.executed == Decimal("0.01")
    assert row is not None
    assert row.phase is Phase.CLOSED


async def test_echo_of_another_order_is_no_evidence(tmp_path: Path) -> None:
    """A row under our id with another side or size means the id belongs to somebody else."""
    orders = HandOrders(lose)
    orders.gate.set()
    orders.found["mine"] = venue_row("mine", side="SELL")
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        with pytest.raises(AlreadyExistsError):
            await desk.place(order_request(), instrument())


async def test_deadline_tells_unknown_while_the_order_goes_on(tmp_path: Path) -> None:
    """At the caller's deadline the outcome is unknown; the task lives on and learns the truth."""
    orders = HandOrders(accept)
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        CALL_DEADLINE.set(SystemClock().monotonic() + 0.1)
        with pytest.raises(OutcomeUnknownError) as unknown:
            await desk.place(order_request(), instrument())
        assert unknown.value.client_order_id == "mine"
        CALL_DEADLINE.set(None)
        orders.gate.set()
        state = await desk.place(order_request(), instrument())
    assert state.executed == Decimal("0.01")
    assert len(orders.sent) == 1


async def test_open_immediate_order_is_returned_after_its_fill_timeout(tmp_path: Path) -> None:
    """An order that the venue has but does not close is returned as it is, when asked so."""
    resting = {"status": "NEW", "executedQty": "0", "fills": []}
    orders = HandOrders(lambda name: SendResult(Verdict.ACCEPTED, row=venue_row(name, **resting)))
    orders.gate.set()
    orders.found["mine"] = venue_row("mine", **resting)
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        asked = order_request(fill_timeout=timedelta(milliseconds=50))
        state = await desk.place(asked, instrument())
    assert state.status is OrderStatus.NEW


async def test_resting_order_returns_when_accepted(tmp_path: Path) -> None:
    """A limit order is answered by its acceptance, and the stream's fill closes its row."""
    resting = {"status": "NEW", "executedQty": "0", "fills": [], "timeInForce": "GTC"}
    orders = HandOrders(lambda name: SendResult(Verdict.ACCEPTED, row=venue_row(name, **resting)))
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        limit = order_request(type=OrderType.LIMIT, price=Decimal(1000))
        state = await desk.place(limit, instrument())
        assert state.status is OrderStatus.NEW
        record = await desk.find("mine")
        assert record is not None
        desk.learn(record, to_state(venue_row("mine"), instrument(), "mine"))
        await desk.close(1.0)
        row = await ledger.find("mine")
    assert row is not None
    assert row.phase is Phase.CLOSED


async def test_start_takes_up_what_the_last_process_left_open(tmp_path: Path) -> None:
    """An order left in doubt is asked for by the next desk and closed in the ledger."""
    orders = HandOrders(lose)
    orders.gate.set()
    async with open_desk(orders, tmp_path, timedelta(seconds=60)) as (desk, _ledger):
        CALL_DEADLINE.set(SystemClock().monotonic() + 0.1)
        with pytest.raises(OutcomeUnknownError):
            await desk.place(order_request(), instrument())
        CALL_DEADLINE.set(None)
    later = HandOrders(lose)
    later.found["mine"] = venue_row("mine")
    async with open_desk(later, tmp_path) as (desk, ledger):
        assert await desk.start() == 1
        state = await desk.place(order_request(), instrument())
        await desk.close(1.0)
        assert await ledger.open_rows() == []
    assert state.executed == Decimal("0.01")
    assert later.sent == []


async def test_shelf_forgets_finished_orders_only(tmp_path: Path) -> None:
    """With more orders than the shelf holds, closed ones leave it and are read from the ledger."""
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path, kept_records=10) as (desk, _ledger):
        for n in range(30):
            await desk.place(replace(order_request(), client_order_id=f"n{n}"), instrument())
            await desk.close(1.0)
        assert len(desk.shelf) <= 10
        again = await desk.place(replace(order_request(), client_order_id="n0"), instrument())
    assert again.executed == Decimal("0.01")
    assert len(orders.sent) == 30


async def test_refusal_loses_against_the_stream_while_the_row_is_written(tmp_path: Path) -> None:
    """An order that the stream shows while its refusal is being written is an order."""
    orders = HandOrders(lambda _name: SendResult(Verdict.REJECTED, error=RejectedError("no")))
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        update = ledger.update

        async def slow_update(name: str, phase: Phase, **texts: str) -> None:
            record = desk.shelf.find(name)
            assert record is not None
            desk.learn(record, to_state(venue_row(name), instrument(), name))
            await update(name, phase, **texts)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ledger, "update", slow_update)
            state = await desk.place(order_request(), instrument())
            await desk.close(1.0)
        row = await ledger.find("mine")
    assert state.executed == Decimal("0.01")
    assert row is not None
    assert row.phase is Phase.CLOSED


async def test_asking_for_an_unsent_order_does_not_block_its_second_try(tmp_path: Path) -> None:
    """A read of an id whose order never left leaves the id as free as it was."""
    orders = HandOrders(lambda _name: SendResult(Verdict.NOT_SENT, error=RetryableError("wait")))
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        with pytest.raises(RetryableError):
            await desk.place(order_request(), instrument())
        record = await desk.find("mine")
        assert record is not None
        assert record.error is not None
        orders.reply = accept
        state = await desk.place(order_request(), instrument())
    assert state.executed == Decimal("0.01")


async def test_open_row_whose_symbol_comes_back_later_is_followed(tmp_path: Path) -> None:
    """An order left open on a symbol that was not listed at the start is settled when asked for."""
    orders = HandOrders(lose)
    orders.gate.set()
    async with open_desk(orders, tmp_path, timedelta(seconds=60)) as (desk, _ledger):
        CALL_DEADLINE.set(SystemClock().monotonic() + 0.1)
        with pytest.raises(OutcomeUnknownError):
            await desk.place(order_request(), instrument())
        CALL_DEADLINE.set(None)
    later = HandOrders(lose, found={"mine": venue_row("mine")})
    async with open_desk(later, tmp_path) as (desk, _ledger):
        desk._venue.instruments.replace([])
        await desk.start()
        desk._venue.instruments.replace([instrument()])
        record = await desk.find("mine")
        assert record is not None
        state = await desk.await_outcome(record)
    assert state.executed == Decimal("0.01")


async def test_an_order_that_exists_is_told_though_its_symbol_trades_no_more(
    tmp_path: Path,
) -> None:
    """A repeat after a halt gets the order, not a refusal that reads like "nothing was sent"."""
    halted = replace(instrument(), status=TradingStatus.BREAK)
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(), instrument())
        again = await desk.place(order_request(), halted)
        await desk.close(1.0)
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        from_ledger = await desk.place(order_request(), halted)
        with pytest.raises(PreconditionError):
            await desk.place(order_request(client_order_id="fresh"), halted)
    assert again.executed == from_ledger.executed == Decimal("0.01")
    assert orders.sent == ["mine"]


async def test_another_order_under_our_id_is_not_ours(tmp_path: Path) -> None:
    """Binance takes an id again once its order is closed; such an order adds nothing to ours."""
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        await desk.place(order_request(), instrument())
        record = await desk.find("mine")
        assert record is not None
        other = venue_row("mine", orderId=29, executedQty="5", origQty="5")
        assert not desk.learn(record, to_state(other, instrument(), "mine"))
        assert record.state is not None
        assert record.state.executed == Decimal("0.01")


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
