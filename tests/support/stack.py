"""The whole system as real processes for tests, with the venue's own books as the witness."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from cli.clients import connector_client, engine_client
from cli.demo.books import Books, read_books
from cli.demo.control import SimulatorControl
from cli.demo.stack import PERPETUAL, SPOT, LocalStack, StackOptions
from cli.trading import SETTLED_STATES, EntryOrder, entry_request
from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc, exchange_pb2
from services.common.codec import decimal_from_proto, decimal_to_proto
from tests.support.pace import Pace, measured_pace

# The window must outlast a pause of a process on shared cores, else the venue refuses its requests.
RECV_WINDOW, PROCESSING, CLOCK_BOUND = 1.0, 0.5, 0.1
FENCE_SECONDS = RECV_WINDOW + PROCESSING + CLOCK_BOUND
RECOVERY_SECONDS = 5.0
"""Longest time from a start until every position is hedged or flat, beyond the fence."""
PATIENCE_SECONDS = 30.0
"""How long to wait for what has no bound of its own."""
POLL_SECONDS = 0.02
NOTIONAL = Decimal(400)
_MIN_NOTIONAL = Decimal(5)
_ZERO = Decimal(0)

LONG, SHORT = engine_pb2.LEG_SIDE_LONG, engine_pb2.LEG_SIDE_SHORT
OPEN = engine_pb2.HEDGED_POSITION_STATE_OPEN
CLOSED = engine_pb2.HEDGED_POSITION_STATE_CLOSED
FLAT = engine_pb2.HEDGED_POSITION_STATE_FLAT


def stack_options(**changes: Any) -> StackOptions:
    """Return a small market in mid-hour, so that no funding falls due, and a short fence.

    Funding is read seldom: each reading takes 30 of the 2400 units that a minute has for entries.
    """
    values: dict[str, Any] = {
        "symbol_count": 27,
        "recv_window_seconds": RECV_WINDOW,
        "processing_bound_seconds": PROCESSING,
        "clock_bound_seconds": CLOCK_BOUND,
        "tables": {
            # A file of tests makes more entries in a minute than the venue's weight is for.
            "simulator": {"market": {"start": "2026-03-20T00:05:00Z"}, "rules": {"limit_scale": 4}},
            "connector": {"connector": {"allowance_scale": 4}},
            "engine": {"policy": {"funding_read_interval": 60}},
        },
    }
    return StackOptions(**{**values, **changes})


@dataclass(frozen=True, slots=True)
class Market:
    """One symbol on both venues: perpetual's name and multiplier there, lots in base units."""

    symbol: str
    base_asset: str
    perpetual: str
    multiplier: Decimal
    larger_lot: Decimal


@dataclass(frozen=True, slots=True)
class Holding:
    """What the venue's books gained in one symbol since a snapshot, in base units."""

    spot: Decimal
    perpetual: Decimal

    @property
    def net(self) -> Decimal:
        """Signed exposure of both legs."""
        return self.spot + self.perpetual


