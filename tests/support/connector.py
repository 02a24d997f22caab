"""Starting the connector in tests, in this process or in one of its own, on a simulator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
from google.type import decimal_pb2
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc, resources_pb2, types_pb2
from services.common.clock import SystemClock
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings
from services.connector.bootstrap import open_servicer
from services.connector.connector_metrics import ConnectorMetrics
from services.connector.servicer import SERVICE_NAME, ExchangeServicer
from services.connector.settings import ConnectorPart
from tests.support.simulator import API_KEY, API_SECRET

READY_SECONDS = 60.0
BUY, SELL = types_pb2.ORDER_SIDE_BUY, types_pb2.ORDER_SIDE_SELL
MARKET, LIMIT = types_pb2.ORDER_TYPE_MARKET, types_pb2.ORDER_TYPE_LIMIT
IOC, FOK = types_pb2.TIME_IN_FORCE_IOC, types_pb2.TIME_IN_FORCE_FOK
GTC, GTX = types_pb2.TIME_IN_FORCE_GTC, types_pb2.TIME_IN_FORCE_GTX


def connector_part(code: str, simulator: str, folder: Path, **changes: Any) -> ConnectorPart:
    """Return settings of a connector on a simulator at `host:port`, with a fence of 1.2 s.

    Its window outlasts a pause of a process on shared cores, else the venue refuses its requests.
    """
    values: dict[str, Any] = {
        "exchange": code,
        "base_url": f"http://{simulator}",
        "api_key": SecretStr(API_KEY),
        "api_secret": SecretStr(API_SECRET),
        "ledger_path": folder / f"{code}.ledger",
        "recv_window_ms": 800,
        "venue_processing_seconds": 0.3,
        "clock_bound_seconds": 0.1,
        "request_timeout_seconds": 5.0,
    }
    # Only OKX and Bitget ask for one; the simulator takes any where none is set.
    if code.startswith(("okx", "bitget")):
        values["api_passphrase"] = SecretStr("test-passphrase")
    return ConnectorPart(**{**values, **changes})


def patient_part(code: str, simulator: str, folder: Path, **changes: Any) -> ConnectorPart:
    """Return the same for tests in which no order is lost: with a window that no pause outlasts."""
    return connector_part(code, simulator, folder, **{"recv_window_ms": 5000, **changes})


@dataclass(frozen=True, slots=True)
class RunningConnector:
    """A connector that serves; `servicer` is there when it runs in this process."""

    address: str
    stub: Any
    servicer: ExchangeServicer | None = None
    process: asyncio.subprocess.Process | None = None
    registry: CollectorRegistry | None = None


@contextlib.asynccontextmanager
async def running_connector(part: ConnectorPart) -> AsyncIterator[RunningConnector]:
    """Serve a connector from this process over real gRPC, order stream up, until the block ends."""
    metrics = ServiceMetrics("connector")
    async with open_servicer(part, ConnectorMetrics(metrics), SystemClock()) as servicer:
        server = GrpcServer(ServerSettings(drain_seconds=1.0), metrics=metrics)
        server.add(exchange_pb2_grpc.add_ExchangeServiceServicer_to_server, servicer, SERVICE_NAME)
        async with server, grpc.aio.insecure_channel(server.address) as channel:
            stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
            yield RunningConnector(server.address, stub, servicer, registry=metrics.registry)


@contextlib.asynccontextmanager
async def connector_process(
    part: ConnectorPart, folder: Path, *, tables: str = "", output: Path | None = None
) -> AsyncIterator[RunningConnector]:
    """Start `python -m services.connector` and wait until it is ready; ends it if it still runs.

    `tables` is TOML put behind the connector's own; `output` takes what it says, both ways.
    """
    ready = folder / f"{part.exchange}.ready"
    ready.unlink(missing_ok=True)
    config = folder / f"{part.exchange}.toml"
    config.write_text(_toml(part, ready) + "\n" + tables)
    with contextlib.ExitStack() as stack:
        said = None if output is None else stack.enter_context(output.open("ab"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.connector", "--config", str(config)),
            env=dict(os.environ),
            stdout=said,
            stderr=said,
        )
    try:
        address = await _ready_address(ready, process)
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
            yield RunningConnector(address, stub, process=process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def decimal(text: str | Decimal) -> decimal_pb2.Decimal:
    """Return a wire decimal."""
    return decimal_pb2.Decimal(value=str(text))


def order(
    side: types_pb2.OrderSide.ValueType = BUY, quantity: str = "0.01", **fields: Any
) -> resources_pb2.PlaceOrderRequest:
    """Return a request for a market order of BTCUSDT; keywords replace or add fields."""
    for name in ("quantity", "price", "worst_price", "slippage_bound_ratio"):
        if isinstance(fields.get(name), (str, Decimal)):
            fields[name] = decimal(fields[name])
    values: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "type": MARKET,
        "side": side,
        "quantity": decimal(quantity),
    }
    return resources_pb2.PlaceOrderRequest(**{**values, **fields})


def by_id(client_order_id: str, symbol: str = "BTCUSDT") -> exchange_pb2.GetOrderRequest:
    """Return a request for an order by its client order id."""
    return exchange_pb2.GetOrderRequest(symbol=symbol, client_order_id=client_order_id)


def number(field: decimal_pb2.Decimal) -> Decimal:
    """Return the number in a wire decimal."""
    return Decimal(field.value)


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Poll until `check` holds; fails when it does not within the time."""
    for _ in range(round(seconds / 0.02)):
        if await check():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition did not come to hold in time")


async def best_prices(stub: Any, symbol: str = "BTCUSDT") -> tuple[Decimal, Decimal]:
    """Return best bid and ask of a symbol as the connector gives them."""
    book = await stub.GetOrderBook(exchange_pb2.GetOrderBookRequest(symbol=symbol, depth=5))
    return number(book.bids[0].price), number(book.asks[0].price)


def _toml(part: ConnectorPart, ready: Path) -> str:
    lines = [f'ready_file = "{ready}"', "[connector]"]
    given = part.model_dump(exclude_defaults=True, exclude={"symbols"})
    limits = given.pop("limits", {})
    lines += [f"{name} = {_toml_value(value)}" for name, value in given.items()]
    if limits:
        lines += ["[connector.limits]"]
        lines += [f"{name} = {_toml_value(value)}" for name, value in limits.items()]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, (bool, int, float, tuple, list)):
        return json.dumps(value)
    return f'"{value}"'


async def _ready_address(ready: Path, process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            assert process.returncode is None, "the connector ended before it was ready"
            address = _read_address(ready)
            if address:
                return address
            await asyncio.sleep(0.02)


def _read_address(ready: Path) -> str:
    return str(json.loads(ready.read_text())["grpc_address"]) if ready.exists() else ""
