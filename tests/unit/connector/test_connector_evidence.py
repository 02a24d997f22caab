"""What closes a doubt: the stream, the query, the trades, the position; each with its fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from services.common.errors import OutcomeUnknownError, RejectedError
from services.connector.ledger import Phase
from services.connector.order_evidence import Conclusion, Witness, judge_absence, judge_position
from services.connector.order_types import OrderStatus, OrderType, Side, VenueFill
from services.connector.send_judgement import SendResult, Verdict
from tests.support.connector_orders import instrument, order_request
from tests.support.desk_rig import HandOrders, lose, open_desk, venue_row

SENT = datetime(2026, 3, 20, 10, tzinfo=UTC)
LONG_FENCE = timedelta(seconds=60)
READ = (Witness.SILENT, Witness.EXPLAINED)


@pytest.mark.parametrize("past_fence", [True, False])
@pytest.mark.parametrize("trades", list(Witness))
@pytest.mark.parametrize("position", list(Witness))
def test_absence_is_proven_by_all_witnesses_past_the_fence_alone(
    past_fence: bool,
    trades: Witness,
    position: Witness,
) -> None:
    """All 32 combinations: what contradicts is suspicious, what is unread proves nothing."""
    if Witness.UNEXPLAINED in (trades, position):
        wanted = Conclusion.SUSPECT
    elif past_fence and trades in READ and position in READ:
        wanted = Conclusion.NOT_ARRIVED
    else:
        wanted = Conclusion.ASK_AGAIN
    assert judge_absence(past_fence=past_fence, trades=trades, position=position) is wanted


@pytest.mark.parametrize(
    ("changed", "last_fill", "wanted"),
    [
        (None, None, Witness.SILENT),
        (-1, None, Witness.EXPLAINED),
        (0, None, Witness.EXPLAINED),
        (2, None, Witness.UNEXPLAINED),
        (2, 2, Witness.EXPLAINED),
        (3, 2, Witness.EXPLAINED),
        (4, 2, Witness.UNEXPLAINED),
    ],
)
def test_a_position_that_changed_needs_a_fill_that_explains_it(
    changed: int | None, last_fill: int | None, wanted: Witness
) -> None:
    """Seconds after the sending: a change is explained by a known fill at about that time."""
    seen = judge_position(
        None if changed is None else SENT + timedelta(seconds=changed),
        sent=SENT,
        last_fill=None if last_fill is None else SENT + timedelta(seconds=last_fill),
    )
    assert seen is wanted


def fill(order_id: str = "77") -> VenueFill:
    """Return a trade of 0.01 BTC of an order."""
    return VenueFill(
        trade_id="9",
        exchange_order_id=order_id,
        exchange_symbol="BTCUSDT",
        side=Side.BUY,
        price=Decimal(100),
        quantity=Decimal("0.01"),
        fee=Decimal(0),
        fee_asset="BTC",
        time=datetime.now(tz=UTC),
    )


async def until(check: Callable[[], bool]) -> None:
    """Poll until `check` holds, two seconds at most."""
    for _ in range(4_000):
        if check():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition did not come to hold in time")


async def test_a_trade_leads_to_the_order_that_the_query_does_not_find(tmp_path: Path) -> None:
    """A venue that forgets client ids still has the trade, and its order names ours."""
    orders = HandOrders(lose, trades=[fill()])
    orders.by_order_id["77"] = venue_row("mine", orderId=77)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        state = await desk.place(order_request(), instrument())
    assert state.status is OrderStatus.FILLED
    assert orders.sent == ["mine"]


async def test_trades_of_others_do_not_keep_a_doubt_open(tmp_path: Path) -> None:
    """A fill of an order that is known to be another's explains itself, asked for once."""
    orders = HandOrders(lose, trades=[fill()])
    orders.by_order_id["77"] = venue_row("theirs", orderId=77)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        with pytest.raises(RejectedError) as lost:
            await desk.place(order_request(), instrument())
    assert lost.value.reason == "ORDER_NOT_ARRIVED"


