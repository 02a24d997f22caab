"""Scanner and engine on two paper connectors, as processes; the real venue is in this one."""

from __future__ import annotations

import uuid
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from cli.clients import engine_client, scanner_client
from cli.demo.control import SimulatorControl
from opensqt.market_maker.v1 import scanner_pb2
from services.simulator.bootstrap import make_application
from tests.support.paper import PaperStack, RequestLog, paper_holdings
from tests.support.simulator import Control, simulator_settings
from tests.support.stack import CLOSED, OPEN, StackDriver, stack_options

SYMBOL = "ETHUSDT"
AWAY_SECONDS = 40.0
"""What an exit may take that found no market at first."""
DUST = Decimal("0.001")
"""Less than the perpetual's lot: what a fee in the coin may leave."""


async def test_a_trio_on_paper_enters_and_leaves_flat(tmp_path: Path) -> None:
    """Both legs fill in the paper venue's books and go again; the real venue sees only readers.

    The exit is asked for while the venue's data is away: no leg is closed at an old price, and both
    are once it is back.
    """
    log = RequestLog()
    market = {"symbol_count": 27, "seed": 7}
    options = stack_options(spot_balances={"USDT": "20000"}, futures_balances={"USDT": "20000"})
    # the market is the venue's, which runs here
    del options.tables["simulator"]
    async with make_application(simulator_settings(market=market), witness=log.note) as venue:
        stack = PaperStack(tmp_path, options, venue.url)
        try:
            await stack.start()
            async with (
                engine_client(stack.arb_settings().engine) as engine,
                scanner_client(stack.arb_settings().scanner) as scanner,
            ):
                driver = StackDriver(stack, engine)
                await scanner.StartScan(scanner_pb2.StartScanRequest(request_id=str(uuid.uuid4())))
                await driver.until(partial(_has_scanned, scanner), "a scan of the venue's market")
                await _enter_and_leave(driver, Control(venue.address))
        finally:
            await stack.stop()
        assert venue.simulation.arrivals == []
        assert venue.user_stream_count == 0
    assert log.requests
    assert log.forbidden() == []


async def _is_refused(driver: StackDriver) -> bool:
    return bool((await driver.control.get("mirror"))["refused"])


async def _has_scanned(scanner: Any) -> bool:
    scan = (await scanner.GetScanStatus(scanner_pb2.GetScanStatusRequest())).scan
    return bool(scan.state == scanner_pb2.SCAN_STATE_SUCCEEDED and scan.symbol_count > 0)


async def _enter_and_leave(driver: StackDriver, venue: Control) -> None:
    control: SimulatorControl = driver.control
    opened = await driver.enter(SYMBOL)
    assert opened.state == OPEN, opened
    held = await paper_holdings(control)
    assert abs(held["ETH"] + held["ETHUSDT perpetual"]) <= DUST
    trades = await control.get("trades")
    await venue.fault({"type": "http_status", "status": 503})

    async def is_away() -> bool:
        return bool((await control.get("mirror"))["away"])

    await driver.until(is_away, "the mirror misses its venue")
    closing = await driver.close(opened)
    await driver.until(partial(_is_refused, driver), "an exit was refused")
    assert await control.get("trades") == trades
    await venue.delete("faults")
    left = await driver.settled(closing, AWAY_SECONDS)
    assert left.state == CLOSED, left
    after = await paper_holdings(control)
    assert set(after) <= {"ETH"}
    assert after.get("ETH", Decimal(0)) <= DUST
