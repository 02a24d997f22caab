"""The control endpoint: clock, faults, accounts, forced events, and the books of record."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.common.settings import is_loopback
from services.simulator.core.accounts import AccountSeed
from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.faults import FaultRule
from services.simulator.core.orders import PositionSide
from services.simulator.dialects.binance_common import encode
from services.simulator.records import (
    balance_records,
    income_records,
    order_records,
    position_records,
    request_records,
    trade_records,
)
from services.simulator.simulation import Simulation
from services.simulator.ws import StreamHandlers

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_RULES = TypeAdapter(list[FaultRule])
Amount = Annotated[Decimal, Field(ge=0)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClockBody(_Body):
    """Change of the market clock: a new speed, a jump ahead, or both."""

    speed: Decimal | None = None
    advance_seconds: Annotated[float, Field(ge=0)] | None = None


class AccountBody(_Body):
    """Balances to set; a name nobody has opens a new account and needs its keys."""

    name: str
    api_key: str | None = None
    api_secret: str | None = None
    spot: dict[str, Amount] = {}
    margin: dict[str, Amount] = {}
    futures: dict[str, Amount] = {}


class ForcedBody(_Body):
    """A position to close by force, whole unless a quantity is given, at mark unless at a price."""

    account: str
    symbol: str
    position_side: PositionSide = PositionSide.BOTH
    quantity: Annotated[Decimal, Field(gt=0)] | None = None
    price: Annotated[Decimal, Field(gt=0)] | None = None


class ControlHandlers:
    """Handlers under /control, guarded by a token where one is set."""

    def __init__(
        self,
        simulation: Simulation,
        streams: StreamHandlers,
        token: str | None,
        mirror: Callable[[], object] | None = None,
    ) -> None:
        self._simulation = simulation
        self._mirror = mirror
        self._streams = streams
        self._token = token

    def register(self, application: web.Application) -> None:
        """Add the routes."""
        routes: dict[tuple[str, str], Callable[[web.Request], Awaitable[object]]] = {
            ("GET", "clock"): self._get_clock,
            ("POST", "clock"): self._set_clock,
            ("GET", "faults"): self._get_faults,
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "accounts"): self._set_account,
            ("GET", "streams"): self._get_streams,
            ("POST", "streams/cut"): self._cut_streams,
            # what the venue does by itself, on command: tests need not wait for the market
            ("POST", "liquidate"): self._liquidate,
            ("POST", "adl"): self._deleverage,
        }
        mirror = self._mirror
        if mirror is not None:
            routes["GET", "mirror"] = self._records(lambda _: mirror())
        for name, records in (
            ("orders", order_records),
            ("trades", trade_records),
            ("positions", position_records),
            ("balances", balance_records),
            ("income", income_records),
            ("requests", request_records),
        ):
            routes["GET", name] = self._records(records)
        for (method, name), handler in routes.items():
            application.router.add_route(method, f"/control/{name}", self._guarded(handler))

    def _guarded(self, handler: Callable[[web.Request], Awaitable[object]]) -> _Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            expected = f"Bearer {self._token}"
            sent = request.headers.get("Authorization", "")
            if self._token and not hmac.compare_digest(expected.encode(), sent.encode()):
                return web.json_response({"error": "control token missing or wrong"}, status=401)
            # a published port must not let strangers turn the clock or arm faults
            if not self._token and not is_loopback(request.remote or ""):
                return web.json_response({"error": "off loopback a token is needed"}, status=403)
            try:
                value = await handler(request)
            except ValidationError as error:
                problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
                return web.json_response({"error": "; ".join(problems)}, status=400)
            except (ValueError, KeyError, VenueError) as error:
                return web.json_response({"error": str(error)}, status=400)
            return web.Response(body=encode(value), content_type="application/json")

        return guarded

    def _records(
        self, records: Callable[[Simulation], object]
    ) -> Callable[[web.Request], Awaitable[object]]:
        async def answer(_: web.Request) -> object:
            self._simulation.exchange.advance()
            return records(self._simulation)

        return answer

    async def _get_clock(self, _: web.Request) -> object:
        clock = self._simulation.clock
        return {
            "market_time": millis(clock.now()),
            "wire_time": millis(self._simulation.wire.now()),
            "speed": str(clock.speed),
        }

    async def _set_clock(self, request: web.Request) -> object:
        body = ClockBody.model_validate_json(await request.text())
        clock = self._simulation.clock
        if body.speed is not None:
            clock.set_speed(body.speed)
        if body.advance_seconds is not None:
            clock.jump(timedelta(seconds=body.advance_seconds))
        # a jump is felt at once, not at the next tick
        self._simulation.exchange.advance()
        return await self._get_clock(request)

    async def _get_faults(self, _: web.Request) -> object:
        return self._simulation.faults.counts()

    async def _add_faults(self, request: web.Request) -> object:
        self._simulation.faults.add(_RULES.validate_json(await request.text()))
        return self._simulation.faults.counts()

    async def _clear_faults(self, _: web.Request) -> object:
        self._simulation.faults.clear()
        return []

    async def _get_streams(self, _: web.Request) -> object:
        return {"connections": self._streams.count, "user_streams": self._streams.user_count}

    async def _cut_streams(self, _: web.Request) -> object:
        return {"cut": self._streams.cut_all()}

    async def _liquidate(self, request: web.Request) -> object:
        return self._force(await request.text(), is_liquidation=True)

    async def _deleverage(self, request: web.Request) -> object:
        return self._force(await request.text(), is_liquidation=False)

    def _force(self, text: str, *, is_liquidation: bool) -> object:
        body = ForcedBody.model_validate_json(text)
        exchange = self._simulation.exchange
        exchange.advance()
        order = exchange.liquidation.close(
            exchange.accounts.by_name(body.account),
            body.symbol,
            body.position_side,
            is_liquidation=is_liquidation,
            quantity=body.quantity,
            price=body.price,
        )
        return {"order_id": order.order_id, "client_order_id": order.request.client_order_id}

    async def _set_account(self, request: web.Request) -> object:
        body = AccountBody.model_validate_json(await request.text())
        accounts = self._simulation.exchange.accounts
        known = {account.name: account for account in accounts.all()}
        account = known.get(body.name)
        key = body.api_key or (account.api_key if account else None)
        secret = body.api_secret or (account.api_secret if account else None)
        if key is None or secret is None:
            raise ValueError("a new account needs api_key and api_secret")
        accounts.add(AccountSeed(body.name, key, secret, body.spot, body.margin, body.futures))
        return {"name": body.name}
