"""What a person reads of a scan: its state, what it lacks, why a symbol is not in it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli.doctor import Finding, examine
from cli.progress import scan_progress
from cli.scan_words import (
    exclusion_lines,
    missing_lines,
    scan_summary,
    standing_words,
    unlisted_lines,
)
from cli.settings import ArbSettings
from opensqt.market_maker.v1 import instrument_pb2, scanner_pb2
from services.common.errors import NotFoundError
from services.common.settings import EndpointSettings
from tests.support.scripted_service import ScriptedService, served

SERVICE = scanner_pb2.DESCRIPTOR.services_by_name["ScannerService"]
GONE = "its connector does not answer"


def scan_of(state: str, *missing: str) -> scanner_pb2.Scan:
    """Return a scan that ended so."""
    return scanner_pb2.Scan(
        state=scanner_pb2.ScanState.Value(f"SCAN_STATE_{state}"), missing_parts=missing
    )


async def examined(script: ScriptedService) -> list[Finding]:
    """Return what the doctor says of a scanner that answers so."""
    async with served(script) as address:
        settings = ArbSettings(
            engine=EndpointSettings(address="127.0.0.1:1"),
            scanner=EndpointSettings(address=address),
        )
        return [row for row in await examine(settings) if row.subject == "scanner"]


async def test_the_doctor_tells_of_a_first_scan_that_failed() -> None:
    """Nothing was published by it, and that is a fault, not a scanner that just started."""
    script = ScriptedService(SERVICE)
    failed = scan_of("FAILED", f"a: symbols: {GONE}", f"a: tickers: {GONE}")
    script.answers = {
        "ListOpportunities": scanner_pb2.ListOpportunitiesResponse(),
        "GetScanStatus": scanner_pb2.GetScanStatusResponse(scan=failed),
    }
    assert await examined(script) == [
        Finding("scanner", False, "last scan FAILED; nothing is published yet"),
        Finding("scanner", False, f"missing a: symbols, tickers: {GONE}"),
    ]


async def test_the_doctor_finds_no_fault_before_the_first_scan() -> None:
    """It says how to start one."""
    script = ScriptedService(SERVICE)
    script.answers = {
        "ListOpportunities": scanner_pb2.ListOpportunitiesResponse(),
        "GetScanStatus": NotFoundError("no scan was started yet", reason="SCAN_NOT_FOUND"),
    }
    [row] = await examined(script)
    assert row.ok
    assert "arb scan" in row.text


def test_a_failed_scan_is_not_hidden_by_the_one_before() -> None:
    """What stands is said to be older; a scan that someone cancelled is no fault."""
    before = scan_of("SUCCEEDED")
    before.opportunity_count = 7
    ok, text = standing_words(scan_of("FAILED"), before)
    assert not ok
    assert "last scan FAILED; what stands is of the scan at 1970-01-01" in text
    assert standing_words(scan_of("CANCELED"), before)[0]
    assert standing_words(scan_of("RUNNING"), before)[0]
    assert standing_words(scan_of("SUCCEEDED"), before)[0]
    assert not standing_words(scan_of("PARTIAL", "x"), before)[0]


def test_readings_that_failed_alike_share_a_line() -> None:
    """Hundreds of histories of a broken venue are one; words of another form stay as they are."""
    parts = [f"a: history of S{number}: {GONE}" for number in range(300)]
    parts += ["b: tickers: banned: until noon", "the scan took longer than 600 s"]
    first, second, third = missing_lines(parts)
    assert first.endswith(f"history of S4 and 295 more: {GONE}")
    assert second == "b: tickers: banned: until noon"
    assert third == "the scan took longer than 600 s"
    assert scan_summary(scan_of("PARTIAL", *parts)).count("\n  MISSING ") == 3


def test_a_symbol_asked_for_is_told_why_it_is_left_out() -> None:
    """Of its instruments alone, with the figure behind the reason."""
    scan = scan_of("SUCCEEDED")
    for symbol in ("AUSDT", "BUSDT"):
        row = scan.excluded_instruments.add(reason="ILLIQUID", detail="volume 5")
        row.instrument.exchange, row.instrument.symbol = "v", symbol
        row.instrument.kind = instrument_pb2.INSTRUMENT_KIND_PERPETUAL
    assert exclusion_lines(scan, ["BUSDT"]) == [
        "BUSDT on v:perpetual is left out: ILLIQUID (volume 5)"
    ]


def test_a_symbol_that_no_venue_lists_is_told() -> None:
    """One left out is told with its reason elsewhere; a scan in part may have missed it."""
    scan = scan_of("SUCCEEDED")
    scan.excluded_instruments.add(reason="ILLIQUID").instrument.symbol = "BUSDT"
    seen = "NOPE is no perpetual that this scan saw: look at its spelling"
    assert unlisted_lines(scan, ["BUSDT", "NOPE"]) == [seen]
    assert unlisted_lines(scan_of("PARTIAL", "x: symbols: banned"), ["NOPE"]) == [
        f"{seen}; what the scan lacks may hold it"
    ]


def test_a_count_that_stands_is_not_told_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of a scan that waits for a rate limit stays short."""
    now = [0.0]
    monkeypatch.setattr("cli.progress.time.monotonic", lambda: now[0])
    out = io.StringIO()
    with scan_progress(Console(file=out)) as follow:
        for second in range(1, 31):
            now[0] = float(second)
            follow(scanner_pb2.Scan(task_count=9, ended_task_count=1 + second // 25))
    assert len(out.getvalue().splitlines()) == 4
