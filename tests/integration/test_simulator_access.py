"""Who may call the simulator: signatures, timestamps, limits, the control token, the process."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import ccxt
import pytest

from services.common.settings_loader import SettingsProblemsError, read_settings
from services.simulator.app import Application
from services.simulator.settings import SimulatorSettings
from tests.support.simulator import (
    API_KEY,
    API_SECRET,
    Control,
    ccxt_exchange,
    running_simulator,
    simulator_process,
    simulator_settings,
)


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A simulator of its own for each test."""
    async with running_simulator() as application:
        yield application


async def send(
    simulator: Application,
    parameters: dict[str, object],
    *,
    secret: str = API_SECRET,
    key: str | None = API_KEY,
    method: str = "GET",
    path: str = "/api/v3/account",
    tamper: str = "",
) -> tuple[int, int]:
    """Send a signed request by hand; return the HTTP status and the venue's code (0 for none)."""
    query = urlencode({"timestamp": int(time.time() * 1000), **parameters})
    signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    url = f"{simulator.url}{path}?{query}{tamper}&signature={signature}"
    headers = {} if key is None else {"X-MBX-APIKEY": key}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url) as response,
    ):
        body = await response.json(content_type=None)
    return response.status, body.get("code", 0) if isinstance(body, dict) else 0


async def test_a_right_signature_passes(simulator: Application) -> None:
    """The account answers."""
    assert await send(simulator, {}) == (200, 0)


async def test_what_is_not_signed_right_is_refused(simulator: Application) -> None:
    """Wrong secret, changed parameters, no key, unknown key: each with its own code."""
    assert await send(simulator, {}, secret="wrong") == (400, -1022)
    assert await send(simulator, {}, tamper="&omitZeroBalances=true") == (400, -1022)
    assert await send(simulator, {}, key=None) == (401, -2014)
    assert await send(simulator, {}, key="nobody") == (401, -2015)
    assert await send(simulator, {}, path="/fapi/v3/account", secret="wrong") == (400, -1022)
    assert await send(simulator, {}, path="/sapi/v1/margin/account", secret="x") == (400, -1022)


async def test_stale_and_early_timestamps_are_refused(simulator: Application) -> None:
    """recvWindow counts on the wire clock, whatever the market clock says."""
    await Control(simulator.address).post("clock", {"advance_seconds": 86_400})
    now = int(time.time() * 1000)
    assert await send(simulator, {"timestamp": now - 6000}) == (400, -1021)
    assert await send(simulator, {"timestamp": now - 6000, "recvWindow": 60_000}) == (200, 0)
    assert await send(simulator, {"timestamp": now + 5000}) == (400, -1021)
    assert await send(simulator, {"recvWindow": 60_001}) == (400, -1131)


async def test_a_request_held_up_longer_than_its_window_is_refused(simulator: Application) -> None:
    """The time check comes when the venue acts, so a late request never becomes an order."""
    control = Control(simulator.address)
    await control.fault({"type": "delay", "seconds": 0.4}, operation="place_order")
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    answer = await send(
        simulator, {**order, "recvWindow": 200}, method="POST", path="/api/v3/order"
    )
    assert answer == (400, -1021)
    assert await control.get("orders") == []


async def test_ccxt_meets_the_weight_limit() -> None:
    """Used weight is in the headers, 429 comes with Retry-After, going on brings 418."""
    settings = simulator_settings(rules={"limit_scale": 0.01})
    async with (
        running_simulator(settings) as simulator,
        ccxt_exchange("binanceusdm", simulator.address) as exchange,
    ):
        for _ in range(2):
            await exchange.fapipublic_get_premiumindex()
        assert exchange.last_response_headers["X-MBX-USED-WEIGHT-1M"] == "20"
        with pytest.raises(ccxt.DDoSProtection, match="-1003"):
            await exchange.fapipublic_get_premiumindex()
        assert 0 < int(exchange.last_response_headers["Retry-After"]) <= 61
        messages = []
        for _ in range(25):
            with pytest.raises(ccxt.DDoSProtection) as caught:
                await exchange.fapipublic_get_premiumindex()
            messages.append(str(caught.value))
        assert "banned until" in messages[-1]


async def test_funding_history_has_its_own_limit() -> None:
    """fundingRate and fundingInfo share a budget that the weight header does not show."""
    settings = simulator_settings(rules={"limit_scale": 0.02})
    async with (
        running_simulator(settings) as simulator,
        ccxt_exchange("binanceusdm", simulator.address) as exchange,
    ):
        for _ in range(5):
            await exchange.fapipublic_get_fundingrate({"symbol": "BTCUSDT"})
            await exchange.fapipublic_get_fundinginfo()
        with pytest.raises(ccxt.DDoSProtection):
            await exchange.fapipublic_get_fundingrate({"symbol": "BTCUSDT"})
        assert "X-MBX-USED-WEIGHT-1M" not in exchange.last_response_headers


