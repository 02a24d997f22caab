"""Reads while the venue is ill: what is refused, what may be tried again, what is quarantined."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from opensqt.market_maker.v1 import exchange_pb2
from services.simulator.app import Application
from tests.support.connector import RunningConnector, patient_part, running_connector
from tests.support.connector_streams import data_of
from tests.support.simulator import Control, running_simulator

E = exchange_pb2


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A small market."""
    async with running_simulator() as running:
        yield running


@pytest.fixture
async def perpetual(simulator: Application, tmp_path: Path) -> AsyncIterator[RunningConnector]:
    """A USD-M connector on it."""
    part = patient_part("binanceusdm", simulator.address, tmp_path, request_timeout_seconds=1.0)
    async with running_connector(part) as running:
        yield running


@pytest.fixture
def control(simulator: Application) -> Control:
    """The simulator's fault switches."""
    return Control(simulator.address)


async def failure_of(call: Any) -> tuple[grpc.StatusCode, str, float | None]:
    """Return code, reason and retry delay (seconds) of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    held: Any = caught.value
    status = rpc_status.from_call(held)
    assert status is not None
    reason, delay = "", None
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            delay = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return caught.value.code(), reason, delay


async def serve_body(control: Control, path: str, body: Any, times: int | None = None) -> None:
    """Let the venue answer a path with this body and status 200."""
    action = {"type": "http_status", "status": 200, "body": json.dumps(body)}
    match = {"path": path} if times is None else {"path": path, "times": times}
    await control.fault(action, **match)


async def test_a_429_is_resource_exhausted_with_the_venues_delay(
    perpetual: RunningConnector, control: Control
) -> None:
    """RetryInfo carries Retry-After, and until then the next read is refused without asking."""
    await control.fault({"type": "rate_limit", "retry_after": 20}, operation="get_tickers", times=1)
    code, reason, delay = await failure_of(perpetual.stub.GetTickers(E.GetTickersRequest()))
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "VENUE_RATE_LIMITED")
    assert delay == 20
    request = E.GetLatestPriceRequest(symbol="BTCUSDT")
    code, _, delay = await failure_of(perpetual.stub.GetLatestPrice(request, timeout=5))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert delay is not None
    assert 15 < delay <= 20
    fault = (await control.get("faults"))[0]
    assert fault["applied"] == 1


@pytest.mark.parametrize(
    "action",
    [
        {"type": "http_status", "status": 500, "body": "{}"},
        {"type": "http_status", "status": 502, "body": "<html>"},
        {"type": "drop_after"},
        {"type": "truncate_body", "bytes": 40, "declared": True},
        {"type": "truncate_body", "bytes": 40},
        {"type": "empty_body"},
        {"type": "delay", "seconds": 3},
    ],
    ids=lambda action: f"{action['type']}-{action.get('status', action.get('declared', ''))}",
)
async def test_a_read_that_breaks_is_unavailable_and_works_again(
    perpetual: RunningConnector, control: Control, action: dict[str, Any]
) -> None:
    """Never an empty answer, never INTERNAL; the next read succeeds."""
    await control.fault(action, path="/fapi/v1/premiumIndex")
    code, reason, _ = await failure_of(perpetual.stub.GetFundingRates(E.GetFundingRatesRequest()))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert reason in {"VENUE_UNREACHABLE", "VENUE_ANSWER_BROKEN"}
    await control.delete("faults")
    reply = await perpetual.stub.GetFundingRates(E.GetFundingRatesRequest())
    assert len(reply.rates) > 5


GOOD_RATE = {
    "symbol": "ETHUSDT",
    "markPrice": "3000",
    "indexPrice": "3000",
    "lastFundingRate": "0.0002",
    "nextFundingTime": 1_800_000_000_000,
    "time": 1_790_000_000_000,
}


async def test_a_malformed_row_costs_itself_and_is_counted(
    perpetual: RunningConnector, control: Control
) -> None:
    """Its neighbours are delivered; NaN, null and a bare text are no rates."""
    bad = [
        {**GOOD_RATE, "symbol": "BTCUSDT", "lastFundingRate": "NaN"},
        {**GOOD_RATE, "symbol": "SOLUSDT", "time": "soon"},
        {**GOOD_RATE, "symbol": None},
        "row",
    ]
    await serve_body(control, "/fapi/v1/premiumIndex", [*bad, GOOD_RATE])
    reply = await perpetual.stub.GetFundingRates(E.GetFundingRatesRequest())
    assert [(rate.symbol, rate.rate.value) for rate in reply.rates] == [("ETHUSDT", "0.0002")]
    data = data_of(perpetual)
    assert data.quarantine.counts["premium_index"] == 4


async def test_an_answer_of_malformed_rows_alone_is_no_empty_list(
    perpetual: RunningConnector, control: Control
) -> None:
    """VENUE_ANSWER_BROKEN, not "there are no perpetuals"."""
    await serve_body(control, "/fapi/v1/premiumIndex", [{"symbol": "BTCUSDT", "time": "x"}])
    code, reason, _ = await failure_of(perpetual.stub.GetFundingRates(E.GetFundingRatesRequest()))
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "VENUE_ANSWER_BROKEN")


async def test_intervals_are_unknown_while_funding_info_cannot_be_read(
    perpetual: RunningConnector, control: Control
) -> None:
    """Not 8 h by guess; known as soon as it answers."""
    await control.fault(
        {"type": "http_status", "status": 503, "body": ""}, path="/fapi/v1/fundingInfo"
    )
    reply = await perpetual.stub.GetFundingRates(E.GetFundingRatesRequest())
    assert len(reply.rates) > 5
    assert not any(rate.HasField("interval") for rate in reply.rates)
    await control.delete("faults")
    reply = await perpetual.stub.GetFundingRates(E.GetFundingRatesRequest())
    assert all(rate.HasField("interval") for rate in reply.rates)


async def test_a_position_that_cannot_be_read_is_never_a_flat_account(
    perpetual: RunningConnector, control: Control
) -> None:
    """GetPositions fails rather than telling that nothing is held."""
    good = {"symbol": "ETHUSDT", "positionAmt": "1"}
    bad = {"symbol": "BTCUSDT", "positionAmt": "much"}
    await serve_body(control, "/fapi/v3/positionRisk", [good, bad])
    code, reason, _ = await failure_of(perpetual.stub.GetPositions(E.GetPositionsRequest()))
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "VENUE_ANSWER_BROKEN")


async def test_a_refused_key_is_told_as_such(perpetual: RunningConnector, control: Control) -> None:
    """FAILED_PRECONDITION with VENUE_KEY_REFUSED: trying again does not help."""
    await control.fault(
        {"type": "reject", "code": -2015, "msg": "Invalid API-key.", "status": 401},
        operation="get_account",
    )
    code, reason, _ = await failure_of(perpetual.stub.GetAccount(E.GetAccountRequest()))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VENUE_KEY_REFUSED")


async def test_a_part_of_the_configuration_that_cannot_be_read_is_a_problem(
    perpetual: RunningConnector, control: Control
) -> None:
    """The rest is told, and the key's permissions are unknown rather than denied."""
    await control.fault(
        {"type": "http_status", "status": 500, "body": ""}, operation="get_key_permissions"
    )
    told = await perpetual.stub.GetAccountConfiguration(E.GetAccountConfigurationRequest())
    assert not told.HasField("key_can_trade")
    assert any("permissions" in problem for problem in told.problems)
    assert told.HasField("clock_skew")
