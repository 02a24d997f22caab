"""Bybit's REST surface over the same simulation: signatures, limits, envelopes, faults.

Sources: Bybit V5 "Integration Guidance" (headers, signature, recv_window) and "Rate Limit Rules".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from services.simulator.core.accounts import Account
from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.faults import Call, HttpStatus, RateLimit, Reject, Stage
from services.simulator.core.limits import WindowCounter
from services.simulator.dialects import bybit_account, bybit_market, bybit_trade
from services.simulator.dialects.binance_common import encode
from services.simulator.dialects.bybit_common import envelope, refusal, translate
from services.simulator.dialects.context import Context, Endpoint, Routes, Security
from services.simulator.dialects.params import Params
from services.simulator.gateway import Plan, Reply, Request
from services.simulator.simulation import Arrival, Simulation

ROUTES: Final[Routes] = {
    **bybit_market.ROUTES,
    **bybit_trade.ROUTES,
    **bybit_account.ROUTES,
}
PREFIX: Final = "/v5/"
AHEAD: Final = 1000
_ADDRESS_LIMIT: Final = (600, 5)
_READS_PER_SECOND: Final = 50
# Orders, cancels and cancels of all: per account and second, by category.
_WRITES_PER_SECOND: Final = {"spot": 20, "linear": 10}


# Not frozen: the counters inside grow.
@dataclass(slots=True)
class BybitLimits:
    """Requests per address in five seconds, and per account, endpoint and category in one."""

    is_enabled: bool = True
    scale: float = 1.0
    _counters: dict[tuple[str, ...], WindowCounter] = field(default_factory=dict)

    def is_address_over(self, now: float, address: str) -> bool:
        """Count a request and tell whether its address has sent too many."""
        limit, seconds = _ADDRESS_LIMIT
        used = self._counters.setdefault((address,), WindowCounter()).add(now, seconds)
        return self.is_enabled and used > limit * self.scale

    def charge(self, now: float, key: str, path: str, category: str) -> tuple[bool, dict[str, str]]:
        """Count a signed request; return whether it is too many, and the headers that tell."""
        writes = path.startswith("/v5/order/c")
        limit = _WRITES_PER_SECOND.get(category, 10) if writes else _READS_PER_SECOND
        counter = self._counters.setdefault((key, path, category), WindowCounter())
        used, allowed = counter.add(now, 1), round(limit * self.scale)
        headers = {
            "X-Bapi-Limit": str(allowed),
            "X-Bapi-Limit-Status": str(max(0, allowed - used)),
            "X-Bapi-Limit-Reset-Timestamp": str((int(now) + 1) * 1000),
        }
        return self.is_enabled and used > allowed, headers


def parse_params(request: Request) -> Params:
    """Return the parameters: the query of a GET, the JSON object of a POST."""
    if request.method != "POST":
        return Params.parse(request.query, "")
    try:
        rows: Any = json.loads(request.body or "{}")
    except ValueError:
        rows = None
    values = rows if isinstance(rows, dict) else {}
    return Params({str(name): _text(value) for name, value in values.items()})


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


class BybitGateway:
    """Receives and handles requests under /v5/."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        limits = simulation.limits
        self._limits = BybitLimits(limits.is_enabled, limits.scale)

    def receive(self, request: Request) -> Plan:
        """Look the endpoint up, draw the faults, note an arriving order."""
        endpoint = ROUTES.get((request.method, request.path))
        params = parse_params(request)
        if endpoint is None:
            return Plan(request, None, params, (), ())
        call = _call(request, endpoint, params)
        actions = tuple(self._simulation.faults.actions(Stage.REQUEST, call))
        arrivals = self._arrivals(request, endpoint, params)
        return Plan.of_call(request, endpoint, params, actions, arrivals)

    def handle(self, plan: Plan) -> Reply:
        """Let the venue act on a received request and return its answer."""
        endpoint = plan.endpoint
        if endpoint is None:
            return Reply(404, b"404 page not found", {}, "text/plain")
        return plan.settle(self._refusal(plan), lambda: self._answer(plan, endpoint))

    def _refusal(self, plan: Plan) -> Reply | None:
        now = self._simulation.wire.now()
        for action in plan.actions:
            if isinstance(action, HttpStatus) and action.when == "before":
                return Reply(action.status, action.body.encode())
            if isinstance(action, Reject):
                # The rule's default is Binance's status; this venue refuses with 200.
                status = 200 if action.status == 400 else action.status
                return Reply(status, encode(refusal(now, action.code, action.msg)))
            if isinstance(action, RateLimit):
                # An address over its limit is shut out with 403; 429 guards the whole system.
                status = 403 if action.status == 418 else action.status
                headers = {"Retry-After": str(action.retry_after)}
                body = encode(refusal(now, 10006, "Too many visits!"))
                return Reply(status, body, headers)
        return None

    def _answer(self, plan: Plan, endpoint: Endpoint) -> Reply:
        request, simulation = plan.request, self._simulation
        now = simulation.wire.now()
        if self._limits.is_address_over(now.timestamp(), request.address):
            return Reply(403, b"403, access too frequent", {}, "text/plain")
        headers: dict[str, str] = {}
        category = plan.params.text("category")
        try:
            caller = None
            if endpoint.security is Security.SIGNED:
                caller = self._authenticate(request, now)
                is_over, headers = self._limits.charge(
                    now.timestamp(), caller.api_key, request.path, category or ""
                )
                if is_over:
                    raise VenueError(10006, "Too many visits!", 200)
            value = endpoint.handler(Context(simulation, plan.params, caller))
        except VenueError as error:
            told = translate(error, category)
            body = encode(refusal(now, told.code, told.message))
            return Reply(told.status, body, headers)
        return Reply(200, _success(now, value), headers)

    def _authenticate(self, request: Request, now: datetime) -> Account:
        sent = request.headers
        key, stamp = sent.get("x-bapi-api-key", ""), sent.get("x-bapi-timestamp", "")
        window, sign = sent.get("x-bapi-recv-window", "5000"), sent.get("x-bapi-sign", "")
        if not (key and stamp and sign):
            raise VenueError(10001, "authentication headers are missing", 401)
        account = self._simulation.exchange.accounts.by_key(key)
        if account is None:
            raise VenueError(10003, "API key is invalid.", 200)
        _check_stamp(millis(now), stamp, window)
        signed = stamp + key + window + (request.body or request.query)
        expected = hmac.new(account.api_secret.encode(), signed.encode(), hashlib.sha256)
        if not hmac.compare_digest(expected.hexdigest().encode(), sign.lower().encode()):
            raise VenueError(10004, "Error sign, please check your signature generation.", 200)
        return account

    def _arrivals(
        self, request: Request, endpoint: Endpoint, params: Params
    ) -> tuple[Arrival, ...]:
        if not endpoint.orders:
            return ()
        key = request.headers.get("x-bapi-api-key", "")
        account = self._simulation.exchange.accounts.by_key(key)
        # Under the names that the control endpoint shows for every family of venues.
        known = {
            "newClientOrderId": params.text("orderLinkId") or "",
            "side": (params.text("side") or "").upper(),
        }
        name = "" if account is None else account.name
        return (self._simulation.arrive(_venue(params), name, {**params.values, **known}),)


