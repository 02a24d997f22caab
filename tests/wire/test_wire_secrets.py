"""Secrets of a running connector and of a command are nowhere but in their files."""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import SecretStr

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc
from services.common.channels import open_channel
from services.common.settings import ClientTlsSettings
from tests.support.certificates import CertificateAuthority
from tests.support.connector import connector_part, connector_process, order
from tests.support.echo_service import raw
from tests.support.simulator import Control, running_simulator, simulator_settings

CANARIES = {
    "api key": "canary-api-key-5f1d8a2c",
    "api secret": "canary-api-secret-93be07d4",
    "token": "canary-token-a81c66e0f3",
    "other token": "canary-other-token-77d2",
    "wrong token": "canary-wrong-token-04ee",
}
ACCOUNT = {
    "name": "trader",
    "api_key": CANARIES["api key"],
    "api_secret": CANARIES["api secret"],
    "spot": {"USDT": Decimal(100_000), "BTC": Decimal("0.5")},
    "margin": {},
    "futures": {"USDT": Decimal(1_000)},
}
FAULTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "http_status", "status": 500}, "place_order"),
    ({"type": "drop_after"}, "place_order"),
    ({"type": "http_status", "status": 403}, "get_account"),
    ({"type": "drop_before"}, "get_open_orders"),
)


def write(folder: Path, name: str, text: str) -> Path:
    """Write a file that holds one secret."""
    path = folder / name
    path.write_text(text + "\n")
    return path


@asynccontextmanager
async def guarded_connector(folder: Path, output: Path) -> AsyncIterator[tuple[str, Any, Any]]:
    """Run a connector with all its secrets in files; yields address, process, client TLS."""
    authority = CertificateAuthority(folder)
    files = authority.issue("server")
    CANARIES["tls key"] = files.key.read_text().splitlines()[1]
    tokens = write(folder, "tokens", f"{CANARIES['token']}\n{CANARIES['other token']}")
    tables = f"""
[grpc]
token_file = "{tokens}"
[grpc.tls]
certificate_file = "{files.certificate}"
key_file = "{files.key}"
[log]
level = "debug"
"""
    settings = simulator_settings(accounts=[ACCOUNT])
    async with running_simulator(settings) as simulator:
        part = connector_part(
            "binance",
            simulator.address,
            folder,
            api_key=None,
            api_secret=None,
            api_key_file=write(folder, "key", CANARIES["api key"]),
            api_secret_file=write(folder, "secret", CANARIES["api secret"]),
        )
        async with connector_process(part, folder, tables=tables, output=output) as connector:
            control = Control(simulator.address)
            for action, operation in FAULTS:
                rule = {
                    "id": operation + action["type"],
                    "match": {"operation": operation, "times": 1},
                    "action": action,
                }
                await control.post("faults", [rule])
            yield connector.address, connector.process, ClientTlsSettings(ca_file=authority.file)


async def told(call: Any) -> str:
    """Return all that a call tells its caller: the reply, or every part of the error."""
    try:
        return repr(await call)
    except grpc.aio.AioRpcError as error:
        return repr((error, error.trailing_metadata(), error.initial_metadata()))


async def conversation(address: str, tls: ClientTlsSettings) -> str:
    """Make calls that succeed, fail at the venue and are refused; return all that was told."""
    said = []
    for name in ("token", "other token", "wrong token"):
        async with open_channel(address, token=SecretStr(CANARIES[name]), tls=tls) as channel:
            stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
            said += [
                await told(stub.PlaceOrder(order(client_order_id=f"canary-{name[:5]}-{attempt}")))
                for attempt in range(3)
            ]
            said += [
                await told(stub.GetAccount(exchange_pb2.GetAccountRequest())),
                await told(stub.GetOpenOrders(exchange_pb2.GetOpenOrdersRequest())),
                await told(stub.GetBalance(exchange_pb2.GetBalanceRequest(asset="\x1b[2J"))),
                await told(raw(channel).unary_unary("/no.Such/Method")(b"")),
            ]
    return "\n".join(said)


async def command(folder: Path, address: str, tls: ClientTlsSettings, token: str) -> str:
    """Run `arb doctor` with a token file; return its argv, output and errors."""
    config = folder / "arb.toml"
    config.write_text(
        f"""
[[connectors]]
name = "binance"
kind = "spot"
address = "{address}"
token_file = "{write(folder, "arb-token", token)}"
[connectors.tls]
ca_file = "{tls.ca_file}"
"""
    )
    argv = (sys.executable, "-m", "cli.main", "doctor", "--config", str(config))
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert said
    return " ".join(argv) + said.decode()


def scrape(log: str) -> str:
    """Return the metrics page whose address the log line of readiness tells."""
    address = log.partition('"metrics": "')[2].partition('"')[0]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as page:
        return str(page.read().decode())


def shown_of(pid: int) -> dict[str, str]:
    """Return what the kernel shows of a process to whoever may look."""
    paths = [Path(f"/proc/{pid}/{name}") for name in ("cmdline", "environ", "status")]
    return {
        path.name: path.read_bytes().decode("utf-8", "replace")
        for path in paths
        if os.access(path, os.R_OK)
    }


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_no_secret_is_told_logged_shown_or_stored(tmp_path: Path) -> None:
    """Replies, error details, logs, metrics, ledger, ready file, command line and environment."""
    secrets, output = tmp_path / "secrets", tmp_path / "output.log"
    secrets.mkdir()
    places: dict[str, str] = {}
    async with guarded_connector(secrets, output) as (address, process, tls):
        places["calls"] = await conversation(address, tls)
        places["arb"] = await command(secrets, address, tls, CANARIES["token"])
        places["arb refused"] = await command(secrets, address, tls, CANARIES["wrong token"])
        places["metrics"] = await asyncio.to_thread(scrape, output.read_text())
        places |= shown_of(process.pid)
    places["log"] = output.read_text()
    for path in secrets.iterdir():
        if path.suffix not in {".key", ""} and path.name != "arb.toml":
            places[path.name] = path.read_bytes().decode("utf-8", "replace")
    assert "TOKEN_INVALID" in places["calls"]
    assert "call_finished" in places["log"]
    assert "grpc_requests_total" in places["metrics"]
    assert any(name.endswith(".ledger") for name in places)
    found = [
        (place, name)
        for place, text in places.items()
        for name, canary in CANARIES.items()
        if canary in text
    ]
    assert found == []
    assert "\x1b" not in places["log"] + places["arb"]
