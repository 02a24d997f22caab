"""The venue's rate limits: who goes first, what a 429 and a ban stop. Its request log witnesses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import exchange_pb2, trading_state_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import RetryableError
from services.connector.order_types import OrderClass, OrderType, TimeInForce
from services.connector.rate_lanes import CALLS_AT_ONCE, SCAN_CALLS_AT_ONCE
from services.connector.servicer import ExchangeServicer
from services.simulator.app import Application
from services.simulator.gateway import Plan, Reply, Request
from tests.support.connector import (
    BUY,
    SELL,
    RunningConnector,
    best_prices,
    eventually,
    order,
    patient_part,
    running_connector,
)
from tests.support.connector_orders import order_request
from tests.support.simulator import Control, running_simulator, simulator_settings

BAN_SECONDS = 4
SCALE = 0.05
"""USD-M's 2,400 weight a minute and 300 orders in 10 s become 120 and 15, on both sides."""

FILLED = types_pb2.ORDER_STATUS_FILLED
ENTRY, EXIT = types_pb2.ORDER_CLASS_ENTRY, types_pb2.ORDER_CLASS_EXIT


@dataclass(frozen=True, slots=True)
class Arrived:
    """One request at the venue."""

    at: float
    method: str
    path: str
    status: int


@dataclass(frozen=True, slots=True)
class Log:
    """Every request that reached a simulator, in order."""

    rows: list[Arrived] = field(default_factory=list)
    received: list[str] = field(default_factory=list)

    def watch(self, application: Application) -> None:
        """Note all that the simulator's gateway receives, and what it answers."""
        handle, receive = application.gateway.handle, application.gateway.receive

        def noted_first(request: Request) -> Plan:
            is_exit = "reduceOnly=true" in request.body + request.query
            self.received.append("exit" if is_exit else f"{request.method} {request.path}")
            return receive(request)

        application.gateway.receive = noted_first  # type: ignore[method-assign]  # the witness

        def noted(plan: Plan) -> Reply:
            reply = handle(plan)
            request = plan.request
            self.rows.append(Arrived(time.monotonic(), request.method, request.path, reply.status))
            return reply

        application.gateway.handle = noted  # type: ignore[method-assign]  # the witness

    @property
    def orders(self) -> list[Arrived]:
        """Return the requests that place an order."""
        return [row for row in self.rows if row.method == "POST" and row.path == "/fapi/v1/order"]


@dataclass(frozen=True, slots=True)
class Bench:
    """A connector on a simulator that keeps its limits."""

    connector: RunningConnector
    control: Control
    log: Log

    @property
    def stub(self) -> Any:
        """Return the connector's stub."""
        return self.connector.stub


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Run a USD-M connector with a twentieth of the venue's allowances."""
    settings = simulator_settings(
        rules={"tick_seconds": 0.02, "processing_bound_seconds": 1.0, "limit_scale": SCALE}
    )
    log = Log()
    async with running_simulator(settings) as simulator:
        log.watch(simulator)
        part = patient_part("binanceusdm", simulator.address, tmp_path, allowance_scale=SCALE)
        async with running_connector(part) as connector:
            yield Bench(connector, Control(simulator.address), log)


async def place(bench: Bench, side: Any = BUY, seconds: float = 5.0, **fields: Any) -> Any:
    """Place an order of 0.01 BTC, an entry unless told; translate its error."""
    with translated():
        return await bench.stub.PlaceOrder(
            order(side, "0.01", **{"order_class": ENTRY, **fields}), timeout=seconds
        )


async def leave(bench: Bench) -> Any:
    """Place an exit of 0.01 BTC."""
    return await place(bench, SELL, reduce_only=True, order_class=EXIT)


async def read(bench: Bench, seconds: float = 5.0) -> Any:
    """Read a book; translate its error."""
    with translated():
        return await bench.stub.GetOrderBook(
            exchange_pb2.GetOrderBookRequest(symbol="BTCUSDT", depth=5), timeout=seconds
        )


