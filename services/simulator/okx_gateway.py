"""OKX's REST surface over the same simulation: signatures, limits, envelopes, faults.

Sources: OKX API v5 "REST Authentication", "Rate Limits", "Transaction Timeouts". Each endpoint has
a limit of its own in two seconds: of public ones by address, of signed ones by key, of some by
instrument besides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from services.simulator.core.accounts import Account
from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.faults import Call, HttpStatus, RateLimit, Reject, Stage
from services.simulator.core.limits import WindowCounter
from services.simulator.dialects import okx_account, okx_funding, okx_market, okx_trade
from services.simulator.dialects.binance_common import encode
from services.simulator.dialects.context import Context, Endpoint, Routes, Security
from services.simulator.dialects.okx_common import (
    FIRST_ORDER_CODE,
    VENUES,
    product_of_name,
    refusal,
    symbol_of,
    translate,
)
from services.simulator.dialects.okx_order_request import BATCH, batch_params, to_params
from services.simulator.dialects.params import Params
from services.simulator.gateway import Plan, Reply, Request
from services.simulator.simulation import Arrival, Simulation

ROUTES: Final[Routes] = {
    **okx_market.ROUTES,
    **okx_funding.ROUTES,
    **okx_trade.ROUTES,
    **okx_account.ROUTES,
}
PREFIX: Final = "/api/v5/"
LIMIT_SECONDS: Final = 2
_STAMP_LIFE: Final = timedelta(seconds=30)
_DEFAULT_STATUS: Final = 400
_BY_INSTRUMENT: Final = frozenset(
    {
        "/api/v5/trade/order",
        "/api/v5/trade/cancel-order",
        "/api/v5/public/funding-rate-history",
    }
)


# Not frozen: the counters inside grow.
@dataclass(slots=True)
class OkxLimits:
    """Requests of one caller to one endpoint in two seconds."""

    is_enabled: bool = True
    scale: float = 1.0
    _counters: dict[tuple[str, str], WindowCounter] = field(default_factory=dict)

    def is_over(self, now: float, caller: str, path: str, limit: int) -> bool:
        """Count a request and tell whether it is one too many."""
        counter = self._counters.setdefault((caller, path), WindowCounter())
        return self.is_enabled and counter.add(now, LIMIT_SECONDS) > limit * self.scale


def parse_params(request: Request) -> Params:
    """Return the parameters: the query of a GET, the JSON object or list of a POST."""
    if request.method != "POST":
        return Params.parse(request.query, "")
    try:
        body: Any = json.loads(request.body or "{}")
    except ValueError:
        return Params({})
    if isinstance(body, list):
        return Params({BATCH: request.body})
    return to_params(body) if isinstance(body, dict) else Params({})


class OkxGateway:
    """Receives and handles requests under /api/v5/."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._limits = OkxLimits(simulation.limits.is_enabled, simulation.limits.scale)

    def receive(self, request: Request) -> Plan:
        """Look the endpoint up, draw the faults, note arriving orders."""
        endpoint = ROUTES.get((request.method, request.path))
        params = parse_params(request)
        if endpoint is None:
            return Plan(request, None, params, (), ())
        orders = _rows_of(params)
        call = _call(request, endpoint, orders[0])
        actions = tuple(self._simulation.faults.actions(Stage.REQUEST, call))
        arrivals = self._arrivals(request, orders) if endpoint.orders else ()
        return Plan.of_call(request, endpoint, params, actions, arrivals)

    def handle(self, plan: Plan) -> Reply:
        """Let the venue act on a received request and return its answer."""
        endpoint = plan.endpoint
        if endpoint is None:
            body = encode({"msg": "Invalid Url", "code": "404", "data": []})
            return Reply(404, body)
        refused = self._refusal(plan, endpoint)
        return plan.settle(refused, lambda: self._answer(plan, endpoint))

    def _refusal(self, plan: Plan, endpoint: Endpoint) -> Reply | None:
        for action in plan.actions:
            if isinstance(action, HttpStatus) and action.when == "before":
                return Reply(action.status, action.body.encode())
            if isinstance(action, Reject):
                return _rejection(action, plan.params, endpoint)
            if isinstance(action, RateLimit):
                headers = {"Retry-After": str(action.retry_after)}
                return Reply(action.status, encode(refusal(50011, "Too Many Requests")), headers)
        return None

    def _answer(self, plan: Plan, endpoint: Endpoint) -> Reply:
        request, simulation = plan.request, self._simulation
        now = simulation.wire.now()
        try:
            caller, name = None, request.address
            if endpoint.security is Security.SIGNED:
                caller = self._authenticate(request, now)
                name = caller.api_key
            limit = endpoint.weight_of(plan.params)
            if request.path in _BY_INSTRUMENT:
                name += f" {plan.params.text('instId')}"
            # A path may be asked and told: placing and asking have limits of their own.
            path = f"{request.method} {request.path}"
            if self._limits.is_over(now.timestamp(), name, path, limit):
                raise VenueError(50011, "Too Many Requests", 429)
            if endpoint.orders:
                _check_deadline(request.headers.get("exptime"), millis(now))
            value = endpoint.handler(Context(simulation, plan.params, caller))
        except VenueError as error:
            told = translate(error)
            return Reply(told.status, encode(refusal(told.code, told.message)))
        return Reply(200, value if isinstance(value, bytes) else encode(value))

    def _authenticate(self, request: Request, now: datetime) -> Account:
        sent = {
            name: request.headers.get(f"ok-access-{name}", "")
            for name in ("key", "sign", "timestamp", "passphrase")
        }
        for number, (name, value) in enumerate(sent.items()):
            if not value:
                words = f'Request header "OK-ACCESS-{name.upper()}" can not be empty.'
                raise VenueError((50103, 50106, 50107, 50104)[number], words, 401)
        account = self._simulation.exchange.accounts.by_key(sent["key"])
        if account is None:
            raise VenueError(50111, "Invalid OK-ACCESS-KEY", 401)
        _check_stamp(sent["timestamp"], now)
        query = f"?{request.query}" if request.query else ""
        signed = sent["timestamp"] + request.method + request.path + query + request.body
        if not is_signed(account, signed, sent["sign"]):
            raise VenueError(50113, "Invalid Sign", 401)
        if account.passphrase and not _is_same(account.passphrase, sent["passphrase"]):
            raise VenueError(50105, 'Request header "OK-ACCESS-PASSPHRASE" incorrect.', 401)
        return account

    def _arrivals(self, request: Request, orders: list[Params]) -> tuple[Arrival, ...]:
        key = request.headers.get("ok-access-key", "")
        account = self._simulation.exchange.accounts.by_key(key)
        name = "" if account is None else account.name
        return tuple(
            self._simulation.arrive(_venue(order), name, {**order.values, **_known(request, order)})
            for order in orders
        )


