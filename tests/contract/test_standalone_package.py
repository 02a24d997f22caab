"""The distribution of the contract stands alone: built, installed and used without this tree."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import opensqt
from cli.demo.processes import ServiceProcess
from cli.demo.toml_text import to_toml

PROTO_ROOT = Path(opensqt.__file__).resolve().parents[1]

WHAT_IS_THERE = """
import importlib.util, sys
from opensqt.market_maker.v1 import engine_pb2_grpc, exchange_pb2, exchange_pb2_grpc
assert importlib.util.find_spec("services") is None
assert importlib.util.find_spec("ccxt") is None
order = exchange_pb2.GetOrderRequest(symbol="BTCUSDT", client_order_id="a1")
assert exchange_pb2.GetOrderRequest.FromString(order.SerializeToString()) == order
print(exchange_pb2.__file__)
"""

READY_SECONDS = 60.0
CALLER = """
import sys
from decimal import ROUND_DOWN, Decimal
import grpc
from google.type import decimal_pb2
from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc, resources_pb2, types_pb2

address, token, order_id = sys.argv[1:]
with grpc.insecure_channel(address) as channel:
    stub = exchange_pb2_grpc.ExchangeServiceStub(channel)
    def call(method, request):
        return method(request, timeout=10, metadata=[("authorization", f"Bearer {token}")])
    assert call(stub.GetName, exchange_pb2.GetNameRequest()).name == "binanceusdm"
    info = call(stub.GetSymbolInfo, exchange_pb2.GetSymbolInfoRequest(symbol="BTCUSDT"))
    last = call(stub.GetLatestPrice, exchange_pb2.GetLatestPriceRequest(symbol="BTCUSDT")).price
    tick, lot = Decimal(info.tick_size.value), Decimal(info.step_size.value)
    price = (Decimal(last.value) * Decimal("0.97") / tick).to_integral_value(ROUND_DOWN) * tick
    least = max(Decimal(info.min_notional.value or "0"), Decimal(20))
    quantity = ((2 * least / price) / lot).to_integral_value(ROUND_DOWN) * lot + lot
    def decimal(value):
        return decimal_pb2.Decimal(value=format(value, "f"))
    placed = call(stub.PlaceOrder, resources_pb2.PlaceOrderRequest(
        symbol="BTCUSDT", side=types_pb2.ORDER_SIDE_BUY, type=types_pb2.ORDER_TYPE_LIMIT,
        time_in_force=types_pb2.TIME_IN_FORCE_GTC, quantity=decimal(quantity),
        price=decimal(price), client_order_id=order_id))
    assert placed.status == types_pb2.ORDER_STATUS_NEW, placed
    wanted = exchange_pb2.GetOrderRequest(symbol="BTCUSDT", client_order_id=order_id)
    read = call(stub.GetOrder, wanted)
    assert read.exchange_order_id == placed.exchange_order_id != ""
    assert Decimal(read.quantity.value) == quantity and Decimal(read.price.value) == price
    call(stub.CancelOrder, exchange_pb2.CancelOrderRequest(
        symbol="BTCUSDT", client_order_id=order_id))
    print(types_pb2.OrderStatus.Name(call(stub.GetOrder, wanted).status))
"""


def build_wheel(folder: Path) -> Path:
    """Build the distribution from a copy of proto/ that has nothing around it."""
    source = folder / "source"
    shutil.copytree(PROTO_ROOT, source, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        check=True, cwd=source, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def needed_by(names: list[str]) -> set[str]:
    """List the distributions that these need, through all of their own needs."""
    found: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name in found:
            continue
        found.add(name)
        needs = [Requirement(text) for text in metadata.requires(name) or ()]
        open_names += [r.name for r in needs if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def lay_in(name: str, site: Path) -> None:
    """Link one installed distribution into another environment, file by file."""
    for file in metadata.files(name) or ():
        if ".." in file.parts:
            continue
        target = site / Path(*file.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(str(file.locate())).resolve())


@pytest.fixture(scope="module")
def lone_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty environment, install the wheel, and lay in what the wheel says it needs.

    The needs come from the environment that runs the tests, so no registry is asked; nothing that
    the wheel does not declare is there.
    """
    folder = tmp_path_factory.mktemp("lone")
    wheel = build_wheel(folder)
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq", "--no-deps",
         "--no-index", "--disable-pip-version-check", str(wheel)],
        check=True, capture_output=True,
    )  # fmt: skip
    site = next((environment / "lib").glob("python*/site-packages"))
    requires = next(site.glob("opensqt_protos-*.dist-info/METADATA")).read_text(encoding="utf-8")
    lines = [line for line in requires.splitlines() if line.startswith("Requires-Dist:")]
    for name in needed_by([Requirement(line.split(":", 1)[1]).name for line in lines]):
        lay_in(name, site)
    return python


def run_alone(python: Path, program: str, *arguments: str) -> str:
    """Run a program in the lone environment, outside of this tree, and return what it printed."""
    result = subprocess.run(
        [str(python), "-I", "-c", program, *arguments],
        check=False, capture_output=True, text=True, cwd=python.parent, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_lone_package_brings_its_modules_types_and_nothing_else(lone_python: Path) -> None:
    """The stubs import from the wheel; our services and ccxt are not there."""
    module = Path(run_alone(lone_python, WHAT_IS_THERE).strip())
    site = lone_python.parents[1]
    assert module.resolve().is_relative_to(site.resolve())
    package = module.parents[2]
    assert (package / "py.typed").is_file()
    assert module.with_suffix(".pyi").is_file()
    assert module.with_name("exchange.proto").is_file()


async def launch(
    name: str, folder: Path, table: dict[str, Any], started: list[ServiceProcess]
) -> str:
    """Start one service from its configuration, note it as started and return its address."""
    ready = folder / f"{name}.ready.json"
    config = folder / f"{name}.toml"
    config.write_text(to_toml({"ready_file": ready, **table}), encoding="utf-8")
    process = ServiceProcess(name, f"services.{name}", config, ready, folder / f"{name}.log")
    started.append(process)
    await process.start()
    answer = await process.wait_ready(READY_SECONDS)
    return str(answer.get("http_address") or answer["grpc_address"])


@pytest.fixture
async def connector(tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """Run a simulator and a connector as processes; yield the connector's address and token."""
    token = secrets.token_hex(32)
    files = {name: tmp_path / name for name in ("token_file", "api_key_file", "api_secret_file")}
    for path in files.values():
        path.touch(mode=0o600)
        path.write_text(token, encoding="utf-8")
    keys = {name: files[name] for name in ("api_key_file", "api_secret_file")}
    account = {"name": "lone", **keys, "futures": {"USDT": "10000"}}
    started: list[ServiceProcess] = []
    try:
        table: dict[str, Any] = {"accounts": [account], "market": {"symbol_count": 12}}
        address = await launch("simulator", tmp_path, table, started)
        table = {
            "grpc": {"token_file": files["token_file"]},
            "connector": {
                "exchange": "binanceusdm",
                "base_url": f"http://{address}",
                "ledger_path": tmp_path / "ledger.db",
                **keys,
            },
        }
        yield await launch("connector", tmp_path, table, started), token
    finally:
        for process in reversed(started):
            await process.stop()


@pytest.mark.timeout(300)
async def test_lone_package_places_reads_and_cancels_through_a_running_connector(
    lone_python: Path, connector: tuple[str, str]
) -> None:
    """A caller with nothing but the wheel works an order at the venue from end to end."""
    printed = await asyncio.to_thread(run_alone, lone_python, CALLER, *connector, "lone1")
    assert printed.split() == ["ORDER_STATUS_CANCELED"]