async def refusals(calls: list[Coroutine[Any, Any, Any]]) -> list[str]:
    """Run calls at once and return the reasons of those that were refused."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    return [one.reason for one in found if isinstance(one, RetryableError)]


async def test_a_flood_of_reads_leaves_orders_and_exits_served(bench: Bench) -> None:
    """Far more reads than the venue allows: they are told to wait, orders go on, and no 429."""
    refused = await refusals([read(bench) for _ in range(120)])
    assert 60 <= len(refused) < 120
    assert set(refused) == {"VENUE_RATE_LIMITED"}
    assert (await place(bench)).status == FILLED
    assert (await leave(bench)).status == FILLED
    assert {row.status for row in bench.log.rows} & {418, 429} == set()


async def test_exits_go_on_when_the_entries_allowance_is_spent(bench: Bench) -> None:
    """Twelve of fifteen orders are for entries; the thirteenth is not sent, an exit is."""
    placed = await asyncio.gather(*(place(bench) for _ in range(12)))
    assert {one.status for one in placed} == {FILLED}
    with pytest.raises(RetryableError) as spent:
        await place(bench, seconds=0.5, client_order_id="late1")
    assert spent.value.reason == "VENUE_RATE_LIMITED"
    assert spent.value.retry_after is not None
    for _ in range(3):
        assert (await leave(bench)).status == FILLED
    assert len(bench.log.orders) == 15
    assert {row.status for row in bench.log.rows} & {418, 429} == set()


async def test_after_429_its_class_keeps_silent_until_retry_after(bench: Bench) -> None:
    """Nothing of the class is sent for the seconds that the venue asked for; orders are."""
    await bench.control.fault({"type": "rate_limit", "retry_after": 3}, path="/fapi/v1/depth")
    with pytest.raises(RetryableError) as limited:
        await read(bench)
    assert limited.value.retry_after is not None
    assert limited.value.retry_after.total_seconds() == 3
    refused = bench.log.rows[-1]
    await bench.control.delete("faults")
    assert (await place(bench)).status == FILLED
    await asyncio.gather(read(bench, 15), read(bench, 15))
    later = [row for row in bench.log.rows if row.at > refused.at]
    weighty = [row.at for row in later if row not in bench.log.orders]
    assert weighty
    assert min(weighty) - refused.at >= 3.0
    assert bench.log.orders[0].at - refused.at < 3.0


async def test_after_418_nothing_at_all_is_sent_until_the_ban_ends(
    bench: Bench, tmp_path: Path
) -> None:
    """No read, order, exit, cancel or listen key; another venue goes on, then all goes on."""
    await bench.control.fault(
        {"type": "rate_limit", "status": 418, "retry_after": BAN_SECONDS}, path="/fapi/v1/depth"
    )
    with pytest.raises(RetryableError):
        await read(bench)
    banned = bench.log.rows[-1]
    assert banned.status == 418
    await bench.control.delete("faults")
    # A dropped user stream wants a listen key, which ccxt asks for on its own.
    await bench.control.post("streams/cut")
    calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        lambda: read(bench, 2),
        lambda: place(bench, seconds=2),
        lambda: place(bench, SELL, 2, reduce_only=True, order_class=EXIT),
        lambda: cancel(bench, 2),
    ]
    assert await refusals([call() for call in calls]) == ["VENUE_BANNED"] * len(calls)
    state = await bench.stub.GetTradingState(trading_state_pb2.GetTradingStateRequest())
    assert state.state.HasField("banned_until")
    async with running_simulator() as other:
        part = patient_part("binance", other.address, tmp_path)
        async with running_connector(part) as second:
            with translated():
                assert (await second.stub.PlaceOrder(order(BUY, "0.01"))).status == FILLED
    assert [row for row in bench.log.rows if banned.at < row.at < banned.at + BAN_SECONDS] == []
    assert (await place(bench, seconds=15.0)).status == FILLED
    assert (await leave(bench)).status == FILLED


async def test_a_start_during_a_ban_asks_the_venue_nothing_until_it_ends(tmp_path: Path) -> None:
    """The ban was told to the process before; its successor waits it out and then serves."""
    log = Log()
    async with running_simulator() as simulator:
        log.watch(simulator)
        part = patient_part("binance", simulator.address, tmp_path)
        end = datetime.now(UTC) + timedelta(seconds=0.4)
        part.ledger_path.with_name(f"{part.ledger_path.name}.ban").write_text(
            json.dumps({"until": end.isoformat()})
        )
        banned_until = time.monotonic() + 0.4
        async with running_connector(part):
            assert log.rows
    assert min(row.at for row in log.rows) >= banned_until - 0.05


async def cancel(bench: Bench, seconds: float) -> Any:
    """Cancel all orders of the symbol; translate its error."""
    with translated():
        return await bench.stub.CancelAllOrders(
            exchange_pb2.CancelAllOrdersRequest(symbol="BTCUSDT"), timeout=seconds
        )


async def test_position_mode_and_fees_are_asked_once_for_many_entries(tmp_path: Path) -> None:
    """They weigh 50 on USD-M, more than all else that an entry asks for."""
    log = Log()
    async with running_simulator() as simulator:
        log.watch(simulator)
        part = patient_part("binanceusdm", simulator.address, tmp_path)
        async with running_connector(part) as connector:
            bench = Bench(connector, Control(simulator.address), log)

            async def listens() -> bool:
                return simulator.user_stream_count == 1

            # A user stream that opens is a reason to ask again.
            await eventually(listens)
            await place(bench)
            fees = exchange_pb2.GetTradingFeesRequest(symbol="BTCUSDT")
            for _ in range(5):
                await bench.stub.GetType(exchange_pb2.GetTypeRequest(), timeout=5)
                await bench.stub.GetTradingFees(fees, timeout=5)
                assert (await place(bench)).status == FILLED
    paths = [row.path for row in log.rows]
    assert paths.count("/fapi/v1/positionSide/dual") == 1
    assert paths.count("/fapi/v1/commissionRate") == 1


def flood_of(servicer: ExchangeServicer, price: Decimal) -> list[asyncio.Task[Any]]:
    """Start 1,000 entries that meet nothing and 200 reads, past the quotas of the server."""
    desk, market = servicer._orders.desk, servicer._data.market
    found = servicer._orders.venue.instruments.get("BTCUSDT")
    entries = [
        order_request(
            client_order_id=f"flood{number}",
            type=OrderType.LIMIT,
            time_in_force=TimeInForce.IOC,
            price=price,
            quantity=Decimal("0.01"),
            order_class=OrderClass.ENTRY,
        )
        for number in range(1_000)
    ]
    tasks = [asyncio.create_task(desk.place(entry, found)) for entry in entries]
    return tasks + [asyncio.create_task(market.order_book("BTCUSDT", 5)) for _ in range(200)]


async def test_a_read_before_an_entry_passes_a_scan_that_waits(tmp_path: Path) -> None:
    """A slow venue and thirty reads of a scan: six of them are out, and another's read is next."""
    log, path = Log(), "GET /fapi/v1/depth"
    async with running_simulator(simulator_settings()) as simulator:
        log.watch(simulator)
        part = patient_part("binanceusdm", simulator.address, tmp_path)
        async with running_connector(part) as connector:
            await Control(simulator.address).fault({"type": "delay", "seconds": 1.0})
            asked = exchange_pb2.GetOrderBookRequest(symbol="BTCUSDT", depth=5)
            told = (("read-priority", "scan"),)
            scan = [connector.stub.GetOrderBook(asked, metadata=told) for _ in range(30)]

            async def out(count: int) -> bool:
                return log.received.count(path) == count

            await eventually(lambda: out(SCAN_CALLS_AT_ONCE))
            read = connector.stub.GetOrderBook(asked)
            await eventually(lambda: out(SCAN_CALLS_AT_ONCE + 1))
            assert (await read).symbol == "BTCUSDT"
            for call in scan:
                call.cancel()


