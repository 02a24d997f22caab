"""The order desk on a venue made by hand: joins, released ids, evidence against belief."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.common.clock import SystemClock
from services.common.errors import (
    AlreadyExistsError,
    OutcomeUnknownError,
    PreconditionError,
    RejectedError,
    RetryableError,
)
from services.connector.instruments import TradingStatus
from services.connector.ledger import Phase
from services.connector.order_mapping import to_state
from services.connector.order_types import OrderClass, OrderIntent, OrderStatus, OrderType
from services.connector.rate_budget import CALL_DEADLINE
from services.connector.send_judgement import SendResult, Verdict
from tests.support.connector_orders import instrument, order_request
from tests.support.desk_rig import HandOrders, accept, lose, open_desk, sent_one, venue_row


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
        async with asyncio.timeout(60):
            for _ in range(1_000):
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

        async def slow_update(name: str, phase: Phase, **texts: Any) -> None:
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


class Gated(HandOrders):
    """A venue that answers exits at once and entries when the gate opens."""

    async def place(self, intent: OrderIntent, _instrument: Any, name: str) -> SendResult:
        """Count the sending and answer by class."""
        self.sent.append(name)
        if intent.order_class is not OrderClass.EXIT:
            await self.gate.wait()
        return self.reply(name)


async def test_a_thousand_entries_under_way_do_not_hold_an_exit(tmp_path: Path) -> None:
    """Entries that the venue keeps waiting share no lock and no queue with an exit."""
    orders = Gated(accept)
    # So long that no entry is answered before the exit, however slow the machine.
    opened = open_desk(orders, tmp_path, kept_records=2_000, max_wait_seconds=25.0)
    async with opened as (desk, _ledger):
        entries = [
            asyncio.create_task(desk.place(order_request(client_order_id=f"e{n}"), instrument()))
            for n in range(1_000)
        ]
        await asyncio.sleep(0)
        asked = order_request(client_order_id="exit", order_class=OrderClass.EXIT)
        state = await desk.place(asked, instrument())
        assert state.executed == Decimal("0.01")
        assert not any(task.done() for task in entries)
        orders.gate.set()
        await asyncio.gather(*entries)
    assert len(orders.sent) == 1_001
