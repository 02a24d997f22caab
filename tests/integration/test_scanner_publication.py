"""What callers of the scanner see: scans, lists, watch streams, cancelling, expiry."""

from __future__ import annotations

import asyncio
import uuid
from decimal import Decimal

import grpc
import pytest

from opensqt.market_maker.v1 import scanner_pb2
from services.common.call_errors import translated
from services.common.errors import (
    InvalidFieldError,
    NotFoundError,
    RejectedError,
)
from tests.support.fake_exchange import (
    FakeListing,
    history,
)
from tests.support.scanner_rig import (
    CANCELED,
    RUNNING,
    SUCCEEDED,
    after_scan,
    listed,
    markets,
    scanned,
    scanning,
    started,
    status,
    until,
)


async def test_cancelled_scan_frees_the_workers_and_keeps_the_list() -> None:
    """Cancelling ends the scan and its tasks at once; the next scan has all the workers."""
    spot, perpetual = markets()
    async with scanning(spot, perpetual) as stub:
        before = await after_scan(stub)
        perpetual.gates["GetFundingRates"] = asyncio.Event()
        calls = perpetual.calls["GetFundingRates"]
        scan_id = await started(stub)
        await until(lambda: perpetual.calls["GetFundingRates"] > calls)
        answer = await stub.CancelScan(scanner_pb2.CancelScanRequest(scan_id=scan_id))
        assert answer.scan.state == CANCELED
        assert answer.scan.HasField("end_time")
        assert [each.revision for each in await listed(stub)] == [each.revision for each in before]
        del perpetual.gates["GetFundingRates"]
        assert (await scanned(stub)).state == SUCCEEDED
        # Cancelling what has ended changes nothing.
        again = await stub.CancelScan(scanner_pb2.CancelScanRequest(scan_id=scan_id))
        assert again.scan.state == CANCELED
        with pytest.raises(NotFoundError), translated():
            await stub.CancelScan(scanner_pb2.CancelScanRequest())


async def test_start_scan_is_idempotent_and_joins_a_running_scan() -> None:
    """A repeated request id names the same scan for ever; another one joins while the scan runs."""
    spot, perpetual = markets()
    perpetual.gates["GetFundingRates"] = asyncio.Event()
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    async with scanning(spot, perpetual) as stub:
        one = (await stub.StartScan(scanner_pb2.StartScanRequest(request_id=first))).scan
        two = (await stub.StartScan(scanner_pb2.StartScanRequest(request_id=second))).scan
        assert one.state == RUNNING
        assert one.scan_id == two.scan_id
        perpetual.gates["GetFundingRates"].set()

        async def is_over() -> bool:
            return (await status(stub)).state == SUCCEEDED

        await until(is_over)
        again = (await stub.StartScan(scanner_pb2.StartScanRequest(request_id=second))).scan
        assert (again.scan_id, again.state) == (one.scan_id, SUCCEEDED)
        assert perpetual.calls["GetFundingRates"] == 1
        for bad in ("", "seven"):
            with pytest.raises(InvalidFieldError) as refused, translated():
                await stub.StartScan(scanner_pb2.StartScanRequest(request_id=bad))
            assert refused.value.field == "request_id"
        with pytest.raises(NotFoundError) as unknown, translated():
            await status(stub, "nothing")
        assert unknown.value.reason == "SCAN_NOT_FOUND"


async def test_progress_grows_while_the_scan_runs() -> None:
    """GetScanStatus counts tasks and calls of a running scan."""
    spot, perpetual = markets()
    perpetual.gates["GetHistoricalFundingRates"] = asyncio.Event()
    async with scanning(spot, perpetual) as stub:
        await started(stub)
        await until(lambda: perpetual.calls["GetHistoricalFundingRates"] > 0)
        scan = await status(stub)
        assert scan.state == RUNNING
        assert 0 < scan.ended_task_count < scan.task_count
        assert scan.venue_call_count >= 7
        perpetual.gates["GetHistoricalFundingRates"].set()


async def test_list_pages_filters_and_refuses_bad_requests() -> None:
    """Pages follow each other without gaps, filters hold, wrong fields are named."""
    spot, perpetual = markets()
    for index in range(7):
        perpetual.list(FakeListing(f"X{index}USDT", history(f"0.000{index + 2}")))
        spot.list(FakeListing(f"X{index}USDT"))
    async with scanning(spot, perpetual) as stub:
        everything = [each.opportunity_id for each in await after_scan(stub)]
        assert len(everything) == 8
        scores = [Decimal(each.quality_score.value) for each in await listed(stub)]
        assert scores == sorted(scores, reverse=True)
        token, seen = "", []
        while True:
            request = scanner_pb2.ListOpportunitiesRequest(page_size=3, page_token=token)
            page = await stub.ListOpportunities(request)
            seen += [each.opportunity_id for each in page.opportunities]
            token = page.next_page_token
            if not token:
                break
        assert seen == everything
        assert [each.symbol for each in await listed(stub, symbols=["X3USDT"])] == ["X3USDT"]
        high = await listed(stub, min_net_apr={"value": "0.6"})
        assert {each.symbol for each in high} == {"X4USDT", "X5USDT", "X6USDT"}
        for field, bad in (
            ("page_size", {"page_size": -1}),
            ("min_net_apr", {"min_net_apr": {"value": "NaN"}}),
            ("page_token", {"page_token": "junk"}),
            ("symbols[0]", {"symbols": [""]}),
        ):
            with pytest.raises(InvalidFieldError) as refused, translated():
                await listed(stub, **bad)
            assert refused.value.field == field


