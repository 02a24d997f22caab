"""What happens to a call before the paper venue acts: passed on, delayed, or refused.

Public data comes from the real venue, byte for byte. An order waits for the latency that is set,
then for the book as it is at that moment; without one it is refused, never filled by an old one.
What an account is worth is not told by old prices either: its reading fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from services.common.logs import get_logger
from services.simulator.core.accounts import Accounts
from services.simulator.core.clock import MarketClock
from services.simulator.core.errors import VenueError
from services.simulator.core.limits import Family
from services.simulator.dialects.binance_common import encode
from services.simulator.dialects.binance_usdm_trade import batch_params
from services.simulator.dialects.context import Endpoint
from services.simulator.gateway import Plan, Reply, Request
from services.simulator.market.source import Kind
from services.simulator.mirror.addresses import PUBLIC_PATHS
from services.simulator.mirror.data_client import DataAwayError, DataClient
from services.simulator.mirror.mirrored_market import MirroredMarket
from services.simulator.mirror.reader import MirrorReader
from services.simulator.mirror.used_weight import Need

_logger = get_logger(__name__)
PLACING: Final = frozenset({"place_order", "place_orders"})
DELAYED: Final = PLACING | {"cancel_order", "cancel_orders", "cancel_all_orders"}
VALUED: Final = frozenset(
    {
        (Family.USDM, "get_account"),
        (Family.USDM, "get_balances"),
        (Family.USDM, "get_positions"),
        (Family.SAPI, "get_account"),
        (Family.SAPI, "get_max_borrowable"),
    }
)
"""Readings whose answers have prices of the market in them."""
NOT_FILLED: Final = -1013
"""A refusal that clients take for definite: nothing was placed."""


class MirrorGate:
    """Asked before each call; a reply it returns is the answer."""

    def __init__(
        self,
        client: DataClient,
        reader: MirrorReader,
        market: MirroredMarket,
        accounts: Accounts,
        clock: MarketClock,
        latency_seconds: float,
    ) -> None:
        self._client = client
        self._reader = reader
        self._market = market
        self._accounts = accounts
        self._clock = clock
        self._latency_seconds = latency_seconds
        self.refused = 0
        """Orders that were refused because the venue's data was away."""

    async def before(self, plan: Plan) -> Reply | None:
        """Return the real venue's answer, a refusal, or None where the paper venue shall act."""
        endpoint, request = plan.endpoint, plan.request
        if endpoint is None:
            return None
        if request.method == "GET" and request.path in PUBLIC_PATHS:
            return await self._pass_on(request)
        kind = Kind.PERPETUAL if endpoint.family is Family.USDM else Kind.SPOT
        if (endpoint.family, endpoint.operation) in VALUED:
            held = self._accounts.held_symbols() if kind is Kind.PERPETUAL else ()
            problem = self._market.prices_problem(kind, held, self._clock.now())
            return None if problem is None else _away(problem)
        if endpoint.operation in DELAYED:
            await asyncio.sleep(self._latency_seconds)
        if endpoint.operation not in PLACING:
            return None
        try:
            await asyncio.gather(
                *(self._make_ready(kind, symbol) for symbol in _symbols(plan, endpoint))
            )
        except DataAwayError as error:
            self.refused += 1
            _logger.warning("paper_order_refused", problem=str(error))
            return Reply(400, encode({"code": NOT_FILLED, "msg": f"paper: {error}"}))
        return None

    async def _make_ready(self, kind: Kind, symbol: str) -> None:
        if not self._market.instruments(kind, self._clock.now()):
            raise DataAwayError("rules and prices of the venue were not read yet")
        # the core refuses what is not listed; there is no book of it to be read
        if self._market.instrument(kind, symbol) is None:
            return
        await self._reader.read_book(kind, symbol, Need.VALUE)
        problem = self._market.problem(kind, symbol, self._clock.now())
        if problem is not None:
            raise DataAwayError(problem)

    async def _pass_on(self, request: Request) -> Reply:
        try:
            answer = await self._client.ask(request.path, request.query)
        except DataAwayError as error:
            return _away(error)
        except ValueError as error:
            return Reply(400, encode({"code": -1101, "msg": f"paper: {error}"}))
        return Reply(answer.status, answer.body, answer.headers)


def _away(problem: object) -> Reply:
    # as a venue that is down answers: a client must not take it for the venue's own word
    return Reply(503, encode({"code": -1001, "msg": f"paper: {problem}"}))


def _symbols(plan: Plan, endpoint: Endpoint) -> Iterable[str]:
    orders = [plan.params]
    if endpoint.operation == "place_orders":
        try:
            orders = batch_params(plan.params)
        except VenueError:
            # the core refuses it in the venue's own words
            return set()
    return {order.values["symbol"] for order in orders if order.values.get("symbol")}
