"""One engine over the connectors of three families of venues, the simulator's books as witness.

Each venue has an account of its own, so that no two legs net in one position, and the accounts hold
coins of the user's own, which nothing here may touch.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
from pydantic import SecretStr

from cli.trading import SETTLED_STATES, EntryOrder, entry_request
from opensqt.market_maker.v1 import (
    engine_pb2,
    engine_pb2_grpc,
    exchange_pb2,
    risk_pb2,
    risk_pb2_grpc,
)
from services.common.codec import decimal_to_proto
from services.common.metrics import ServiceMetrics
from services.common.settings import VenueSettings
from services.engine.bootstrap import engine_server
from services.engine.settings import EngineSettings
from tests.support.connector import connector_part, eventually, running_connector
from tests.support.simulator import Control, ccxt_exchange, running_simulator, simulator_settings
from tests.support.stack import classes

LONG, SHORT = engine_pb2.LEG_SIDE_LONG, engine_pb2.LEG_SIDE_SHORT
OPEN = engine_pb2.HEDGED_POSITION_STATE_OPEN
CLOSED = engine_pb2.HEDGED_POSITION_STATE_CLOSED
FLAT = engine_pb2.HEDGED_POSITION_STATE_FLAT
SPOT_VENUES = ("binance", "okx-spot", "bybit-spot")
VENUES = (*SPOT_VENUES, "binanceusdm", "okx-swap", "bybit-linear")
OWN_COINS = {"BTC": "0.5", "ETH": "3.21", "PEPE": "1234567", "DOGE": "77.7", "XRP": "10.1"}
"""Coins of the user's own in each spot wallet, of symbols that are traded here."""
SETTLE_SECONDS = 20.0
ZERO = Decimal(0)
_DUST_BOUND = Decimal(100)
"""No venue here has a higher minimum notional: dust is worth less."""


@dataclass(frozen=True, slots=True)
class Held:
    """What both accounts gained in a symbol since a snapshot, signed, in single coins."""

    long: Decimal
    short: Decimal

    @property
    def net(self) -> Decimal:
        """Exposure of both legs together."""
        return self.long + self.short


