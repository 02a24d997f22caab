"""Clients of the engine that enter and exit without end, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import grpc

from cli.demo.stack import PERPETUAL, SPOT
from cli.trading import SETTLED_STATES, EntryOrder, entry_request
from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc
from services.common.call_errors import from_call_error
from services.common.codec import decimal_to_proto
from tests.support.kill_tally import Tally
from tests.support.stack import CLOSED, FLAT, LONG, OPEN, SHORT

_AWAY: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)
_CALL_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 0.15
_MOST_NOTIONAL: Final = 900
_LEAST_NOTIONAL: Final = 150

Call = Callable[..., Awaitable[Any]]
Position = engine_pb2.HedgedPosition


class RefusedError(Exception):
    """The engine answered and would not; `reason` is its word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def answered(call: Call, request: Any) -> Any:
    """Send one request again and again until it is answered; raises RefusedError for a refusal."""
    while True:
        try:
            return await call(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _AWAY:
                raise RefusedError(from_call_error(error).reason) from None
        await asyncio.sleep(_PAUSE_SECONDS)


class Trader:
    """Enters and leaves its own symbols in turn; `gate` lets it begin something new."""

    def __init__(
        self,
        engine: engine_pb2_grpc.EngineServiceAsyncStub,
        symbols: Sequence[str],
        dice: random.Random,
        gate: asyncio.Event,
        tally: Tally,
    ) -> None:
        self._engine = engine
        self._symbols = symbols
        self._dice = dice
        self._gate = gate
        self._tally = tally
        self.is_idle = True
        """Whether it waits at the gate with its last position at rest."""

    async def trade(self) -> None:
        """Enter and leave without end, until cancelled."""
        while True:
            for symbol in self._symbols:
                await self._pass_gate()
                position = await self._enter(symbol)
                if position is not None and position.state == OPEN:
                    await self._pass_gate()
                    await self._leave(position)

    async def _pass_gate(self) -> None:
        self.is_idle = True
        await self._gate.wait()
        self.is_idle = False

    async def _enter(self, symbol: str) -> Position | None:
        request = self._entry(symbol)
        try:
            position = (await answered(self._engine.OpenHedgedPosition, request)).position
        except RefusedError as refused:
            self._tally.refusals[refused.reason] += 1
            await asyncio.sleep(4 * _PAUSE_SECONDS)
            return None
        position = await self._rested(position)
        name = engine_pb2.HedgedPositionState.Name(position.state)
        self._tally.entries[name.removeprefix("HEDGED_POSITION_STATE_").lower()] += 1
        return position

    def _entry(self, symbol: str) -> engine_pb2.OpenHedgedPositionRequest:
        dice = self._dice
        spot, perpetual = f"{SPOT}:spot", f"{PERPETUAL}:perpetual"
        # The other way round the spot leg is sold on margin.
        long, short = (spot, perpetual) if dice.random() < 0.7 else (perpetual, spot)
        order = EntryOrder(
            symbol=symbol,
            long_leg=long,
            short_leg=short,
            notional=Decimal(dice.randint(_LEAST_NOTIONAL, _MOST_NOTIONAL)),
            lead_leg=dice.choice((LONG, SHORT)),
            slippage_bound_ratio=Decimal("0.01"),
        )
        return entry_request(order, str(uuid.UUID(int=dice.getrandbits(128), version=4)))

    async def _leave(self, position: Position) -> None:
        dice = self._dice
        if dice.random() < 0.2:
            await self._exit(
                self._engine.ReduceHedgedPosition,
                engine_pb2.ReduceHedgedPositionRequest(
                    request_id=str(uuid.UUID(int=dice.getrandbits(128), version=4)),
                    position_id=position.position_id,
                    ratio=decimal_to_proto(Decimal("0.5")),
                ),
            )
        await self._exit(
            self._engine.CloseHedgedPosition,
            engine_pb2.CloseHedgedPositionRequest(
                request_id=str(uuid.UUID(int=dice.getrandbits(128), version=4)),
                position_id=position.position_id,
            ),
        )

    async def _exit(self, call: Call, request: Any) -> None:
        self._tally.exits_asked += 1
        is_whole = isinstance(request, engine_pb2.CloseHedgedPositionRequest)
        try:
            position = (await answered(call, request)).position
        except RefusedError as refused:
            text = f"exit of {request.position_id} refused: {refused.reason}"
            # A part may be less than a lot; the whole may always be closed.
            if is_whole:
                self._tally.findings.append(text)
            return
        rested = await self._rested(position)
        if is_whole and rested.state not in (CLOSED, FLAT):
            self._tally.findings.append(f"not closed after its exit:\n{rested}")

    async def _rested(self, position: Position) -> Position:
        request = engine_pb2.GetHedgedPositionRequest(position_id=position.position_id)
        while position.state not in SETTLED_STATES:
            await asyncio.sleep(_LOOK_SECONDS)
            position = (await answered(self._engine.GetHedgedPosition, request)).position
        return position
