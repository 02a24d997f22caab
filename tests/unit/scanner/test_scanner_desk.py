"""Scans one after the other, each with an end that is told, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

from services.common.ids import RandomIds
from services.common.metrics import ServiceMetrics
from services.scanner.evaluate import Evidence
from services.scanner.findings import Findings
from services.scanner.instruments import Exclusion, ExclusionReason, InstrumentKey, InstrumentKind
from services.scanner.metrics import ScannerMetrics
from services.scanner.progress import ScanRecord, ScanState
from services.scanner.scan_desk import KEPT_SCANS, ScanDesk
from tests.support.hand_clock import HandClock
from tests.support.scanner_rig import until

NOTHING = Findings(
    (), (), (), frozenset(), frozenset(), is_blind=False, evidence=Evidence("", {}, {})
)
LEG = InstrumentKey("perpy", "AUSDT", InstrumentKind.PERPETUAL)


@dataclass
class Board:
    """What a desk does to the board; mutable, it notes."""

    published: list[Findings] = field(default_factory=list)
    expire_count: int = 0

    def publish(self, findings: Findings, _began: object) -> None:
        """Note what is published."""
        self.published.append(findings)

    def expire(self) -> None:
        """Count."""
        self.expire_count += 1


class Stage:
    """A desk, its board, and the calls made to venues."""

    def __init__(
        self, scan: Callable[[ScanRecord], Awaitable[Findings]], *, timeout_seconds: float
    ) -> None:
        self.board, self.metrics, self.call_count = Board(), ServiceMetrics("scanner"), 0
        self.desk = ScanDesk(
            scan,
            cast("Any", self.board),
            interval_seconds=0,
            timeout_seconds=timeout_seconds,
            call_count=lambda: self.call_count,
            ids=RandomIds(),
            clock=HandClock(),
            metrics=ScannerMetrics(self.metrics),
        )

    async def scanned(self, name: str = "request") -> ScanRecord:
        """Run a scan to its end."""
        record = self.desk.start(name)
        await asyncio.wait_for(record.ended.wait(), 5)
        return record


@asynccontextmanager
async def stage_of(
    scan: Callable[[ScanRecord], Awaitable[Findings]], *, timeout_seconds: float = 60.0
) -> AsyncIterator[Stage]:
    """Run a desk for the length of the block."""
    stage = Stage(scan, timeout_seconds=timeout_seconds)
    owner = asyncio.create_task(stage.desk.run())
    await asyncio.sleep(0)
    yield stage
    owner.cancel()
    with suppress(asyncio.CancelledError):
        await owner


async def test_a_scan_that_hangs_ends_in_time_and_leaves_the_list() -> None:
    """It failed, says why, and the next one runs."""

    async def scan(_record: ScanRecord) -> Findings:
        if stage.call_count:
            return NOTHING
        await asyncio.Event().wait()
        return NOTHING

    async with stage_of(scan, timeout_seconds=0.02) as stage:
        record = await stage.scanned()
        assert (record.state, stage.board.published) == (ScanState.FAILED, [])
        assert record.missing_parts == ("the scan took longer than 0.02 s",)
        stage.call_count = 1
        assert (await stage.scanned("next")).state is ScanState.SUCCEEDED


async def test_a_bug_in_a_scan_ends_that_scan_only() -> None:
    """The desk goes on: it publishes the next one and expires what is old."""

    async def scan(_record: ScanRecord) -> Findings:
        if not stage.call_count:
            raise ZeroDivisionError
        return NOTHING

    async with stage_of(scan) as stage:
        record = await stage.scanned()
        assert record.state is ScanState.FAILED
        assert record.missing_parts
        stage.call_count = 1
        assert (await stage.scanned("next")).state is ScanState.SUCCEEDED
        before = stage.board.expire_count
        await until(lambda: stage.board.expire_count > before)


async def test_figures_are_those_of_the_scan_itself() -> None:
    """Calls made after its end are not counted to it; reasons of the one before are gone."""
    found = [
        replace(NOTHING, exclusions=(Exclusion(LEG, reason, ""),))
        for reason in (ExclusionReason.ZERO_RUN, ExclusionReason.MARKET_DEAD)
    ]

    async def scan(_record: ScanRecord) -> Findings:
        stage.call_count += 3
        return found.pop(0)

    async with stage_of(scan) as stage:
        first = await stage.scanned("first")
        await stage.scanned("second")
        assert (first.venue_call_count, stage.call_count) == (3, 6)
        registry = stage.metrics.registry
        counted = {
            reason: registry.get_sample_value(
                "opensqt_scanner_excluded_instruments", {"reason": reason.value}
            )
            for reason in (ExclusionReason.ZERO_RUN, ExclusionReason.MARKET_DEAD)
        }
        assert counted == {ExclusionReason.ZERO_RUN: None, ExclusionReason.MARKET_DEAD: 1.0}


async def test_each_batch_has_half_of_the_time_that_is_left() -> None:
    """One that hangs leaves the rest of the scan its time."""
    left: list[float | None] = []

    async def scan(record: ScanRecord) -> Findings:
        left.append(record.seconds_to_read())
        return NOTHING

    async with stage_of(scan, timeout_seconds=60.0) as stage:
        await stage.scanned()
    assert left == [30.0]


async def test_old_scans_are_forgotten() -> None:
    """A scanner that runs for months keeps the last ones only."""

    async def scan(_record: ScanRecord) -> Findings:
        return NOTHING

    async with stage_of(scan) as stage:
        for number in range(KEPT_SCANS + 3):
            await stage.scanned(str(number))
        assert len(stage.desk._records) == KEPT_SCANS