@dataclass(frozen=True, slots=True)
class PairRig:
    """A running engine, a stub of each connector, and the witness."""

    engine: Any
    risk: Any
    control: Control
    connectors: Mapping[str, Any]

    async def lot(self, venue: str, symbol: str) -> Decimal:
        """Return a venue's lot of a symbol in single coins."""
        request = exchange_pb2.GetSymbolInfoRequest(symbol=symbol)
        info = await self.connectors[venue].GetSymbolInfo(request)
        return Decimal(info.step_size.value)

    async def fault(
        self, name: str, action: dict[str, Any], venue: str, side: str | None = None, **match: Any
    ) -> None:
        """Arm a fault on the placing of orders at a venue, once unless told otherwise."""
        conditions = {"operation": "place_order", "venue": venue, "times": 1, **match}
        if side is not None:
            conditions["side"] = side
        conditions = {key: value for key, value in conditions.items() if value is not None}
        await self.control.post("faults", [{"id": name, "match": conditions, "action": action}])

    async def partial(self, name: str, ratio: str, venue: str, side: str, **match: Any) -> None:
        """Let one order of a venue and side fill for a share of its quantity only."""
        await self.fault(name, {"type": "partial", "ratio": ratio}, venue, side, **match)

    async def books(self, long: str, short: str, symbol: str) -> Held:
        """Return what both accounts hold of a symbol; margin debts count below zero."""
        balances = {row["account"]: row for row in await self.control.get("balances")}
        positions = await self.control.get("positions")
        base = symbol.removesuffix("USDT")
        held = []
        for venue in (long, short):
            coins = balances[venue]
            total = sum(
                sign * Decimal(coins[wallet].get(base, 0))
                for wallet, sign in (("spot", 1), ("margin", 1), ("owed", -1))
            )
            for row in positions:
                name = row["symbol"].removesuffix("USDT")
                multiplier = name.removesuffix(base)
                if row["account"] == venue and name.endswith(base) and is_multiplier(multiplier):
                    total += Decimal(row["quantity"]) * Decimal(multiplier or 1)
            held.append(Decimal(total))
        return Held(*held)

    async def enter(
        self, long: str, short: str, symbol: str, **fields: Any
    ) -> engine_pb2.HedgedPosition:
        """Enter and wait until the position rests; the notional is 4,000 and the long leg leads."""
        return await self.settled((await self.open(long, short, symbol, **fields)).position_id)

    async def open(
        self, long: str, short: str, symbol: str, **fields: Any
    ) -> engine_pb2.HedgedPosition:
        """Enter; returns as soon as the engine has taken it."""
        values = {
            "symbol": symbol,
            "long_leg": leg_of(long),
            "short_leg": leg_of(short),
            "notional": Decimal(4_000),
            "lead_leg": LONG,
            "slippage_bound_ratio": Decimal("0.01"),
            **fields,
        }
        order = EntryOrder(**values)
        taken = await self.engine.OpenHedgedPosition(entry_request(order, str(uuid.uuid4())))
        position: engine_pb2.HedgedPosition = taken.position
        return position

    async def get(self, position_id: str) -> engine_pb2.HedgedPosition:
        """Read a position."""
        request = engine_pb2.GetHedgedPositionRequest(position_id=position_id)
        found: engine_pb2.HedgedPosition = (await self.engine.GetHedgedPosition(request)).position
        return found

    async def settled(self, position_id: str) -> engine_pb2.HedgedPosition:
        """Wait until a position rests; fails with its whole text when it does not in time."""
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            found = await self.get(position_id)
            if found.state in SETTLED_STATES:
                return found
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"not settled within {SETTLE_SECONDS} s:\n{found}")
            await asyncio.sleep(0.02)

    async def leave(self, position: engine_pb2.HedgedPosition) -> engine_pb2.HedgedPosition:
        """Close a position and wait for its end."""
        request = engine_pb2.CloseHedgedPositionRequest(
            request_id=str(uuid.uuid4()), position_id=position.position_id
        )
        await self.engine.CloseHedgedPosition(request)
        return await self.settled(position.position_id)

    async def reduce(
        self, position: engine_pb2.HedgedPosition, ratio: str
    ) -> engine_pb2.HedgedPosition:
        """Reduce a position by a share and wait until it rests."""
        request = engine_pb2.ReduceHedgedPositionRequest(
            request_id=str(uuid.uuid4()),
            position_id=position.position_id,
            ratio=decimal_to_proto(Decimal(ratio)),
        )
        await self.engine.ReduceHedgedPosition(request)
        return await self.settled(position.position_id)

    async def leave_all(self) -> list[engine_pb2.HedgedPosition]:
        """Close every position and wait for the end of each."""
        request = engine_pb2.CloseAllHedgedPositionsRequest(
            request_id=str(uuid.uuid4()), reason="end of the test"
        )
        closing = (await self.engine.CloseAllHedgedPositions(request)).positions
        return await asyncio.gather(*(self.settled(one.position_id) for one in closing))

    async def resume(self) -> None:
        """Allow entries again where an order was unknown for longer than the budget."""
        request = engine_pb2.ResumeRequest(request_id=str(uuid.uuid4()), reason="next test")
        await self.engine.Resume(request)

    async def compared(self) -> None:
        """Have ledger and venues compared twice; what they find is booked when this returns."""
        for _ in range(2):
            started = await self.risk.TriggerReconciliation(risk_pb2.TriggerReconciliationRequest())
            asked = risk_pb2.GetReconciliationStatusRequest(
                reconciliation_id=started.reconciliation_id
            )

            async def is_done(asked: Any = asked) -> bool:
                return bool((await self.risk.GetReconciliationStatus(asked)).status == "completed")

            await eventually(is_done, SETTLE_SECONDS)

    async def until_struck(self, name: str) -> None:
        """Wait until a fault has met a call."""

        async def struck() -> bool:
            rows = await self.control.get("faults")
            return any(row["rule"]["id"] == name and row["applied"] for row in rows)

        await eventually(struck, SETTLE_SECONDS)

    async def borrow(self, asset: str, amount: str) -> None:
        """Borrow coins on margin at Binance by the user's own hand, which then lie there."""
        address, keys = self.control.address, ("key-binance", "secret-binance")
        async with ccxt_exchange("binance", address, keys=keys) as exchange:
            await exchange.sapi_post_margin_borrow_repay(
                {"asset": asset, "amount": amount, "type": "BORROW", "isIsolated": "FALSE"}
            )

    async def orders(self, position: engine_pb2.HedgedPosition) -> list[dict[str, Any]]:
        """Return the orders of a position that the venues accepted, oldest first."""
        rows = await self.control.get("orders")
        return [row for row in rows if row["client_order_id"].startswith(position.position_id)]

    async def assert_no_id_twice(self) -> None:
        """Check that no client order id has reached any venue twice."""
        ids = [row["client_order_id"] for row in await self.control.get("requests")]
        assert len(ids) == len(set(ids))

    async def assert_matched(
        self, position: engine_pb2.HedgedPosition, before: Held, now: Held
    ) -> None:
        """Check the net delta by the venues' books: under the larger lot plus booked dust."""
        long, short = position.long_leg.instrument, position.short_leg.instrument
        lots = [await self.lot(one.exchange, position.symbol) for one in (long, short)]
        dust = abs(decimal_of(position.dust_quantity))
        net = now.net - before.net
        assert abs(net) < max(lots) + dust, f"net {net}, lots {lots}, dust {dust}:\n{position}"
        # What is booked must be too small to trade, else anything could be booked.
        prices = [
            Decimal(one.worst_price.value) for one in position.orders if one.worst_price.value
        ]
        assert dust * min(prices, default=ZERO) < _DUST_BOUND, position

    async def assert_left(
        self, position: engine_pb2.HedgedPosition, before: Held, after: Held
    ) -> None:
        """Check that nothing is left of each leg: two rests that cancel would be left behind."""
        await self.assert_matched(position, before, after)
        long, short = position.long_leg.instrument, position.short_leg.instrument
        lots = [await self.lot(one.exchange, position.symbol) for one in (long, short)]
        most = max(lots) + abs(decimal_of(position.dust_quantity))
        for left in (after.long - before.long, after.short - before.short):
            assert abs(left) < most, position
        await self.assert_no_id_twice()