async def test_the_control_token_is_asked_for(tmp_path: Path) -> None:
    """Without or with another token the control endpoint answers 401 and does nothing."""
    file = tmp_path / "token"
    file.write_text("a-control-token-of-length")
    settings = simulator_settings(control_token_file=file)
    async with running_simulator(settings) as simulator:
        for token in (None, "another-token"):
            with pytest.raises(AssertionError, match="401"):
                await Control(simulator.address, token).get("orders")
        assert await Control(simulator.address, "a-control-token-of-length").get("orders") == []


async def test_bad_control_requests_are_told_what_is_wrong(simulator: Application) -> None:
    """A misspelt rule, a clock that goes back, a position that is not there: 400 with words."""
    control = Control(simulator.address)
    for name, body, words in (
        ("faults", [{"id": "x", "action": {"type": "explode"}}], "explode"),
        ("clock", {"advance_seconds": -1}, "greater than or equal"),
        ("liquidate", {"account": "trader", "symbol": "BTCUSDT"}, "no BOTH position"),
        ("liquidate", {"account": "nobody", "symbol": "BTCUSDT"}, "nobody"),
        ("accounts", {"name": "new"}, "needs api_key"),
    ):
        with pytest.raises(AssertionError, match=f"400.*{words}"):
            await control.post(name, body)


async def test_accounts_can_be_opened_and_filled(simulator: Application) -> None:
    """A new key trades its own wallets; the first account's coins stay as they were."""
    control = Control(simulator.address)
    before = (await control.get("balances"))[0]
    keys = {"api_key": "second-key", "api_secret": "second-secret"}
    await control.post("accounts", {"name": "second", **keys, "spot": {"USDT": "1000"}})
    async with ccxt_exchange(
        "binance", simulator.address, keys=("second-key", "second-secret")
    ) as exchange:
        balance = await exchange.fetch_balance()
    assert balance["USDT"]["free"] == 1000
    assert (await control.get("balances"))[0] == before


async def test_an_unknown_path_is_not_an_api_answer(simulator: Application) -> None:
    """404 without JSON, as the venue's front answers."""
    async with aiohttp.ClientSession() as session, session.get(f"{simulator.url}/api/v9/x") as got:
        assert (got.status, "<html>" in await got.text()) == (404, True)


async def test_the_process_says_where_it_listens_and_goes_away(tmp_path: Path) -> None:
    """The ready file names the address while it serves; SIGTERM ends it with code 0."""
    async with simulator_process(tmp_path, ["[market]", "symbol_count = 12"]) as started:
        async with ccxt_exchange("binance", started.address) as exchange:
            assert (await exchange.fetch_balance())["USDT"]["free"] == 100_000
        document = json.loads((tmp_path / "simulator.ready").read_text())
        assert document["service"] == "simulator"
        assert document["pid"] == started.process.pid
        started.process.terminate()
        assert await asyncio.wait_for(started.process.wait(), 60) == 0
    assert not (tmp_path / "simulator.ready").exists()


def test_settings_refuse_what_cannot_be() -> None:
    """Both a secret and its file, a public address unasked, a start without a zone."""
    wrong: list[dict[str, Any]] = [
        {"accounts": [{"name": "a", "api_key": "k"}]},
        {"http": {"host": "192.0.2.1"}},
        {"market": {"start": "2026-01-01T00:00:00"}},
        {"rules": {"tick_seconds": 0}},
    ]
    for values in wrong:
        with pytest.raises(ValueError, match="validation error"):
            SimulatorSettings(**values)


def test_key_files_are_read(tmp_path: Path) -> None:
    """API keys may come as files; a missing one is a problem told before anything starts."""
    key, secret, config = (tmp_path / name for name in ("key", "secret", "simulator.toml"))
    key.write_text("file-key\n")
    secret.write_text("file-secret\n")
    config.write_text(f'[[accounts]]\napi_key_file = "{key}"\napi_secret_file = "{secret}"\n')
    settings = read_settings(SimulatorSettings, config, {})
    seed = settings.accounts[0].seed()
    assert (seed.api_key, seed.api_secret) == ("file-key", "file-secret")
    key.unlink()
    with pytest.raises(SettingsProblemsError):
        read_settings(SimulatorSettings, config, {})