async def test_an_exit_and_a_cancel_overtake_a_flood_of_entries_and_reads(tmp_path: Path) -> None:
    """A slow venue, 1,000 entries and 200 reads under way: the next to arrive are the ways out.

    Counted in arrivals, not in seconds: what the machine can do does not matter.
    """
    rules = {"tick_seconds": 0.1, "processing_bound_seconds": 1.0, "limits": False}
    log = Log()
    async with running_simulator(simulator_settings(rules=rules)) as simulator:
        log.watch(simulator)
        part = patient_part(
            "binanceusdm",
            simulator.address,
            tmp_path,
            allowance_scale=1000,
            drain_orders_seconds=0.1,
            request_timeout_seconds=60.0,
        )
        async with running_connector(part) as connector:
            assert connector.servicer is not None
            bench = Bench(connector, Control(simulator.address), log)
            await place(bench)
            bid, _ = await best_prices(bench.stub)
            # Answers take so long that the flood has every place it can get on the wire.
            late = {"type": "delay", "seconds": 60, "when": "after"}
            await bench.control.fault(late, operation="place_order")
            flood = flood_of(connector.servicer, Decimal(round(bid * 9 / 10)))
            seen = [0]

            async def stands_still() -> bool:
                seen.append(len(log.received))
                return seen[-1] > 200 + CALLS_AT_ONCE and seen[-10:] == [seen[-1]] * 10

            await eventually(stands_still)
            sent = len(log.received)
            # What is held stays held; the ways out are answered.
            await bench.control.delete("faults")
            await asyncio.gather(leave(bench), cancel(bench, 20.0))
            arrived = log.received[sent:]
            for task in flood:
                task.cancel()
            await asyncio.gather(*flood, return_exceptions=True)
    assert arrived.count("exit") == 1
    assert arrived.index("exit") < CALLS_AT_ONCE
    assert arrived.index("DELETE /fapi/v1/allOpenOrders") < CALLS_AT_ONCE
    assert log.received.count("POST /fapi/v1/order") < 500
