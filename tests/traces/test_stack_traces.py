"""One entry is one trace, through engine, connectors and scanner as real processes."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from cli.clients import scanner_client
from cli.demo.stack import PERPETUAL, SPOT
from opensqt.market_maker.v1 import engine_pb2, opportunity_pb2, scanner_pb2
from services.common.codec import decimal_to_proto
from services.common.trace_context import context_of_scan
from tests.support.otlp_receiver import OtlpReceiver, SeenSpan, running_receiver
from tests.support.stack import CLOSED, OPEN, StackDriver, running_stack, stack_options

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Five processes are started first, on cores that other tests share.
    pytest.mark.timeout(120),
]

LOST = {"type": "drop_after"}
"""The venue acts, and its reply is lost."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[OtlpReceiver]:
    """Run a receiver for this module."""
    async with running_receiver() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, receiver: OtlpReceiver
) -> AsyncIterator[StackDriver]:
    """Run the whole system, each service with `[tracing]`."""
    options = stack_options()
    for name in ("engine", "scanner", "connector"):
        options.tables.setdefault(name, {})["tracing"] = {"address": receiver.address}
    folder: Path = tmp_path_factory.mktemp("stack")
    async with running_stack(folder, options) as driver:
        yield driver


async def test_an_entry_is_one_trace_of_decision_checks_lead_and_hedge(
    stack: StackDriver, receiver: OtlpReceiver
) -> None:
    """Each order hangs on the entry, and on each order what its connector did for it."""
    position = await stack.enter("BTCUSDT")
    assert position.state == OPEN
    await _until_told(receiver, position, "entry")
    (entry,) = receiver.named("entry", position_id=position.position_id)
    assert (entry.service, entry.parent_id, entry.problem) == ("opensqt-engine", "", "")
    assert (entry.facts["symbol"], entry.facts["state"]) == ("BTCUSDT", "open")
    below = {span.short_name: span for span in _children(receiver, entry)}
    assert set(below) == {"decision", "checks", "baselines", "journal", "lead", "hedge"}
    lead, hedge = below["lead"], below["hedge"]
    assert (lead.facts["exchange"], hedge.facts["exchange"]) == (SPOT, PERPETUAL)
    assert entry.start <= below["decision"].start <= below["checks"].start
    assert below["journal"].end <= lead.start < hedge.start <= entry.end
    for order in (lead, hedge):
        _assert_sent_by_its_connector(receiver, order)
    reads = {span.short_name for span in _children(receiver, below["checks"])}
    assert "ExchangeService/GetOrderBook" in reads


async def test_an_exit_is_a_trace_of_its_own_linked_to_its_entry(
    stack: StackDriver, receiver: OtlpReceiver
) -> None:
    """Both of its orders hang on it."""
    opened = await stack.enter("ETHUSDT")
    closed = await stack.leave(opened)
    assert closed.state == CLOSED
    await _until_told(receiver, closed, "exit")
    (entry,) = receiver.named("entry", position_id=opened.position_id)
    (exit_,) = receiver.named("exit", position_id=opened.position_id)
    assert exit_.trace_id != entry.trace_id
    assert exit_.links == ((entry.trace_id, entry.span_id),)
    orders = _children(receiver, exit_)
    assert [span.short_name for span in orders] == ["exit_order", "exit_order"]
    assert {span.facts["exchange"] for span in orders} == {SPOT, PERPETUAL}
    for order in orders:
        _assert_sent_by_its_connector(receiver, order)
        assert exit_.start <= order.start


async def test_a_decision_links_to_the_scan_that_found_its_opportunity(
    stack: StackDriver, receiver: OtlpReceiver
) -> None:
    """The scan names what it published; the scanner's answer stands in the entry's trace."""
    found = await _scanned(stack)
    request = engine_pb2.OpenHedgedPositionRequest(
        request_id=str(uuid.uuid4()),
        opportunity_id=found.opportunity_id,
        notional=decimal_to_proto(Decimal(10_000_000)),
    )
    # The checks refuse the size, when the decision has been made.
    with pytest.raises(grpc.aio.AioRpcError, match="refused"):
        await stack.engine.OpenHedgedPosition(request)
    scan = context_of_scan(found.scan_id)
    name = (f"{scan.trace_id:032x}", f"{scan.span_id:016x}")
    await receiver.until(
        lambda: (
            receiver.named("scan", scan_id=found.scan_id)
            and receiver.named("entry", opportunity_id=found.opportunity_id)
        ),
        "scan and entry are told of",
    )
    (publication,) = receiver.named("publication", scan_id=found.scan_id)
    assert found.opportunity_id in publication.facts["opportunity_ids"]
    assert (publication.trace_id, publication.parent_id) == name
    (decision,) = [span for span in receiver.named("decision") if name in span.links]
    (entry,) = [span for span in receiver.named("entry") if span.span_id == decision.parent_id]
    assert entry.problem == "ENTRY_CHECKS_FAILED"
    assert entry.facts["opportunity_id"] == found.opportunity_id
    answers = [s.service for s in _children(receiver, decision)]
    assert "opensqt-scanner" in answers