def is_signed(account: Account, signed: str, sign: str) -> bool:
    """Tell whether `sign` is the account's HMAC-SHA256 of `signed`, in base64."""
    made = hmac.new(account.api_secret.encode(), signed.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(made), sign.encode())


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _check_stamp(text: str, now: datetime) -> None:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        raise VenueError(50112, "Invalid OK-ACCESS-TIMESTAMP", 401) from None
    if stamp.tzinfo is None or abs(now - stamp) > _STAMP_LIFE:
        raise VenueError(50102, "Timestamp request expired", 401)


def _check_deadline(text: str | None, now: int) -> None:
    if text is None:
        return
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise VenueError(51000, "Parameter expTime error", 400)
    if int(text) < now:
        words = "The expTime can't be earlier than the current system time."
        raise VenueError(50036, words, 200)


def _rows_of(params: Params) -> list[Params]:
    if BATCH not in params.values:
        return [params]
    try:
        return batch_params(params)
    except VenueError:
        return [Params({})]


def _venue(params: Params) -> str:
    name = params.text("instId") or params.text("instType") or ""
    return VENUES[product_of_name(name if "-" in name else f"-{name}")]


def _known(request: Request, order: Params) -> dict[str, str]:
    # Under the names that the control endpoint shows for every family of venues.
    return {
        "newClientOrderId": order.text("clOrdId") or "",
        "symbol": symbol_of(order.text("instId") or ""),
        "side": (order.text("side") or "").upper(),
        "expTime": request.headers.get("exptime", ""),
    }


def _call(request: Request, endpoint: Endpoint, params: Params) -> Call:
    name, side = params.text("instId"), params.text("side")
    return Call(
        _venue(params),
        endpoint.operation,
        request.method,
        request.path,
        None if name is None else symbol_of(name),
        None if side is None else side.upper(),
        (params.text("reduceOnly") == "true") if endpoint.orders else None,
    )


def _rejection(action: Reject, params: Params, endpoint: Endpoint) -> Reply:
    """Refuse as a rule says: in the row of the order where the code is about orders."""
    is_of_order = action.code >= FIRST_ORDER_CODE and endpoint.operation.endswith(
        ("place_order", "cancel_order")
    )
    if not is_of_order:
        return Reply(action.status, encode(refusal(action.code, action.msg)))
    row = {
        "clOrdId": params.text("clOrdId") or "",
        "ordId": "",
        "tag": "",
        "sCode": str(action.code),
        "sMsg": action.msg,
    }
    # The rule's default is Binance's status; this venue refuses orders with 200.
    status = 200 if action.status == _DEFAULT_STATUS else action.status
    return Reply(status, encode({"code": "1", "data": [row], "msg": "All operations failed"}))