def order_classes(position: engine_pb2.HedgedPosition) -> list[str]:
    """Return what each order of a position was for, oldest first."""
    return classes([{"client_order_id": one.client_order_id} for one in position.orders])


def order_counts(position: engine_pb2.HedgedPosition) -> str:
    """Return how many orders there were, as the tables tell it: lead/hedge/unwind/exit."""
    counts = Counter(order_classes(position))
    return "/".join(str(counts[name]) for name in ("entry", "hedge", "unwind", "exit"))


def state_word(position: engine_pb2.HedgedPosition) -> str:
    """Return the state of a position in a word."""
    return engine_pb2.HedgedPositionState.Name(position.state).rsplit("_", 1)[1].lower()


def seen_row(
    what: str, pair: tuple[str, str, str], position: engine_pb2.HedgedPosition
) -> list[str]:
    """Return the row of the table of what entries and exits met."""
    dust = plain(decimal_of(position.dust_quantity))
    return [what, " x ".join(pair[:2]), pair[2], order_counts(position), dust, state_word(position)]


def is_multiplier(text: str) -> bool:
    """Tell whether a name's head is how many coins a contract unit has; empty is one."""
    return text == "" or text.isdigit()


def decimal_of(field: Any) -> Decimal:
    """Return the number in a wire decimal, zero where it is absent."""
    return Decimal(field.value or 0)


def plain(number: Decimal) -> str:
    """Return a number without exponent and trailing zeros."""
    return f"{number.normalize():f}"


def kind_of(venue: str) -> str:
    """Return what a venue trades."""
    return "spot" if venue in SPOT_VENUES else "perpetual"


def leg_of(venue: str) -> str:
    """Return a leg as a request names it."""
    return f"{venue}:{kind_of(venue)}"


def account_settings(venue: str) -> dict[str, Any]:
    """Return the account of a venue: rich in USDT, with coins of the user's own."""
    funds = {"USDT": Decimal(1_000_000)}
    own = {asset: Decimal(amount) for asset, amount in OWN_COINS.items()}
    return {
        "name": venue,
        "api_key": f"key-{venue}",
        "api_secret": f"secret-{venue}",
        "spot": {**funds, **(own if venue in SPOT_VENUES else {})},
        "margin": funds,
        "futures": funds,
    }


@contextlib.asynccontextmanager
async def running_pairs(
    folder: Path,
    venues: tuple[str, ...] = VENUES,
    *,
    accounts: Mapping[str, Mapping[str, Any]] | None = None,
    simulator: Mapping[str, Any] | None = None,
    **engine: Any,
) -> AsyncIterator[PairRig]:
    """Run simulator, connectors and engine; `engine` are tables of the engine's settings.

    `accounts` replaces wallets of an account by venue, `simulator` tables of the simulator's.
    """
    changed = accounts or {}
    tables: dict[str, Any] = {
        # In mid-hour: no funding falls due. A file of tests sends more than a minute is for.
        "market": {"symbol_count": 27, "seed": 7, "start": "2026-03-20T00:05:00Z"},
        "rules": {"tick_seconds": 0.02, "processing_bound_seconds": 0.3, "limit_scale": 20},
        **(simulator or {}),
    }
    rows = [{**account_settings(venue), **changed.get(venue, {})} for venue in venues]
    async with contextlib.AsyncExitStack() as stack:
        settings = simulator_settings(accounts=rows, **tables)
        application = await stack.enter_async_context(running_simulator(settings))
        stubs, listed = {}, []
        for venue in venues:
            part = connector_part(
                venue,
                application.address,
                folder,
                api_key=SecretStr(f"key-{venue}"),
                api_secret=SecretStr(f"secret-{venue}"),
                allowance_scale=20,
            )
            connector = await stack.enter_async_context(running_connector(part))
            stubs[venue] = connector.stub
            listed.append(VenueSettings(name=venue, kind=kind_of(venue), address=connector.address))
        engine_settings = EngineSettings(
            journal_path=folder / "journal.db",
            venues=tuple(listed),
            metrics={"port": 0},
            **{"limits": {"max_total_notional": 1_000_000}, **engine},
        )
        server = await stack.enter_async_context(
            engine_server(engine_settings, ServiceMetrics("engine"))
        )
        await stack.enter_async_context(server)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
        stub = engine_pb2_grpc.EngineServiceStub(channel)
        risk = risk_pb2_grpc.RiskServiceStub(channel)
        yield PairRig(stub, risk, Control(application.address), stubs)
