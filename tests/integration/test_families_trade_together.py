"""A pair of legs across two families of venues, in and out, by each account's own books."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import SecretStr

from cli.trading import SETTLED_STATES, EntryOrder, entry_request
from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc, exchange_pb2
from services.common.metrics import ServiceMetrics
from services.common.settings import VenueSettings
from services.engine.bootstrap import engine_server
from services.engine.settings import EngineSettings
from tests.support.connector import patient_part, running_connector
from tests.support.simulator import Control, running_simulator, simulator_settings

LONG = engine_pb2.LEG_SIDE_LONG
OPEN = engine_pb2.HEDGED_POSITION_STATE_OPEN
CLOSED = engine_pb2.HEDGED_POSITION_STATE_CLOSED
SETTLE_SECONDS = 15.0
PAIRS = [
    # long leg, short leg, symbol
    ("binance", "okx-swap", "ETHUSDT"),
    ("okx-spot", "bybit-linear", "ETHUSDT"),
    ("bybit-spot", "binanceusdm", "PEPEUSDT"),
    ("okx-swap", "bybit-linear", "BTCUSDT"),
    ("bybit-linear", "okx-swap", "PEPEUSDT"),
]


def account_settings(*names: str) -> list[dict[str, Any]]:
    """Return one rich account per venue, so that no two legs net in one position."""
    funds = {"USDT": Decimal(100_000)}
    return [
        {
            "name": name,
            "api_key": f"key-{name}",
            "api_secret": f"secret-{name}",
            "spot": funds,
            "futures": funds,
        }
        for name in names
    ]


@dataclass(frozen=True, slots=True)
class Pair:
    """An engine with two venues behind it, and the witness."""

    engine: Any
    control: Control
    long: str
    short: str
    connectors: tuple[Any, ...]

    async def larger_lot(self, symbol: str) -> Decimal:
        """Return the larger of the legs' lots, in single coins."""
        request = exchange_pb2.GetSymbolInfoRequest(symbol=symbol)
        infos = [await connector.GetSymbolInfo(request) for connector in self.connectors]
        return max(Decimal(info.step_size.value) for info in infos)

    async def settled(self, position_id: str) -> engine_pb2.HedgedPosition:
        """Wait until the position rests."""
        request = engine_pb2.GetHedgedPositionRequest(position_id=position_id)
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                found: engine_pb2.HedgedPosition = (
                    await self.engine.GetHedgedPosition(request)
                ).position
                if found.state in SETTLED_STATES:
                    return found
                await asyncio.sleep(0.02)

    async def enter(self, symbol: str) -> engine_pb2.HedgedPosition:
        """Enter with the long leg leading, and wait for its end."""
        order = EntryOrder(
            symbol=symbol,
            long_leg=leg(self.long),
            short_leg=leg(self.short),
            notional=Decimal(4_000),
            lead_leg=LONG,
            slippage_bound_ratio=Decimal("0.01"),
        )
        taken = await self.engine.OpenHedgedPosition(entry_request(order, str(uuid.uuid4())))
        return await self.settled(taken.position.position_id)

    async def leave(self, position: engine_pb2.HedgedPosition) -> engine_pb2.HedgedPosition:
        """Close and wait for the end."""
        request = engine_pb2.CloseHedgedPositionRequest(
            request_id=str(uuid.uuid4()), position_id=position.position_id
        )
        await self.engine.CloseHedgedPosition(request)
        return await self.settled(position.position_id)

    async def holding(self, venue: str, symbol: str) -> Decimal:
        """Return what an account holds of a symbol by the books, signed, in single coins."""
        base = symbol.removesuffix("USDT")
        if kind_of(venue) == "spot":
            rows = await self.control.get("balances")
            coins = next(row["spot"] for row in rows if row["account"] == venue)
            return Decimal(coins.get(base, 0))
        total = Decimal(0)
        for row in await self.control.get("positions"):
            name = row["symbol"].removesuffix("USDT")
            if row["account"] == venue and name.endswith(base):
                total += Decimal(row["quantity"]) * Decimal(name.removesuffix(base) or 1)
        return total


def kind_of(venue: str) -> str:
    """Return what a venue trades."""
    return "spot" if venue in ("binance", "okx-spot", "bybit-spot") else "perpetual"


def leg(venue: str) -> str:
    """Return a leg as a request names it."""
    return f"{venue}:{kind_of(venue)}"


@contextlib.asynccontextmanager
async def running_pair(long: str, short: str, folder: Path) -> AsyncIterator[Pair]:
    """Run simulator, two connectors and an engine; each venue has an account of its own."""
    market = {"symbol_count": 27, "seed": 7, "start": "2026-03-20T00:05:00Z"}
    settings = simulator_settings(accounts=account_settings(long, short), market=market)
    async with contextlib.AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(running_simulator(settings))
        venues, stubs = [], []
        for name in (long, short):
            part = patient_part(
                name,
                simulator.address,
                folder,
                api_key=SecretStr(f"key-{name}"),
                api_secret=SecretStr(f"secret-{name}"),
            )
            connector = await stack.enter_async_context(running_connector(part))
            stubs.append(connector.stub)
            venues.append(VenueSettings(name=name, kind=kind_of(name), address=connector.address))
        engine_settings = EngineSettings(
            journal_path=folder / "journal.db", venues=tuple(venues), metrics={"port": 0}
        )
        server = await stack.enter_async_context(
            engine_server(engine_settings, ServiceMetrics("engine"))
        )
        await stack.enter_async_context(server)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
        stub = engine_pb2_grpc.EngineServiceStub(channel)
        yield Pair(stub, Control(simulator.address), long, short, tuple(stubs))


@pytest.mark.parametrize(("long", "short", "symbol"), PAIRS)
async def test_a_pair_across_families_opens_matched_and_closes_flat(
    long: str, short: str, symbol: str, tmp_path: Path
) -> None:
    """A lead that fills in part is hedged by what it filled, in coins, whatever a contract is."""
    async with running_pair(long, short, tmp_path) as pair:
        fault = {"type": "partial", "ratio": "0.6"}
        await pair.control.fault(fault, operation="place_order", side="BUY", times=1)
        position = await pair.enter(symbol)
        assert position.state == OPEN, position
        bought, sold = [await pair.holding(venue, symbol) for venue in (long, short)]
        assert sold < 0 < bought
        lot = await pair.larger_lot(symbol)
        assert abs(bought + sold) < lot
        closed = await pair.leave(position)
        assert closed.state == CLOSED, closed
        left = [await pair.holding(venue, symbol) for venue in (long, short)]
        assert all(abs(one) < lot for one in left), left
        ids = [row["client_order_id"] for row in await pair.control.get("orders")]
        assert len(set(ids)) == len(ids) == 4