@pytest.mark.parametrize("fault", ["trade of nobody", "trades unread", "position", "unread"])
async def test_past_the_fence_a_witness_against_absence_keeps_the_outcome_unknown(
    tmp_path: Path, fault: str
) -> None:
    """While a trade or the position cannot be explained or read, "not found" is not believed."""
    orders = HandOrders(
        lose,
        trades=[fill()] if fault == "trade of nobody" else [],
        trades_fail=fault == "trades unread",
        position_changed=datetime.now(tz=UTC) + timedelta(minutes=1)
        if fault == "position"
        else None,
        position_fails=fault == "unread",
    )
    orders.gate.set()
    async with open_desk(orders, tmp_path, timedelta(0)) as (desk, ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await until(lambda: orders.asked >= 3)
        record = await desk.find("mine")
        assert record is not None
        assert record.error is None
        assert record.suspected == (fault in ("trade of nobody", "position"))
        assert len(await ledger.open_rows()) == 1
        orders.trades, orders.trades_fail = [], False
        orders.position_changed, orders.position_fails = None, False
        with pytest.raises(RejectedError):
            await placing


async def test_without_a_fence_absence_is_never_believed(tmp_path: Path) -> None:
    """A venue without a validity window may take the request at any time: only evidence counts."""
    orders = HandOrders(lose)
    orders.gate.set()
    async with open_desk(orders, tmp_path, None) as (desk, ledger):
        with pytest.raises(OutcomeUnknownError, match="no validity window"):
            await desk.place(order_request(), instrument())
        assert len(await ledger.open_rows()) == 1
        orders.trades = [fill()]
        orders.by_order_id["77"] = venue_row("mine", orderId=77)
        state = await desk.place(order_request(), instrument())
    assert state.executed == Decimal("0.01")
    assert orders.sent == ["mine"]


def acknowledge(_name: str) -> SendResult:
    """Reply with the venue's id and nothing else."""
    return SendResult(Verdict.ACCEPTED, exchange_order_id="28")


async def test_an_acknowledgement_is_no_fill_and_is_asked_about_by_the_venues_id(
    tmp_path: Path,
) -> None:
    """The order is named by the id that was acknowledged, and its row decides what it did."""
    orders = HandOrders(acknowledge)
    partial = {"status": "CANCELED", "executedQty": "0.004", "cummulativeQuoteQty": "0.4"}
    part = {"price": "100", "qty": "0.004", "commission": "0", "tradeId": 5}
    row = venue_row("mine", **partial, fills=[{**part, "commissionAsset": "BTC"}])
    orders.gate.set()
    async with open_desk(orders, tmp_path, LONG_FENCE) as (desk, ledger):
        placing = asyncio.create_task(desk.place(order_request(), instrument()))
        await until(lambda: orders.asked >= 1)
        held = await ledger.find_exchange_id("BTCUSDT", "28")
        assert held is not None
        assert desk.shelf.find_exchange_id("BTCUSDT", "28") is not None
        assert not placing.done()
        orders.found["mine"] = row
        state = await placing
    # Canceled is its end, not its quantity.
    assert (state.status, state.executed) == (OrderStatus.CANCELED, Decimal("0.004"))


async def test_an_expired_order_with_fills_counts_them(tmp_path: Path) -> None:
    """An IOC that expired after a part was filled has executed that part."""
    part = {"price": "100", "qty": "0.006", "commission": "0", "tradeId": 5}
    row = venue_row(
        "mine",
        status="EXPIRED",
        executedQty="0.006",
        fills=[{**part, "commissionAsset": "BTC"}],
    )
    orders = HandOrders(lambda _name: SendResult(Verdict.ACCEPTED, row=row))
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, _ledger):
        state = await desk.place(order_request(), instrument())
    assert (state.status, state.executed) == (OrderStatus.EXPIRED, Decimal("0.006"))


@pytest.mark.parametrize("executed", ["0", "0.01"])
async def test_a_live_order_that_the_venue_forgets_has_ended(tmp_path: Path, executed: str) -> None:
    """Known once, in no list now: its fills say how; an order still listed as live goes on."""
    resting = {"status": "NEW", "executedQty": "0", "fills": [], "timeInForce": "GTC"}
    orders = HandOrders(lambda name: SendResult(Verdict.ACCEPTED, row=venue_row(name, **resting)))
    orders.live = [venue_row("mine", **resting)]
    orders.gate.set()
    limit = order_request(type=OrderType.LIMIT, price=Decimal(1000))
    async with open_desk(orders, tmp_path, LONG_FENCE) as (desk, ledger):
        await desk.place(limit, instrument())
        record = desk.shelf.find("mine")
        assert record is not None
        await until(lambda: not record.busy)
        await desk.refresh(record)
        asked = orders.asked
        await until(lambda: orders.asked >= asked + 4)
        assert record.state is not None
        assert record.state.status is OrderStatus.NEW
        orders.trades = [replace(fill("28"), quantity=Decimal(executed))] if executed != "0" else []
        orders.live = []
        await until(lambda: record.is_finished and not record.busy)
        row = await ledger.find("mine")
    wanted = OrderStatus.FILLED if executed != "0" else OrderStatus.CANCELED
    assert (record.state.status, record.state.executed) == (wanted, Decimal(executed))
    assert row is not None
    assert row.phase is Phase.CLOSED