def _venue(params: Params) -> str:
    return f"bybit-{params.text('category') or 'spot'}"


def _call(request: Request, endpoint: Endpoint, params: Params) -> Call:
    operation = endpoint.operation
    # One endpoint, two questions: what is open, and what became of one order.
    is_one = params.text("orderId") or params.text("orderLinkId")
    if operation == "get_order" and not is_one:
        operation = "get_open_orders"
    side = params.text("side")
    return Call(
        _venue(params),
        operation,
        request.method,
        request.path,
        params.text("symbol"),
        None if side is None else side.upper(),
        (params.text("reduceOnly") == "true") if endpoint.orders else None,
    )


def _check_stamp(server: int, stamp: str, window: str) -> None:
    numbers = all(text.isascii() and text.isdigit() and len(text) <= 15 for text in (stamp, window))
    if numbers and int(stamp) < server + AHEAD and server - int(stamp) <= int(window):
        return
    raise VenueError(
        10002,
        "invalid request, please check your server timestamp or recv_window param. "
        f"req_timestamp[{stamp[:20]}],server_timestamp[{server}],recv_window[{window[:20]}]",
        200,
    )


def _success(now: datetime, value: object) -> bytes:
    if not isinstance(value, bytes):
        return encode(envelope(now, value))
    # Bytes made beforehand go into the envelope as they are.
    head = encode({**envelope(now, None), "result": 0})
    return head.replace(b'"result":0', b'"result":' + value, 1)
