"""What happens while the user stream is off reaches the subscribers, each fill once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import events_pb2, exchange_pb2, types_pb2
from tests.support.connector import (
    BUY,
    SELL,
    eventually,
    number,
    order,
    patient_part,
    running_connector,
)
from tests.support.simulator import ACCOUNT, Control, running_simulator, simulator_settings

LOST_EVENTS = {"type": "event_late", "seconds": 600}


# Not frozen: it collects what is told.
@dataclass(slots=True)
class Bench:
    """A connector on its simulator, and what a subscriber has been told."""

    code: str
    address: str
    folder: Path
    stub: Any
    control: Control
    told: list[events_pb2.OrderUpdate] = field(default_factory=list)

    async def trade_elsewhere(self, symbol: str) -> None:
        """Trade on the same account past the connector: through another one."""
        part = patient_part(self.code, self.address, self.folder / "elsewhere")
        async with running_connector(part) as other:
            await other.stub.PlaceOrder(order(BUY, "1", symbol=symbol), timeout=5)

    async def close_gap(self) -> None:
        """Cut the stream and wait until the next snapshot has been told."""
        markers = self.count_markers()
        await self.control.post("streams/cut")

        async def caught_up() -> bool:
            return self.count_markers() > markers

        await eventually(caught_up, 20)

    def count_markers(self) -> int:
        """Return how many snapshots have ended."""
        return sum(update.caught_up for update in self.told)

    def executed_told(self) -> list[Decimal]:
        """Return the quantity of each trade told; fails when one was told twice."""
        trades = [one.last_trade for one in self.told if one.HasField("last_trade")]
        names = [(one.symbol, one.trade_id) for one in trades]
        assert len(set(names)) == len(names)
        return sorted(number(one.quantity) for one in trades)

    async def executed(self) -> list[Decimal]:
        """Return the quantity of each trade in the venue's books."""
        return sorted(Decimal(fill["quantity"]) for fill in await self.control.get("trades"))


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Run a simulator, a connector of the kind on it, and a subscriber that is caught up."""
    async with open_bench(request.param, tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def open_bench(code: str, folder: Path, **rules: Any) -> AsyncIterator[Bench]:
    """Open a bench; keywords are rules of the simulator."""
    given = simulator_settings()
    settings = given.model_copy(update={"rules": given.rules.model_copy(update=rules)})
    async with running_simulator(settings) as simulator:
        part = patient_part(code, simulator.address, folder)
        async with running_connector(part) as connector:
            control = Control(simulator.address)
            made = Bench(code, simulator.address, folder, connector.stub, control)
            reading = asyncio.create_task(listen(made))
            await eventually(lambda: is_caught_up(made))
            yield made
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading


async def listen(bench: Bench) -> None:
    """Keep what SubscribeOrders tells."""
    async for update in bench.stub.SubscribeOrders(exchange_pb2.SubscribeOrdersRequest()):
        bench.told.append(update)


async def is_caught_up(bench: Bench) -> bool:
    """Tell whether the first snapshot has ended."""
    return bench.count_markers() > 0


def on(*codes: str) -> pytest.MarkDecorator:
    """Run a test on these venues."""
    return pytest.mark.parametrize("bench", codes, indirect=True)


@on("binance", "binanceusdm", "okx-swap", "bybit-linear")
async def test_fills_of_the_gap_are_told_once_ours_and_others(bench: Bench) -> None:
    """Orders that began and ended while no event came are told after the resume, trade by trade."""
    await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="before"), timeout=5)
    await bench.control.fault(LOST_EVENTS, operation="order_event")
    await bench.stub.PlaceOrder(order(BUY, "0.02", client_order_id="within"), timeout=5)
    await bench.trade_elsewhere("ETHUSDT")
    await bench.control.delete("faults")
    await bench.close_gap()
    assert bench.executed_told() == await bench.executed()
    ours = [one for one in bench.told if one.client_order_id == "within"]
    assert sum(number(one.last_trade.quantity) for one in ours if one.HasField("last_trade")) == (
        Decimal("0.02")
    )
    others = [one for one in bench.told if one.symbol == "ETHUSDT"]
    assert others[-1].status == types_pb2.ORDER_STATUS_FILLED
    # What was missed is told before the snapshot ends.
    assert bench.told[-1].caught_up
    await bench.close_gap()
    assert bench.executed_told() == await bench.executed()


@on("binanceusdm", "okx-swap")
async def test_forced_fill_of_the_gap_is_told_as_such(bench: Bench) -> None:
    """A liquidation that no event told is marked when it is read afterwards."""
    await bench.stub.PlaceOrder(order(BUY, "0.01"), timeout=5)
    await bench.control.fault(LOST_EVENTS, operation="order_event")
    await bench.control.post("liquidate", {"account": ACCOUNT, "symbol": "BTCUSDT"})
    await bench.control.delete("faults")
    await bench.close_gap()
    forced = [one for one in bench.told if one.forced_fill]
    assert {one.forced_fill for one in forced} == {types_pb2.FORCED_FILL_LIQUIDATION}
    assert any(one.HasField("last_trade") and one.side == SELL for one in forced)
    assert bench.executed_told() == await bench.executed()


@on("binance")
async def test_a_gap_that_cannot_be_read_stays_open(bench: Bench) -> None:
    """No snapshot says "caught up" before the trades of the gap were read."""
    await bench.stub.PlaceOrder(order(BUY, "0.01"), timeout=5)
    await bench.control.fault(LOST_EVENTS, operation="order_event")
    await bench.stub.PlaceOrder(order(SELL, "0.01"), timeout=5)
    await bench.control.post(
        "faults",
        [
            {
                "id": "unread",
                "match": {"operation": "get_trades", "times": 2},
                "action": {"type": "http_status", "status": 502, "body": "<html>"},
            }
        ],
    )
    await bench.close_gap()
    await bench.control.delete("faults")
    assert bench.executed_told() == await bench.executed()


@on("binanceusdm")
async def test_an_event_that_comes_twice_tells_its_trade_once(bench: Bench) -> None:
    """A duplicate of an event is no second execution."""
    await bench.control.fault({"type": "event_duplicate"}, operation="order_event")
    await bench.stub.PlaceOrder(order(BUY, "0.01"), timeout=5)

    async def all_told() -> bool:
        return len(bench.executed_told()) >= len(await bench.executed()) > 0

    await eventually(all_told)
    await bench.close_gap()
    assert bench.executed_told() == await bench.executed()


async def test_an_expired_listen_key_costs_no_fill(tmp_path: Path) -> None:
    """The venue ends the stream under an open socket; a new key is taken and the gap is read."""
    async with open_bench("binanceusdm", tmp_path, listen_key_seconds=1.0) as bench:
        for _ in range(2):
            markers = bench.count_markers()
            await bench.stub.PlaceOrder(order(BUY, "0.01"), timeout=5)

            async def resumed(before: int = markers) -> bool:
                return bench.count_markers() > before

            await eventually(resumed)
        assert bench.executed_told() == await bench.executed()