class StackDriver:
    """A running stack with the calls the tests make; each symbol belongs to one test."""

    def __init__(self, stack: LocalStack, engine: engine_pb2_grpc.EngineServiceAsyncStub) -> None:
        self.stack = stack
        self.engine = engine
        self._markets: dict[str, Market] = {}
        self._held_until = 0.0

    @property
    def control(self) -> SimulatorControl:
        """The simulator's control endpoint."""
        return self.stack.control

    async def market(self, symbol: str) -> Market:
        """Read names and lots of a symbol from both connectors; once."""
        if symbol not in self._markets:
            infos = [await self._info(name, symbol) for name in (SPOT, PERPETUAL)]
            lots = [decimal_from_proto(info, "step_size") or _ZERO for info in infos]
            perpetual = infos[1].exchange_symbol
            base = infos[0].base_asset
            multiplier = perpetual.removesuffix("USDT").removesuffix(base)
            self._markets[symbol] = Market(
                symbol, base, perpetual, Decimal(multiplier or 1), max(lots)
            )
        return self._markets[symbol]

    async def _info(self, name: str, symbol: str) -> Any:
        venues = {venue.name: venue for venue in self.stack.arb_settings().connectors}
        async with connector_client(venues[name]) as connector:
            return await connector.GetSymbolInfo(exchange_pb2.GetSymbolInfoRequest(symbol=symbol))

    async def books(self) -> Books:
        """Read the venue's books of record."""
        return await read_books(self.control)

    async def holding(self, symbol: str, before: Books) -> Holding:
        """Return what the venue says the symbol gained since `before`."""
        market, after = await self.market(symbol), await self.books()
        coins = [books.coins.get(market.base_asset, _ZERO) for books in (after, before)]
        contracts = [books.positions.get(market.perpetual, _ZERO) for books in (after, before)]
        return Holding(coins[0] - coins[1], (contracts[0] - contracts[1]) * market.multiplier)

    async def orders(self, position: engine_pb2.HedgedPosition) -> list[dict[str, Any]]:
        """Return the orders of a position that the venue accepted, oldest first."""
        return _rows_of(position, await self.control.get("orders"))

    async def requests(self, position: engine_pb2.HedgedPosition) -> list[dict[str, Any]]:
        """Return the order requests of a position that reached the venue, whatever their fate."""
        return _rows_of(position, await self.control.get("requests"))

    async def fault(self, name: str, action: dict[str, Any], **match: Any) -> None:
        """Arm one fault, by default on order placement and once."""
        until = asyncio.get_running_loop().time() + action.get("seconds", 0.0)
        self._held_until = max(self._held_until, until)
        conditions = {"operation": "place_order", "times": 1, **match}
        await self.control.post("faults", [{"id": name, "match": conditions, "action": action}])

    async def open(
        self,
        symbol: str,
        *,
        spot_is_long: bool = True,
        lead: engine_pb2.LegSide.ValueType = LONG,
        request_id: str = "",
        notional: Decimal = NOTIONAL,
    ) -> engine_pb2.HedgedPosition:
        """Enter a symbol; returns as soon as the engine has taken it.

        An engine just started takes exits at once and entries once it has compared the venues.
        """
        await self.until(self._takes_entries, "reconciliation after the start")
        spot, perpetual = f"{SPOT}:spot", f"{PERPETUAL}:perpetual"
        order = EntryOrder(
            symbol=symbol,
            long_leg=spot if spot_is_long else perpetual,
            short_leg=perpetual if spot_is_long else spot,
            notional=notional,
            lead_leg=lead,
            slippage_bound_ratio=Decimal("0.01"),
        )
        request = entry_request(order, request_id or str(uuid.uuid4()))
        return (await self.engine.OpenHedgedPosition(request)).position

    async def _takes_entries(self) -> bool:
        status = (await self.engine.GetStatus(engine_pb2.GetStatusRequest())).status
        return status.reconciled

    async def enter(self, symbol: str, **options: Any) -> engine_pb2.HedgedPosition:
        """Enter a symbol and wait until the position rests."""
        return await self.settled(await self.open(symbol, **options))

    async def close(self, position: engine_pb2.HedgedPosition) -> engine_pb2.HedgedPosition:
        """Ask for the exit of a position; returns as soon as it is taken."""
        request = engine_pb2.CloseHedgedPositionRequest(
            request_id=str(uuid.uuid4()), position_id=position.position_id
        )
        return (await self.engine.CloseHedgedPosition(request)).position

    async def leave(self, position: engine_pb2.HedgedPosition) -> engine_pb2.HedgedPosition:
        """Close a position and wait for its end."""
        return await self.settled(await self.close(position))

    async def leave_all(self) -> list[engine_pb2.HedgedPosition]:
        """Close every position and wait for the end of each."""
        request = engine_pb2.CloseAllHedgedPositionsRequest(
            request_id=str(uuid.uuid4()), reason="end of the test"
        )
        closing = (await self.engine.CloseAllHedgedPositions(request)).positions
        return await asyncio.gather(*(self.settled(position) for position in closing))

    async def resume(self) -> None:
        """Allow entries again where an order was unknown for longer than the budget."""
        request = engine_pb2.ResumeRequest(request_id=str(uuid.uuid4()), reason="next test")
        await self.engine.Resume(request)

    async def reduce(
        self, position: engine_pb2.HedgedPosition, ratio: Decimal
    ) -> engine_pb2.HedgedPosition:
        """Reduce a position by a share and wait until it rests."""
        request = engine_pb2.ReduceHedgedPositionRequest(
            request_id=str(uuid.uuid4()),
            position_id=position.position_id,
            ratio=decimal_to_proto(ratio),
        )
        return await self.settled((await self.engine.ReduceHedgedPosition(request)).position)

    async def get(self, position_id: str) -> engine_pb2.HedgedPosition:
        """Read a position."""
        request = engine_pb2.GetHedgedPositionRequest(position_id=position_id)
        return (await self.engine.GetHedgedPosition(request)).position

    async def settled(
        self, position: engine_pb2.HedgedPosition, seconds: float = PATIENCE_SECONDS
    ) -> engine_pb2.HedgedPosition:
        """Wait until a position rests; fails with its whole text when it does not in time."""
        return await self._resting(position, asyncio.get_running_loop().time(), lambda: seconds)

    async def _resting(
        self, position: engine_pb2.HedgedPosition, began: float, bound: Callable[[], float]
    ) -> engine_pb2.HedgedPosition:
        while True:
            position = await self.get(position.position_id)
            if position.state in SETTLED_STATES:
                return position
            if asyncio.get_running_loop().time() - began > bound():
                raise AssertionError(f"not settled within {bound():.1f} s:\n{position}")
            await asyncio.sleep(POLL_SECONDS)

    async def until(
        self, holds: Callable[[], Awaitable[bool]], what: str, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Poll until the awaited condition holds; fails naming it when it does not in time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await holds():
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"it did not come about within {seconds:.0f} s: {what}")
            await asyncio.sleep(POLL_SECONDS)

    async def silence(self, name: str, seconds: float, **match: Any) -> None:
        """Hold back the order stream, which else tells of a fill whose reply is held or lost."""
        late = {"type": "event_late", "seconds": seconds}
        await self.fault(f"{name}-silent", late, operation="order_event", times=None, **match)

    async def assert_moving(self, *positions: engine_pb2.HedgedPosition) -> None:
        """Check that the engine is still at work on every one of these positions."""
        for position in await asyncio.gather(*(self.get(p.position_id) for p in positions)):
            assert position.state not in SETTLED_STATES, position

    async def until_struck(self, *names: str) -> None:
        """Wait until faults have struck: the calls they match have reached the venue."""

        async def struck() -> bool:
            rows = await self.control.get("faults")
            return set(names) <= {row["rule"]["id"] for row in rows if row["applied"]}

        await self.until(struck, f"faults {names} struck")

    async def until_executed(self, position: engine_pb2.HedgedPosition, *wanted: str) -> None:
        """Wait until the venue's books show executed orders of these classes."""

        async def executed() -> bool:
            rows = [r for r in await self.orders(position) if Decimal(r["executed"]) > 0]
            return set(wanted) <= set(classes(rows))

        await self.until(executed, f"{wanted} executed in {position.symbol}")

    async def kill(self, name: str) -> None:
        """SIGKILL a service and wait for its end."""
        self.stack.services[name].kill()
        await self.stack.services[name].wait_ended()

    async def crash(self, *names: str) -> float:
        """SIGKILL services, start them again, and return the loop's time when they serve.

        Recovery starts before that; how long an interpreter takes to load says nothing of it. The
        faults end with the kill, and new calls go through; what they hold stays held, and where
        that is longer the time is that of its end: nobody can know of it before.
        """
        for name in names:
            await self.kill(name)
        await self.control.delete("faults")
        await asyncio.gather(*(self.stack.restart(name) for name in names))
        return max(asyncio.get_running_loop().time(), self._held_until)

    async def settled_since(
        self, started: float, *positions: engine_pb2.HedgedPosition
    ) -> list[engine_pb2.HedgedPosition | AssertionError]:
        """Wait until all rest, at most the fence and 5 s from `started` (the loop's time).

        The 5 s are of an idle machine. A position that does not rest in time has its failure in its
        place, so that each case tells of itself.
        """
        async with measured_pace() as pace:
            waits = (self._settled_or_late(position, started, pace) for position in positions)
            return await asyncio.gather(*waits)

    async def _settled_or_late(
        self, position: engine_pb2.HedgedPosition, started: float, pace: Pace
    ) -> engine_pb2.HedgedPosition | AssertionError:
        try:
            return await self._resting(
                position, started, lambda: FENCE_SECONDS + pace.factor * RECOVERY_SECONDS
            )
        except AssertionError as late:
            return late

    async def assert_matched_or_flat(
        self, position: engine_pb2.HedgedPosition, before: Books
    ) -> Holding:
        """Check a resting position at the venue: legs cancel, and no id was sent twice there."""
        held = await self.holding(position.symbol, before)
        market = await self.market(position.symbol)
        bound = market.larger_lot + await self._dust(position)
        assert abs(held.net) < bound, f"net {held.net}, bound {bound}:\n{position}"
        assert (await self.books()).duplicate_ids == ()
        if position.state != OPEN:
            assert abs(held.spot) < bound, position
            assert held.perpetual == 0, position
        return held

    async def _dust(self, position: engine_pb2.HedgedPosition) -> Decimal:
        """Return the dust the position declares; it must be too small for the venue to trade."""
        dust = abs(decimal_from_proto(position, "dust_quantity") or _ZERO)
        worst = [order.worst_price.value for order in position.orders]
        prices = [Decimal(price) for price in worst if price]
        assert dust * min(prices, default=_ZERO) < _MIN_NOTIONAL, position
        return dust


@contextlib.asynccontextmanager
async def running_stack(
    folder: Path, options: StackOptions | None = None
) -> AsyncIterator[StackDriver]:
    """Start the whole system under `folder`; stops it at the end."""
    stack = LocalStack(folder, options or stack_options())
    try:
        await stack.start()
        async with engine_client(stack.arb_settings().engine) as engine:
            yield StackDriver(stack, engine)
    finally:
        await stack.stop()


def in_time(
    outcome: engine_pb2.HedgedPosition | AssertionError,
) -> engine_pb2.HedgedPosition:
    """Return a position that came to rest in time; raises the failure of one that did not."""
    if isinstance(outcome, AssertionError):
        raise outcome
    return outcome


def _rows_of(
    position: engine_pb2.HedgedPosition, rows: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    # A client order id is the position's id, then one letter for the leg and one for the class.
    return [row for row in rows if row["client_order_id"].startswith(position.position_id)]


def classes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what each order of ours was for: entry, hedge, unwind or exit."""
    names = {"e": "entry", "h": "hedge", "u": "unwind", "x": "exit"}
    return [names[row["client_order_id"][17]] for row in rows]
