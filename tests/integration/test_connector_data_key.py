"""A key that may withdraw: the connector does not start with it unless told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from opensqt.market_maker.v1 import exchange_pb2
from services.common.errors import FatalError
from services.simulator.app import Application
from tests.support.connector import (
    connector_process,
    eventually,
    patient_part,
    running_connector,
)
from tests.support.simulator import Control, running_simulator, simulator_settings


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A market whose only account has a key that may withdraw."""
    settings = simulator_settings()
    account = settings.accounts[0].model_copy(update={"can_withdraw": True})
    changed = settings.model_copy(update={"accounts": (account,)})
    async with running_simulator(changed) as running:
        yield running


async def test_the_process_ends_with_an_exit_code_and_says_what_to_do(
    simulator: Application, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and a line that names the setting."""
    part = patient_part("binanceusdm", simulator.address, tmp_path)
    with pytest.raises(AssertionError, match="ended before it was ready"):
        async with connector_process(part, tmp_path):
            raise RuntimeError("the connector started")
    told = "".join(capfd.readouterr())
    assert "allow_withdrawal_key" in told
    assert "may withdraw" in told


async def test_it_starts_when_told_to_and_the_doctor_still_sees_it(
    simulator: Application, tmp_path: Path
) -> None:
    """The permission stays among the problems."""
    part = patient_part("binance", simulator.address, tmp_path, allow_withdrawal_key=True)
    async with running_connector(part) as running:
        reply = await running.stub.GetAccountConfiguration(
            exchange_pb2.GetAccountConfigurationRequest()
        )
    assert reply.key_can_withdraw
    assert any("may withdraw" in problem for problem in reply.problems)


async def test_a_venue_that_does_not_tell_stops_no_start(
    simulator: Application, tmp_path: Path
) -> None:
    """Its wallet pages may be down while it trades."""
    control = Control(simulator.address)
    fault: dict[str, Any] = {"type": "http_status", "status": 503, "body": ""}
    await control.fault(fault, path="/sapi/v1/account/apiRestrictions")
    part = patient_part("binance", simulator.address, tmp_path)
    async with asyncio.timeout(60), running_connector(part) as running:
        assert (await running.stub.GetName(exchange_pb2.GetNameRequest())).name == "binance"


@pytest.mark.parametrize("code", ["binance", "okx-spot", "okx-swap", "bybit-linear"])
async def test_the_refusal_is_a_fatal_error_with_its_reason(
    code: str, simulator: Application, tmp_path: Path
) -> None:
    """On each family, by its own words for the permission."""
    part = patient_part(code, simulator.address, tmp_path)
    with pytest.raises(FatalError) as caught:
        async with running_connector(part):
            raise RuntimeError("the connector started")
    assert caught.value.reason == "WITHDRAWAL_KEY"


@pytest.mark.parametrize("code", ["binance", "okx-spot", "bybit-linear"])
async def test_a_refused_key_is_why_the_order_stream_is_down(
    code: str, simulator: Application, tmp_path: Path
) -> None:
    """Not a broken answer, in whatever way the family's client fails of it."""
    part = patient_part(code, simulator.address, tmp_path, api_key=SecretStr("not-this-one"))
    log = tmp_path / "log"

    async def is_told() -> bool:
        lines = map(json.loads, log.read_text(encoding="utf-8").splitlines())
        reasons = [line["reason"] for line in lines if line["event"] == "order_stream_down"]
        assert set(reasons) <= {"VENUE_KEY_REFUSED"}
        return bool(reasons)

    async with connector_process(part, tmp_path, output=log):
        await eventually(is_told)


@pytest.mark.parametrize("code", ["binance", "binanceusdm", "okx-spot", "bybit-linear"])
async def test_a_connector_without_a_key_says_that_none_is_set(
    code: str, simulator: Application, tmp_path: Path
) -> None:
    """The venue was not asked, so nothing is said of its answer."""
    none = {"api_key": None, "api_secret": None, "api_passphrase": None}
    part = patient_part(code, simulator.address, tmp_path, **none)
    async with running_connector(part) as running:
        request = exchange_pb2.GetAccountConfigurationRequest()
        problems = (await running.stub.GetAccountConfiguration(request)).problems
    assert problems
    assert all("KEY_NOT_SET" in problem for problem in problems)
