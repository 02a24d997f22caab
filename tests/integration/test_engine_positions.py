"""PositionService over gRPC: legs, orders and profits as the ledger of a real engine has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import position_pb2, position_pb2_grpc, types_pb2
from services.common.call_errors import translated
from services.common.channels import open_channel
from services.common.errors import InvalidFieldError, NotFoundError
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings
from services.engine.servicer_positions import PositionServicer
from services.engine.views import PositionView
from services.engine.watching import PositionFeed
from tests.support.engine_rig import EngineRig, MemoryJournal, Recorder
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal
Request = position_pb2.PositionServiceGetOrderHistoryRequest


class FeedingRecorder(Recorder):
    """A recorder that passes on to the feed what it hears."""

    def __init__(self, feed: PositionFeed) -> None:
        super().__init__()
        self._feed = feed

    def position_changed(self, view: PositionView) -> None:
        """Keep the status and feed the stream."""
        super().position_changed(view)
        self._feed.position_changed(view)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[EngineRig, Any]]:
    """Run an engine on fake venues and serve its ledger; yields it and a client."""
    clock = VirtualClock()
    rig = EngineRig(clock, MemoryJournal())
    feed = PositionFeed("epoch", clock)
    rig.recorder = FeedingRecorder(feed)
    rig.new_engine()
    await rig.start()
    server = GrpcServer(ServerSettings(drain_seconds=0), metrics=ServiceMetrics("engine"))
    server.add(
        position_pb2_grpc.add_PositionServiceServicer_to_server,
        PositionServicer(rig.engine.ledger, feed),
        "opensqt.market_maker.v1.PositionService",
    )
    try:
        async with server, open_channel(server.address) as channel:
            yield rig, position_pb2_grpc.PositionServiceStub(channel)
            feed.close()
    finally:
        await rig.close_rig()


async def test_legs_orders_and_profit_follow_a_position() -> None:
    """What is held is listed while it is held, its orders for ever, its profit once it ended."""
    async with serving() as (rig, stub):
        rig.short_venue.price = D("100.5")
        view = await rig.open("2")
        legs = await stub.GetPositions(position_pb2.PositionServiceGetPositionsRequest())
        held = {leg.exchange: (leg.symbol, D(leg.quantity.value)) for leg in legs.positions}
        assert held == {
            "perp": ("BTCUSDT", view.short_leg.quantity),
            "spot": ("BTCUSDT", view.long_leg.quantity),
        }
        (spot,) = [leg for leg in legs.positions if leg.exchange == "spot"]
        assert D(spot.entry_price.value) == view.long_leg.average_entry_price
        assert not spot.HasField("current_price")
        only = position_pb2.PositionServiceGetPositionsRequest(exchanges=["perp"])
        assert len((await stub.GetPositions(only)).positions) == 1
        await rig.close(view.position_id)
        assert not (await stub.GetPositions(only)).positions
        history = await stub.GetOrderHistory(Request())
        assert [o.status for o in history.orders] == [types_pb2.ORDER_STATUS_FILLED] * 4
        assert {o.client_order_id for o in history.orders} == {
            o.client_order_id for o in rig.engine.get(view.position_id).orders
        }
        # Unknown until the venue has told the funding: none of it here.
        await rig.clock.run_until(
            lambda: rig.engine.get(view.position_id).funding_received is not None
        )
        profit = await stub.GetRealizedPnL(position_pb2.PositionServiceGetRealizedPnLRequest())
        ended = rig.engine.get(view.position_id)
        assert ended.trading_pnl is not None
        assert ended.fees_paid is not None
        made = ended.trading_pnl - ended.fees_paid
        assert D(profit.total_pnl.value) == made
        (symbol,) = profit.by_symbol
        assert (symbol.num_trades, symbol.winning_trades, symbol.losing_trades) == (1, 0, 1)
        assert symbol.win_rate == "0"


async def test_history_comes_in_pages_without_gaps() -> None:
    """Following the cursor names every order once, newest first."""
    async with serving() as (rig, stub):
        for _ in range(3):
            await rig.close((await rig.open("1")).position_id)
        names: list[str] = []
        request = Request(limit=2)
        while True:
            page = await stub.GetOrderHistory(request)
            names += [order.client_order_id for order in page.orders]
            if not page.next_cursor:
                break
            request.end_time = int(page.next_cursor)
        assert len(names) == len(set(names)) == 12
        with pytest.raises(InvalidFieldError), translated():
            await stub.GetOrderHistory(Request(limit=-1))


async def test_unknown_order_is_open_and_found_by_its_id() -> None:
    """An order without proof is live, its status unspecified; strangers' ids are not found."""
    async with serving() as (rig, stub):
        rig.long_venue.script.append(Fault(reply_lost=True, latency=30))
        await rig.call(rig.engine.open(rig.open_command("1")))
        await rig.clock.pass_time(11)
        answer = await stub.GetOpenOrders(position_pb2.PositionServiceGetOpenOrdersRequest())
        (order,) = answer.orders
        assert order.status in (
            types_pb2.ORDER_STATUS_UNSPECIFIED,
            types_pb2.ORDER_STATUS_NEW,
        )
        wanted = position_pb2.PositionServiceGetOrderRequest(order_id=order.client_order_id)
        assert (await stub.GetOrder(wanted)).order == order
        with pytest.raises(NotFoundError), translated():
            await stub.GetOrder(position_pb2.PositionServiceGetOrderRequest(order_id="nobody"))
        with pytest.raises(NotFoundError), translated():
            await stub.GetPosition(
                position_pb2.PositionServiceGetPositionRequest(symbol="X", exchange="spot")
            )


async def test_legs_are_streamed_from_snapshot_to_close() -> None:
    """A subscriber sees what is held, then each leg open, change and close."""
    async with serving() as (rig, stub):
        await rig.open("1")
        call = stub.SubscribePositions(position_pb2.PositionServiceSubscribePositionsRequest())
        first = [await call.read(), await call.read()]
        assert {u.update_type for u in first} == {"snapshot"}
        (view,) = rig.engine.positions()
        await rig.close(view.position_id)
        seen: dict[str, str] = {}
        while set(seen.values()) != {"closed"} or len(seen) < 2:
            update = await call.read()
            seen[update.position.exchange] = update.update_type
        assert set(seen) == {"perp", "spot"}
        call.cancel()


@pytest.mark.parametrize("method", ["GetFills", "GetPositionHistory", "GetUnrealizedPnL"])
async def test_what_the_ledger_does_not_know_says_so(method: str) -> None:
    """Executions and prices are not journaled: the methods that need them are unimplemented."""
    async with serving() as (_, stub):
        request = getattr(position_pb2, f"PositionService{method}Request")()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await getattr(stub, method)(request)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
