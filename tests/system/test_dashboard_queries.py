"""Every question of every dashboard, asked of a Prometheus that scraped the running system."""

from __future__ import annotations

import json
import math
import re
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from cli.clients import connector_client, scanner_client
from cli.demo.stack import PERPETUAL, SPOT
from cli.scanning import run_scan
from opensqt.market_maker.v1 import engine_pb2, exchange_pb2, trading_state_pb2
from services.common.codec import decimal_from_proto
from tests.support.dashboard_questions import Question, questions
from tests.support.prometheus_server import (
    PROGRAM,
    Answer,
    PrometheusServer,
    Target,
    prometheus_server,
)
from tests.support.stack import FLAT, OPEN, SHORT, StackDriver, running_stack, stack_options
from tests.support.stack_cases import NO_MARGIN

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(PROGRAM is None, reason="needs prometheus (Debian package prometheus)"),
    pytest.mark.timeout(300),
]

RULES = sorted((Path(__file__).resolve().parents[2] / "deploy/prometheus/rules").glob("*.yml"))
NAMES = {"__rate_interval": "10s", "window": "5m", "venue": ".*", "symbol": ".*"}
"""Grafana's variables, as they are when a dashboard is opened, for a scrape a second."""
METRIC = re.compile(r"\bopensqt_\w+")
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")
ELSEWHERE = frozenset({"opensqt_scanner_queue_tasks_total"})
"""There with a shared queue alone."""
FAST_SPEED = 14_400
TOLD_SECONDS = 20.0
LIMITS = {
    "limits": {"max_total_notional": "5000", "max_open_positions": 10},
    "risk": {"max_daily_loss": "500", "max_daily_fees": "500"},
    "policy": {"funding_read_interval": 1},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One question and what it brought."""

    question: Question
    answer: Answer

    @property
    def is_empty(self) -> bool:
        """Whether no series came with a value."""
        return self.answer.series == 0


@pytest.fixture(name="stack")
async def _stack(tmp_path: Path) -> AsyncIterator[StackDriver]:
    """Run the system with limits to use up."""
    plain = stack_options().tables
    tables = {**plain, "engine": {**plain["engine"], **LIMITS}}
    async with running_stack(tmp_path / "stack", stack_options(tables=tables)) as driver:
        yield driver


@asynccontextmanager
async def scraping(stack: StackDriver, folder: Path) -> AsyncIterator[PrometheusServer]:
    """Run a Prometheus with the targets and labels of `deploy/prometheus`."""
    targets = []
    for name, service in stack.stack.services.items():
        ready: dict[str, Any] = json.loads(service.ready_file.read_text(encoding="utf-8"))
        job, _, exchange = name.partition("-")
        if "metrics_address" in ready:
            labels = {"job": job} | ({"exchange": exchange} if exchange else {})
            targets.append(Target(ready["metrics_address"], labels))
    async with prometheus_server(folder, targets, RULES) as server:
        yield server


async def use(stack: StackDriver) -> None:
    """Scan, enter with faults and without, earn funding, leave, halt."""
    async with scanner_client(stack.stack.arb_settings().scanner) as scanner:
        await run_scan(scanner, str(uuid.uuid4()), lambda _: None)
    await stack.fault("partial", {"type": "partial", "ratio": "0.6"}, venue=SPOT)
    held = await stack.enter("BTCUSDT")
    assert held.state == OPEN
    await stack.fault("lost", {"type": "drop_after"}, venue=PERPETUAL)
    left = await stack.enter("ETHUSDT")
    await stack.fault("refused", NO_MARGIN, venue=PERPETUAL, times=9)
    assert (await stack.enter("LINKUSDT")).state == FLAT
    await stack.control.delete("faults")
    with pytest.raises(grpc.aio.AioRpcError):
        await stack.open("SOLUSDT", notional=Decimal(4500))
    await stumble(stack)
    await stack.control.post("clock", {"speed": FAST_SPEED})

    async def is_paid() -> bool:
        return decimal_from_proto(await stack.get(held.position_id), "funding_received") is not None

    await stack.until(is_paid, "funding was booked", seconds=60)
    await stack.control.post("clock", {"speed": 1})
    await stack.leave(left)
    reason = {"request_id": str(uuid.uuid4()), "reason": "shown on the dashboards"}
    await stack.engine.Halt(engine_pb2.HaltRequest(**reason))


async def stumble(stack: StackDriver) -> None:
    """Cut a stream of orders, be told to slow down, refuse an order at the last hop."""
    await stack.fault("cut", {"type": "stream_cut"}, operation="order_event", venue=SPOT)
    await stack.enter("XRPUSDT")
    await stack.until_struck("cut")
    slow = {"type": "rate_limit", "retry_after": 2}
    await stack.fault("slow", slow, operation=None, path="/fapi/v1/depth")
    venues = {venue.name: venue for venue in stack.stack.arb_settings().connectors}
    async with connector_client(venues[PERPETUAL]) as connector:
        book = exchange_pb2.GetOrderBookRequest(symbol="ADAUSDT")
        with pytest.raises(grpc.aio.AioRpcError):
            await connector.GetOrderBook(book)
        halt = trading_state_pb2.HaltTradingRequest(reason="shown", changed_by="a test")
        await connector.HaltTrading(halt)
        await stack.enter("ADAUSDT", lead=SHORT)
        resume = trading_state_pb2.ResumeTradingRequest(reason="shown", changed_by="a test")
        await connector.ResumeTrading(resume)


async def unknown_names(server: PrometheusServer, wanted: list[Question]) -> set[str]:
    """Return metrics that are asked for and that nothing tells: `or vector(0)` would hide them."""
    told = await server.ask("metadata")
    names = {name for one in wanted for name in METRIC.findall(one.expr)}
    return {
        name
        for name in names
        if name not in told and SUFFIX.sub("", name) not in told and name not in ELSEWHERE
    }


async def marked_positions(server: PrometheusServer, start: float) -> set[str]:
    """Return the positions that exemplars of the unhedged time name."""
    query = "opensqt_engine_naked_leg_seconds_bucket"
    span = {"start": str(start), "end": str(time.time())}
    told = await server.ask("query_exemplars", query=query, **span)
    return {one["labels"]["position_id"] for series in told for one in series["exemplars"]}


async def asked(server: PrometheusServer, question: Question, start: float) -> Answer:
    """Ask one question over the time that the system ran."""
    if question.label:
        matching = {"match[]": question.expr}
        values = await server.ask(f"label/{question.label}/values", **matching)
        return Answer(len(values), math.nan)
    if question.instant:
        return await server.instant(question.expr)
    return await server.range(question.expr, start, time.time(), 1)


def table(rows: list[Row]) -> str:
    """Return what was asked and what came, one line a question; a star marks zeros alone."""
    lines = ["", f"{'dashboard':<11} {'panel':<34} {'series':>6}  query"]
    for row in rows:
        zeros = "*" if row.answer.largest == 0 else " "
        query = " ".join(row.question.expr.split())
        place = f"{row.question.dashboard:<11} {row.question.panel:<34}"
        lines.append(f"{place} {row.answer.series:>6}{zeros} {query}")
    zeros_count = sum(1 for row in rows if row.answer.largest == 0)
    lines.append(f"{len(rows)} queries, {zeros_count} of them with zeros alone (*)")
    return "\n".join(lines) + "\n"


async def test_every_question_of_every_dashboard_brings_series(
    stack: StackDriver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No panel, mark or variable of a system in use is empty."""
    start = time.time()
    async with scraping(stack, tmp_path / "prometheus") as server:
        await use(stack)
        wanted = list(questions(NAMES))
        rows: list[Row] = []
        deadline = time.monotonic() + TOLD_SECONDS
        # The last events are in a scrape a second later, in a rule's answer some seconds.
        while not rows or (any(row.is_empty for row in rows) and time.monotonic() < deadline):
            rows = [Row(one, await asked(server, one, start)) for one in wanted]
        unknown = await unknown_names(server, wanted)
        marked = await marked_positions(server, start)
        listing = await stack.engine.ListHedgedPositions(engine_pb2.ListHedgedPositionsRequest())
    with capsys.disabled():
        sys.stdout.write(table(rows))
    assert unknown == set()
    # A bucket keeps its latest one alone: which of them a scrape finds is chance.
    assert marked
    assert marked <= {position.position_id for position in listing.positions}
    assert [row.question for row in rows if row.is_empty] == []
