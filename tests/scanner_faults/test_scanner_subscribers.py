"""A thousand watchers over gRPC: each sees everything, one that does not read holds nobody up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc
from services.common.call_errors import translated
from services.common.channels import open_channel
from services.common.errors import RetryableError
from services.common.metrics import ServiceMetrics
from services.common.settings import ServerSettings, VenueSettings
from services.scanner.bootstrap import scanner
from services.scanner.history_store import MemoryHistoryStore
from services.scanner.live_settings import LiveSettings
from services.scanner.settings import ScannerSettings
from tests.support.fake_exchange import FakeListing, exchange_server, history
from tests.support.scanner_rig import Stub, scanned
from tests.support.streaming_exchange import StreamingExchange

WATCHERS = 1000
SYMBOLS = 4
SMALL_WINDOW = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
# The processes of other tests may have the cores too; alone it takes a third.
pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def crowded(
    symbol_count: int = SYMBOLS, **bounds: Any
) -> AsyncIterator[tuple[Stub, StreamingExchange, str]]:
    """Run a scanner with room for the watchers; yield a client, the venue, the address."""
    spot, perpetual = StreamingExchange(perpetual=False), StreamingExchange(perpetual=True)
    for index in range(symbol_count):
        spot.list(FakeListing(f"X{index}USDT"))
        perpetual.list(FakeListing(f"X{index}USDT", rates=history("0.0005"), next_rate="0.0005"))
    async with AsyncExitStack() as stack:
        addresses = [
            (await stack.enter_async_context(exchange_server(each))).address
            for each in (spot, perpetual)
        ]
        settings = ScannerSettings(
            venues=(
                VenueSettings(name="spotty", kind="spot", address=addresses[0]),
                VenueSettings(name="perpy", kind="perpetual", address=addresses[1]),
            ),
            # Channels of one process to one address share a connection.
            grpc=ServerSettings(
                port=0,
                principal_streams=2 * WATCHERS,
                max_concurrent_streams=2 * WATCHERS,
                drain_seconds=0,
                **bounds,
            ),
            live=LiveSettings(count=symbol_count, refresh_seconds=0.05, silence_seconds=60),
            max_subscribers=WATCHERS,
        )
        server = await stack.enter_async_context(
            scanner(settings, ServiceMetrics("scanner"), store=MemoryHistoryStore())
        )
        await stack.enter_async_context(server)
        channel = await stack.enter_async_context(open_channel(server.address))
        yield scanner_pb2_grpc.ScannerServiceStub(channel), perpetual, server.address


def watched(stub: Stub) -> Any:
    """Watch all opportunities."""
    return stub.WatchOpportunities(scanner_pb2.WatchOpportunitiesRequest())


async def snapshot(watch: Any) -> int:
    """Read a watch stream up to the marker; return the number of resources."""
    while True:
        event = await watch.read()
        if event.WhichOneof("event") == "caught_up":
            return int(event.caught_up.resource_count)


async def change(watch: Any) -> Any:
    """Read a watch stream up to the next opportunity."""
    while True:
        event = await watch.read()
        if event.WhichOneof("event") == "upsert":
            return event.upsert


async def drained(watch: Any) -> None:
    """Read a watch stream to its end, or its first heartbeat."""
    while (event := await watch.read()) and event.WhichOneof("event") != "heartbeat":
        pass


async def test_a_thousand_watchers_see_every_change(record_property: Any) -> None:
    """Snapshot and changes reach all of them, each revision once and the same for all."""
    async with crowded() as (stub, perpetual, _):
        await scanned(stub)
        began = time.perf_counter()
        watches = [watched(stub) for _ in range(WATCHERS)]
        counts = await asyncio.gather(*(snapshot(each) for each in watches))
        opened = time.perf_counter() - began
        assert counts == [SYMBOLS] * WATCHERS
        seconds = []
        for rate in ("0.0006", "0.0007", "0.0008"):
            perpetual.move("X3USDT", next_rate=rate)
            began = time.perf_counter()
            changes = await asyncio.gather(*(change(each) for each in watches))
            seconds.append(time.perf_counter() - began)
            (told,) = {(each.symbol, each.current_apr.value, each.revision) for each in changes}
            assert told[0] == "X3USDT"
        record_property("snapshot_seconds", opened)
        record_property("fan_out_seconds", seconds)
        # One more than there is room for is told so, and the others stay.
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await watched(stub).read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for each in watches:
            each.cancel()


async def test_a_watcher_that_does_not_read_is_ended_and_holds_nobody_up() -> None:
    """One that reads has every round of changes; the other is told why it was ended."""
    async with (
        crowded(100, write_seconds=0.3) as (stub, perpetual, address),
        # Takes no more on credit than it must, so that little is enough to fill it.
        grpc.aio.insecure_channel(address, options=SMALL_WINDOW) as channel,
    ):
        await scanned(stub)
        quick = watched(stub)
        stuck = watched(scanner_pb2_grpc.ScannerServiceStub(channel))
        for number in range(8):
            rate = f"0.000{6 + number % 3}"
            for name in perpetual.listings:
                perpetual.move(name, next_rate=rate)
            wanted = Decimal(rate) * 1095
            while Decimal((await change(quick)).current_apr.value) != wanted:
                pass
        with pytest.raises(RetryableError) as ended, translated():
            await drained(stuck)
        assert ended.value.reason == "SUBSCRIBER_TOO_SLOW"
        quick.cancel()
