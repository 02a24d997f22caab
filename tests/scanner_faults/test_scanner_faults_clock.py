"""A wall clock that is set ahead or back makes nothing published fresher, older or gone."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc
from services.common.channels import open_channel
from services.common.clock import SystemClock
from services.common.metrics import ServiceMetrics
from services.common.settings import VenueSettings
from services.scanner.bootstrap import scanner
from services.scanner.live_settings import LiveSettings
from services.scanner.settings import HistorySettings, ScannerSettings
from tests.support.scan_faults_rig import KINDS, SUCCEEDED, ScanRig, carries, scan_rig, until
from tests.support.scanner_rig import scanned

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

LIFETIME = 300.0


class StepClock(SystemClock):
    """The machine's clock; `step` sets the wall, `passed` lets time go by for both clocks."""

    def __init__(self) -> None:
        self.step = timedelta(0)
        self.passed = 0.0

    def now(self) -> datetime:
        """Return the wall time as it was set."""
        return super().now() + self.step + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        """Return seconds that no setting of the wall moves."""
        return super().monotonic() + self.passed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venues(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScanRig]:
    """Run the two venues of one pair of legs."""
    folder = tmp_path_factory.mktemp("clock")
    async with scan_rig(folder, ("binance", "binanceusdm")) as rig:
        yield rig


@contextlib.asynccontextmanager
async def clocked_scanner(rig: ScanRig, clock: StepClock) -> AsyncIterator[Any]:
    """Run a scanner of this process on the clock; yield its client."""
    settings = ScannerSettings(
        venues=tuple(
            VenueSettings(name=name, kind=KINDS[name], address=connector.address)
            for name, connector in rig.connectors.items()
        ),
        lifetime_seconds=LIFETIME,
        live=LiveSettings(count=0),
        history=HistorySettings(path=rig.folder / f"{uuid.uuid4().hex}.history"),
    )
    async with (
        scanner(settings, ServiceMetrics("scanner"), clock=clock) as server,
        server,
        open_channel(server.address) as channel,
    ):
        yield scanner_pb2_grpc.ScannerServiceStub(channel)


async def published(stub: Any) -> dict[str, Any]:
    """Return what is listed, by the name of the opportunity."""
    answer = await stub.ListOpportunities(scanner_pb2.ListOpportunitiesRequest(page_size=500))
    return {each.opportunity_id: each for each in answer.opportunities}


@pytest.mark.parametrize("hours", [3, -3], ids=["ahead", "back"])
async def test_step_of_the_wall_clock_changes_no_figure(rig: ScanRig, hours: int) -> None:
    """What stands lives on for its own time, and for no longer; a scan goes on as before."""
    clock = StepClock()
    async with clocked_scanner(rig, clock) as stub:
        assert (await scanned(stub)).state == SUCCEEDED
        before = await published(stub)
        assert before
        clock.step = timedelta(hours=hours)
        # A second and more: whoever removes what has expired has looked since.
        await asyncio.sleep(1.2)
        assert carries(await published(stub)) == carries(before)
        assert (await scanned(stub)).state == SUCCEEDED
        assert carries(await published(stub)) == carries(before)
        clock.passed = LIFETIME + 1

        async def is_empty() -> bool:
            return not await published(stub)

        await until(is_empty, seconds=60)


async def test_step_in_mid_scan_publishes_nothing_fresher_than_it_is(rig: ScanRig) -> None:
    """Set back between reading and publishing, the age still counts from when it was read."""
    clock = StepClock()
    async with clocked_scanner(rig, clock) as stub:
        await rig.break_calls({"type": "delay", "seconds": 0.2}, path="/fapi/v1/fundingRate")
        asked = await rig.counting("/fapi/v1/fundingRate")

        async def is_under_way() -> bool:
            return await asked() >= 1

        task = asyncio.create_task(scanned(stub))
        await until(is_under_way)
        clock.step = timedelta(hours=-3)
        assert (await task).state == SUCCEEDED
        rows = await published(stub)
        assert rows
        latest = clock.now() + timedelta(seconds=LIFETIME)
        for row in rows.values():
            assert row.expire_time.ToDatetime(latest.tzinfo) <= latest
        clock.passed = LIFETIME + 1

        async def is_empty() -> bool:
            return not await published(stub)

        await until(is_empty, seconds=60)
