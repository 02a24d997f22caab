"""The processes of an engine under measurement: a venue, two connectors, an echo, and engines."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc

from benchmarks.processes import Started, started
from benchmarks.stage import Stage
from cli.trading import EntryOrder, entry_request
from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc, exchange_pb2, exchange_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from decimal import Decimal
    from pathlib import Path

RESPONSE_SECONDS: Final = 0.02
"""What a request takes at the venue before it acts."""
SPOT, PERPETUAL = "binance", "binanceusdm"
_VENUES: Final = {SPOT: "spot", PERPETUAL: "perpetual"}
_LIMITLESS: Final = 1_000_000_000
_SETTLE_SECONDS: Final = 30.0
# Seldom: each question takes time from the engine under measurement.
_POLL_SECONDS: Final = 0.04
_AT_REST: Final = frozenset(
    {
        engine_pb2.HEDGED_POSITION_STATE_OPEN,
        engine_pb2.HEDGED_POSITION_STATE_CLOSED,
        engine_pb2.HEDGED_POSITION_STATE_FLAT,
    }
)


class EngineStage(Stage):
    """Venue, connectors and echo live as long as the block; engines come and go on them."""

    def __init__(self, folder: Path, symbol_count: int) -> None:
        super().__init__(folder)
        self._symbol_count = symbol_count
        self._connectors: dict[str, Started] = {}
        self.record = self._folder / "venue.record"
        self.echo: Started

    async def _start_all(self) -> None:
        venue = await self._start(
            "benchmarks.order_venue",
            "venue",
            *("--record", str(self.record), "--symbols", str(self._symbol_count)),
            *("--response-seconds", str(RESPONSE_SECONDS)),
        )
        self.echo = await self._start("benchmarks.echo_server", "echo")
        for name in _VENUES:
            # The venue of this run has no limits: what is measured is not to wait for ours.
            self._connectors[name] = await self._start_connector(
                name, venue.address, allowance_scale=1000
            )

    async def symbols(self) -> list[str]:
        """Return the symbols that both venues trade under one name."""
        names = []
        for name in _VENUES:
            async with grpc.aio.insecure_channel(self._connectors[name].address) as channel:
                stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
                answer = await stub.GetSymbols(exchange_pb2.GetSymbolsRequest())
                names.append(set(answer.symbols))
        return sorted(set.intersection(*names))

    @asynccontextmanager
    async def engine(
        self, name: str, taps: Path | None = None, **policy: Any
    ) -> AsyncIterator[RunningEngine]:
        """Run an engine on the journal `name`, tapped where `taps` names a file."""
        ready = self._folder / "engine.ready"
        settings = {
            "ready_file": ready,
            "log": {"level": "error"},
            "journal_path": self._folder / f"{name}.db",
            "limits": {
                "max_leg_notional": _LIMITLESS,
                "max_symbol_notional": _LIMITLESS,
                "max_total_notional": _LIMITLESS,
                "max_open_positions": 10_000,
            },
            "policy": {"funding_read_interval": 600, **policy},
            "venues": [
                {"name": venue, "kind": kind, "address": self._connectors[venue].address}
                for venue, kind in _VENUES.items()
            ],
        }
        arguments = self._configure("engine", settings)
        module = "services.engine" if taps is None else "benchmarks.tapped_engine"
        if taps is not None:
            arguments.insert(0, str(taps))
        async with (
            started(module, arguments, ready, self._bytecode) as process,
            grpc.aio.insecure_channel(process.address) as channel,
        ):
            yield RunningEngine(process, engine_pb2_grpc.EngineServiceStub(channel))


class RunningEngine:
    """An engine process and a client of it."""

    def __init__(self, process: Started, stub: engine_pb2_grpc.EngineServiceAsyncStub) -> None:
        self.process = process
        self.stub = stub

    async def reconciled(self) -> None:
        """Return once the engine takes entries."""
        async with asyncio.timeout(_SETTLE_SECONDS):
            while True:
                answer = await self.stub.GetStatus(engine_pb2.GetStatusRequest())
                if answer.status.reconciled:
                    return
                await asyncio.sleep(_POLL_SECONDS)

    async def enter(self, symbol: str, notional: Decimal) -> engine_pb2.HedgedPosition:
        """Enter a symbol, long the spot leg, and wait for its rest; RuntimeError unless open."""
        order = EntryOrder(
            symbol=symbol,
            long_leg=f"{SPOT}:spot",
            short_leg=f"{PERPETUAL}:perpetual",
            notional=notional,
        )
        answer = await self.stub.OpenHedgedPosition(entry_request(order, str(uuid.uuid4())))
        position = await self._at_rest(answer.position)
        if position.state != engine_pb2.HEDGED_POSITION_STATE_OPEN:
            raise RuntimeError(f"not entered: {position.state_reason}")
        return position

    async def reduce(self, position_id: str, ratio: Decimal) -> engine_pb2.HedgedPosition:
        """Take a share off both legs and wait for the rest."""
        request = engine_pb2.ReduceHedgedPositionRequest(
            request_id=str(uuid.uuid4()), position_id=position_id
        )
        request.ratio.value = str(ratio)
        return await self._at_rest((await self.stub.ReduceHedgedPosition(request)).position)

    async def close(self, position_id: str) -> engine_pb2.HedgedPosition:
        """Leave a position and wait for its end."""
        request = engine_pb2.CloseHedgedPositionRequest(
            request_id=str(uuid.uuid4()), position_id=position_id
        )
        return await self._at_rest((await self.stub.CloseHedgedPosition(request)).position)

    async def close_all(self) -> Sequence[engine_pb2.HedgedPosition]:
        """Leave every position and wait for the end of each."""
        request = engine_pb2.CloseAllHedgedPositionsRequest(request_id=str(uuid.uuid4()))
        answer = await self.stub.CloseAllHedgedPositions(request)
        # One is asked for until it is closed, then each once: a pause for each would add up.
        await self._at_rest(answer.positions[-1])
        return [await self._at_rest(await self._get(one)) for one in answer.positions]

    async def _at_rest(self, position: engine_pb2.HedgedPosition) -> engine_pb2.HedgedPosition:
        async with asyncio.timeout(_SETTLE_SECONDS):
            while position.state not in _AT_REST:
                await asyncio.sleep(_POLL_SECONDS)
                position = await self._get(position)
        return position

    async def _get(self, position: engine_pb2.HedgedPosition) -> engine_pb2.HedgedPosition:
        request = engine_pb2.GetHedgedPositionRequest(position_id=position.position_id)
        return (await self.stub.GetHedgedPosition(request)).position
