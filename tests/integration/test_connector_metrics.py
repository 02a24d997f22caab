"""What the connector's exposition tells of streams and of rows that could not be read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from services.common.metrics import ServiceMetrics
from services.connector.bootstrap import open_servicer
from services.connector.connector_metrics import ConnectorMetrics
from services.connector.data_part import DataPart
from services.simulator.app import Application
from tests.support.connector import eventually, patient_part
from tests.support.simulator import Control, running_simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A small market."""
    async with running_simulator() as running:
        yield running


@pytest.fixture
def metrics() -> ServiceMetrics:
    """The figures of one process."""
    return ServiceMetrics("connector")


@pytest.fixture
async def data(
    simulator: Application, metrics: ServiceMetrics, tmp_path: Path
) -> AsyncIterator[DataPart]:
    """The reading half of a connector whose readers may be one row behind."""
    part = patient_part("binanceusdm", simulator.address, tmp_path, subscriber_queue_limit=1)
    async with open_servicer(part, ConnectorMetrics(metrics)) as servicer:
        yield servicer._data


def value(metrics: ServiceMetrics, name: str, **labels: str) -> float:
    """Return one sample, zero when it is not there."""
    return metrics.registry.get_sample_value(f"opensqt_connector_{name}_total", labels) or 0.0


async def test_the_reader_that_lags_more_than_the_settings_allow_is_counted(
    data: DataPart, metrics: ServiceMetrics
) -> None:
    """Two symbols wait for a reader who may have one waiting: ended, and counted by its stream."""

    async def counted() -> bool:
        return value(metrics, "stream_events", stream="prices", event="slow_subscriber") == 1

    async with data.market_streams.subscribe_prices(["BTCUSDT", "ETHUSDT"]):
        await eventually(counted)


async def test_a_cut_stream_counts_a_drop_and_its_resume(
    simulator: Application, data: DataPart, metrics: ServiceMetrics
) -> None:
    """Both events carry the name of the stream."""

    async def counted() -> bool:
        events = ("drop", "resume")
        seen = [value(metrics, "stream_events", stream="funding", event=one) for one in events]
        return seen == [1, 1]

    async with data.market_streams.subscribe_funding("BTCUSDT") as rows:
        await anext(rows)
        await Control(simulator.address).post("streams/cut")
        await eventually(counted)


async def test_a_row_that_cannot_be_read_is_counted_by_its_kind(
    simulator: Application, data: DataPart, metrics: ServiceMetrics
) -> None:
    """Two broken rows beside a good one count two, and a symbol is no label."""
    good = {"symbol": "ETHUSDT", "lastFundingRate": "0.0002", "nextFundingTime": 0, "time": 1}
    bad: list[Any] = [{**good, "lastFundingRate": "NaN"}, "row"]
    action = {"type": "http_status", "status": 200, "body": json.dumps([*bad, good])}
    await Control(simulator.address).fault(action, path="/fapi/v1/premiumIndex")
    rates = await data.funding.rates()
    assert [rate.symbol for rate in rates] == ["ETHUSDT"]
    assert value(metrics, "bad_rows", kind="premium_index") == 2
    assert b"USDT" not in generate_latest(metrics.registry)


async def test_the_silence_of_each_kind_of_stream_is_shown(
    data: DataPart, metrics: ServiceMetrics
) -> None:
    """Labels are the five kinds, whatever is subscribed; none is silent before it runs."""
    name = "opensqt_connector_stream_silence_seconds"
    kinds = ("prices", "funding", "candles", "account", "positions")
    for kind in kinds:
        assert metrics.registry.get_sample_value(name, {"stream": kind}) == 0.0
    async with data.account_streams.subscribe_positions() as rows:
        await anext(rows)
        seconds = metrics.registry.get_sample_value(name, {"stream": "positions"})
    assert seconds is not None
    assert seconds > 0.0
