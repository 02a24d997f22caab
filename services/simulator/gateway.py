"""From a request to an answer, sync: faults, limits, authentication, endpoint, encoding.

The HTTP layer calls `receive`, waits as the plan says, calls `handle`, waits again and sends or
drops the answer; a loop with virtual time can do the same without any HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from services.simulator.core.accounts import Account
from services.simulator.core.errors import VenueError
from services.simulator.core.faults import (
    Action,
    Call,
    Delay,
    DropAfter,
    DropBefore,
    EmptyBody,
    HttpStatus,
    RateLimit,
    Reject,
    Stage,
    TruncateBody,
)
from services.simulator.dialects import (
    binance_margin,
    binance_spot_market,
    binance_spot_trade,
    binance_spot_wallet,
    binance_trades,
    binance_usdm_account,
    binance_usdm_funding,
    binance_usdm_market,
    binance_usdm_settings,
    binance_usdm_trade,
)
from services.simulator.dialects.auth import account_of_key, check_signature, check_timestamp
from services.simulator.dialects.binance_common import encode
from services.simulator.dialects.context import Context, Endpoint, Routes, Security
from services.simulator.dialects.params import Params
from services.simulator.simulation import Arrival, Simulation

ROUTES: Routes = {
    **binance_spot_market.ROUTES,
    **binance_spot_trade.ROUTES,
    **binance_spot_wallet.ROUTES,
    **binance_margin.ROUTES,
    **binance_trades.ROUTES,
    **binance_usdm_market.ROUTES,
    **binance_usdm_funding.ROUTES,
    **binance_usdm_trade.ROUTES,
    **binance_usdm_account.ROUTES,
    **binance_usdm_settings.ROUTES,
}
SECRET_PARAMETERS = frozenset({"signature"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in; `query` and `body` are raw, for the signature covers them so.

    `headers` have lower-case names.
    """

    method: str
    path: str
    query: str
    body: str
    api_key: str | None
    address: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `cut_at` says after how many bytes the connection breaks, None for never."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json;charset=UTF-8"
    cut_at: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A received request with everything decided about it before the venue acts."""

    request: Request
    endpoint: Endpoint | None
    params: Params
    actions: tuple[Action, ...]
    arrivals: tuple[Arrival, ...]

    @classmethod
    def of_call(
        cls,
        request: Request,
        endpoint: Endpoint,
        params: Params,
        actions: tuple[Action, ...],
        arrivals: tuple[Arrival, ...],
    ) -> Self:
        """Return the plan of a known endpoint, and note which orders are dropped on the way."""
        plan = cls(request, endpoint, params, actions, arrivals)
        # it reached the wire but not the venue; a witness must tell the two apart
        if plan.drops_before:
            for arrival in arrivals:
                arrival.fate = "dropped"
        return plan

    def settle(self, refusal: Reply | None, answer: Callable[[], Reply]) -> Reply:
        """Return the faults' refusal, else the venue's answer as they deform it; note the fate."""
        # not answered where refused: a fault that refuses must not use up limits
        reply = deform(answer(), self.actions) if refusal is None else refusal
        fate = "handled" if refusal is None else "refused by fault"
        for arrival in self.arrivals:
            arrival.fate, arrival.status = fate, reply.status
        return reply

    @property
    def drops_before(self) -> bool:
        """Tell whether the connection closes before the venue acts."""
        return any(isinstance(action, DropBefore) for action in self.actions)

    @property
    def drops_after(self) -> bool:
        """Tell whether the connection closes after the venue has acted, unanswered."""
        return any(isinstance(action, DropAfter) for action in self.actions)

    def delay(self, when: str) -> float:
        """Return the seconds to wait `before` or `after` the venue acts."""
        return sum(
            action.seconds
            for action in self.actions
            if isinstance(action, Delay) and action.when == when
        )


class Gateway:
    """The REST surface of the simulation."""

    def __init__(self, simulation: Simulation, routes: Routes = ROUTES) -> None:
        self._simulation = simulation
        self._routes = routes

    def receive(self, request: Request) -> Plan:
        """Look the endpoint up, draw the faults, note arriving orders."""
        endpoint = self._routes.get((request.method, request.path))
        params = Params.parse(request.query, request.body)
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
            return Reply(404, b"<html><body><h2>404 Not found</h2></body></html>", {}, "text/html")
        return plan.settle(_refusal(plan.actions), lambda: self._answer(plan, endpoint))

    def _answer(self, plan: Plan, endpoint: Endpoint) -> Reply:
        request, simulation = plan.request, self._simulation
        # before authentication: strangers use up the address's weight as well
        verdict = simulation.limits.charge(
            simulation.wire.now(),
            request.address,
            request.api_key,
            endpoint.family,
            endpoint.weight_of(plan.params),
            endpoint.orders,
        )
        if not verdict.is_allowed:
            headers = {**verdict.headers, "Retry-After": str(verdict.retry_after)}
            body = encode({"code": verdict.code, "msg": verdict.message})
            return Reply(verdict.status, body, headers)
        try:
            caller = self._authenticate(plan, endpoint)
            value = endpoint.handler(Context(simulation, plan.params, caller))
        except VenueError as error:
            body = encode({"code": error.code, "msg": error.message})
            return Reply(error.status, body, verdict.headers)
        return Reply(200, value if isinstance(value, bytes) else encode(value), verdict.headers)

    def _authenticate(self, plan: Plan, endpoint: Endpoint) -> Account | None:
        if endpoint.security is Security.NONE:
            return None
        account = account_of_key(self._simulation.exchange.accounts, plan.request.api_key)
        # at the moment of acting, not of arrival: a request held up too long must fail
        if endpoint.security is Security.SIGNED:
            check_timestamp(
                self._simulation.wire.now(),
                plan.params.integer("timestamp"),
                plan.params.integer("recvWindow"),
            )
            check_signature(account.api_secret, plan.request.query, plan.request.body)
        return account

    def _arrivals(
        self, request: Request, endpoint: Endpoint, params: Params
    ) -> tuple[Arrival, ...]:
        if not endpoint.orders:
            return ()
        orders = [params]
        # a batch is several orders that arrived, not one
        if endpoint.operation == "place_orders":
            try:
                orders = binance_usdm_trade.batch_params(params)
            except VenueError:
                orders = []
        account = self._simulation.exchange.accounts.by_key(request.api_key or "")
        name = account.name if account is not None else ""
        return tuple(
            self._simulation.arrive(
                endpoint.venue,
                name,
                {k: v for k, v in order.values.items() if k not in SECRET_PARAMETERS},
            )
            for order in orders
        )


def _call(request: Request, endpoint: Endpoint, params: Params) -> Call:
    values = params.values
    reduce_only = values.get("reduceOnly")
    return Call(
        endpoint.venue,
        endpoint.operation,
        request.method,
        request.path,
        values.get("symbol"),
        values.get("side"),
        (reduce_only or "false").lower() == "true" if endpoint.orders else None,
    )


def _refusal(actions: tuple[Action, ...]) -> Reply | None:
    for action in actions:
        if isinstance(action, HttpStatus) and action.when == "before":
            return Reply(action.status, action.body.encode())
        if isinstance(action, Reject):
            return Reply(action.status, encode({"code": action.code, "msg": action.msg}))
        if isinstance(action, RateLimit):
            body = encode({"code": -1003, "msg": "Too many requests."})
            return Reply(action.status, body, {"Retry-After": str(action.retry_after)})
    return None


def deform(reply: Reply, actions: tuple[Action, ...]) -> Reply:
    """Return the answer as the faults let it reach the client."""
    for action in actions:
        if isinstance(action, HttpStatus) and action.when == "after":
            return Reply(action.status, action.body.encode(), reply.headers)
        if isinstance(action, EmptyBody):
            return Reply(200, b"", reply.headers)
        if isinstance(action, TruncateBody):
            if action.declared:
                return Reply(reply.status, reply.body, reply.headers, cut_at=action.bytes)
            return Reply(reply.status, reply.body[: action.bytes], reply.headers)
    return reply