async def test_watch_sends_snapshot_changes_removals_and_resumes() -> None:
    """A watcher sees what stands, then changes, and goes on from its token after a break."""
    spot, perpetual = markets()
    perpetual.list(FakeListing("DDDUSDT", history("0.0004")))
    spot.list(FakeListing("DDDUSDT", volume="1"))
    async with scanning(spot, perpetual) as stub:
        await scanned(stub)
        watch = stub.WatchOpportunities(scanner_pb2.WatchOpportunitiesRequest())
        first = await watch.read()
        marker = await watch.read()
        assert first.upsert.symbol == "AAAUSDT"
        assert marker.caught_up.resource_count == 1
        watch.cancel()
        spot.list(FakeListing("DDDUSDT"), FakeListing("AAAUSDT", volume="1"))
        await scanned(stub)
        request = scanner_pb2.WatchOpportunitiesRequest(resume_token=marker.resume_token)
        resumed = stub.WatchOpportunities(request)
        events = [await resumed.read() for _ in range(3)]
        assert [event.WhichOneof("event") for event in events] == [
            "removed_opportunity_id",
            "upsert",
            "caught_up",
        ]
        assert events[0].removed_opportunity_id == first.upsert.opportunity_id
        assert events[1].upsert.symbol == "DDDUSDT"
        resumed.cancel()
        stale = scanner_pb2.WatchOpportunitiesRequest(resume_token=b"another:1")
        with pytest.raises(RejectedError) as expired, translated():
            await stub.WatchOpportunities(stale).read()
        assert expired.value.reason == "RESUME_TOKEN_EXPIRED"


async def test_slow_subscriber_gets_the_latest_state_only() -> None:
    """A watcher that does not read misses middle revisions, never the last, and holds nobody up."""
    spot, perpetual = markets()
    async with scanning(spot, perpetual) as stub:
        await scanned(stub)
        slow = stub.WatchOpportunities(scanner_pb2.WatchOpportunitiesRequest())
        assert (await slow.read()).upsert.symbol == "AAAUSDT"
        for cent in range(5):
            spot.list(FakeListing("AAAUSDT", bid=f"99.9{cent}"))
            await scanned(stub)
        (last,) = await listed(stub)
        revisions: list[int] = []
        async with asyncio.timeout(60):
            while not revisions or revisions[-1] < last.revision:
                event = await slow.read()
                if event.WhichOneof("event") == "upsert":
                    revisions.append(event.upsert.revision)
        assert revisions == sorted(set(revisions))
        slow.cancel()


async def test_a_scan_that_finds_the_same_numbers_publishes_nothing_new() -> None:
    """A revision says that something changed; the same is told again when its expiry nears."""
    spot, perpetual = markets()
    async with scanning(spot, perpetual) as stub:
        (first,) = await after_scan(stub)
        (same,) = await after_scan(stub)
        assert same == first
        spot.list(FakeListing("AAAUSDT", bid="99.98"))
        (other,) = await after_scan(stub)
        assert other.revision > first.revision
        assert other.scan_id != first.scan_id


async def test_idle_watch_gets_heartbeats_that_move_the_token() -> None:
    """With nothing new the stream still proves life."""
    async with scanning(*markets(), heartbeat_seconds=0.05) as stub:
        watch = stub.WatchOpportunities(scanner_pb2.WatchOpportunitiesRequest())
        assert (await watch.read()).WhichOneof("event") == "caught_up"
        beat = await watch.read()
        assert beat.WhichOneof("event") == "heartbeat"
        assert beat.heartbeat.server_time.seconds > 0
        watch.cancel()


async def test_expired_opportunities_are_removed() -> None:
    """What has expired is neither listed nor kept from watchers."""
    async with scanning(*markets(), lifetime_seconds=3) as stub:
        assert await after_scan(stub)
        watch = stub.WatchOpportunities(scanner_pb2.WatchOpportunitiesRequest())
        async with asyncio.timeout(60):
            while (event := await watch.read()).WhichOneof("event") != "removed_opportunity_id":
                pass
        assert ":perpy:" in event.removed_opportunity_id
        assert await listed(stub) == []
        watch.cancel()


async def test_scans_repeat_on_their_interval() -> None:
    """With an interval the scanner starts by itself and goes on."""
    async with scanning(*markets(), scan_interval_seconds=0.05) as stub:
        spot_scans: set[str] = set()

        async def has_repeated() -> bool:
            try:
                spot_scans.add((await status(stub)).scan_id)
            except grpc.aio.AioRpcError:
                return False
            return len(spot_scans) >= 3

        await until(has_repeated)
        assert await listed(stub)