async def test_lines_about_an_order_name_it_and_its_position(stack: StackDriver) -> None:
    """In the connector too, which is told of neither but by the order's id."""
    await stack.fault("lost", LOST, symbol="LINKUSDT")
    position = await stack.enter("LINKUSDT")
    lines = [
        line
        for name in ("engine", f"connector-{SPOT}", f"connector-{PERPETUAL}")
        for line in _lines(stack.stack.directory / f"{name}.log")
        if "client_order_id" in line
    ]
    assert [line for line in lines if not line.get("position_id")] == []
    own = [line for line in lines if line["position_id"] == position.position_id]
    assert "order_outcome_unknown" in {line["event"] for line in own}
    taken = [
        line
        for line in _lines(stack.stack.directory / "engine.log")
        if str(line.get("method", "")).endswith("/OpenHedgedPosition")
    ]
    assert taken[-1]["position_id"] == position.position_id


async def test_a_receiver_that_is_away_harms_no_trade(
    stack: StackDriver, receiver: OtlpReceiver
) -> None:
    """In and out as before, one line in each service, and the spans arrive when it is back."""
    await receiver.stop()
    opened = await stack.enter("SOLUSDT")
    closed = await stack.leave(opened)
    assert (opened.state, closed.state) == (OPEN, CLOSED)
    names = ("engine", f"connector-{SPOT}", f"connector-{PERPETUAL}")
    logs = [stack.stack.directory / f"{name}.log" for name in names]

    async def noticed() -> bool:
        return all("traces_not_sent" in path.read_text() for path in logs)

    await stack.until(noticed, "each service has noticed")
    again = await stack.leave(await stack.enter("SOLUSDT"))
    assert again.state == CLOSED
    await receiver.start()
    for position in (closed, again):
        await _until_told(receiver, position, "exit")
    for path in logs:
        events = [line["event"] for line in _lines(path)]
        assert events.count("traces_not_sent") == events.count("traces_sent_again") == 1


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def _until_told(
    receiver: OtlpReceiver, position: engine_pb2.HedgedPosition, name: str
) -> None:
    """Wait for a span of a position, for its orders and for the calls that brought those."""
    wanted = {order.client_order_id for order in position.orders}

    def told() -> bool:
        known = {span.span_id for span in receiver.spans}
        orders = {
            span.facts["client_order_id"]
            for span in receiver.named("order")
            if span.parent_id in known
        }
        return wanted <= orders and bool(receiver.named(name, position_id=position.position_id))

    await receiver.until(told, f"{name} of {position.position_id}")


def _children(receiver: OtlpReceiver, parent: SeenSpan) -> list[SeenSpan]:
    found = [span for span in receiver.spans if span.parent_id == parent.span_id]
    assert {span.trace_id for span in found} <= {parent.trace_id}
    return sorted(found, key=lambda span: span.start)


def _assert_sent_by_its_connector(receiver: OtlpReceiver, order: SeenSpan) -> None:
    (call,) = _children(receiver, order)
    (work,) = _children(receiver, call)
    assert (call.service, call.short_name) == ("opensqt-connector", "ExchangeService/EnterOrders")
    assert work.short_name == "order"
    assert work.facts["client_order_id"] == order.facts["client_order_id"]
    row, sent = _children(receiver, work)
    assert (row.short_name, sent.short_name) == ("ledger_write", "venue_call")
    assert row.end <= sent.start
    assert sent.facts["exchange"] == order.facts["exchange"]


async def _scanned(stack: StackDriver) -> opportunity_pb2.Opportunity:
    endpoint = stack.stack.arb_settings().scanner
    assert endpoint is not None
    async with scanner_client(endpoint) as scanner:
        await scanner.StartScan(scanner_pb2.StartScanRequest(request_id=str(uuid.uuid4())))

        async def ended() -> bool:
            status = await scanner.GetScanStatus(scanner_pb2.GetScanStatusRequest())
            return status.scan.HasField("end_time")

        await stack.until(ended, "the scan ended", 60)
        page = await scanner.ListOpportunities(scanner_pb2.ListOpportunitiesRequest())
    return page.opportunities[0]
