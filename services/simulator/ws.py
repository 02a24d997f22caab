"""WebSocket surfaces over aiohttp: market streams, futures user stream, spot WebSocket API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import WSMsgType, web

from services.common.ordered_set import OrderedSet
from services.common.task_end import end_task
from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.orders import Product
from services.simulator.dialects.auth import account_of_key, check_timestamp, check_ws_signature
from services.simulator.dialects.market_streams import subscription
from services.simulator.gateway import Gateway
from services.simulator.http import Before
from services.simulator.market.source import Kind
from services.simulator.simulation import Simulation
from services.simulator.user_streams import Subscriber, UserStreams
from services.simulator.ws_connection import Connection
from services.simulator.ws_orders import WebSocketOrders

MAX_SUBSCRIPTIONS = 1024


class WrappedSink:
    """A user stream inside the spot WebSocket API: each event carries its subscription id."""

    def __init__(self, connection: Connection, subscription_id: int) -> None:
        self._connection = connection
        self._id = subscription_id

    def send(self, message: Mapping[str, object]) -> None:
        """Queue the event in its envelope."""
        self._connection.send({"subscriptionId": self._id, "event": message})

    def cut(self) -> None:
        """Break the connection."""
        self._connection.cut()


class StreamHandlers:
    """Routes and connections of every stream."""

    def __init__(
        self,
        simulation: Simulation,
        gateway: Gateway,
        user_streams: UserStreams,
        outbox_size: int,
        connect: Callable[[web.Request, int], Connection] = Connection,
        before: Before | None = None,
    ) -> None:
        self._connect = connect
        self._simulation = simulation
        self._orders = WebSocketOrders(gateway, before)
        self._user_streams = user_streams
        self._outbox_size = outbox_size
        self._connections: OrderedSet[Connection] = OrderedSet()

    @property
    def count(self) -> int:
        """Return how many connections are open."""
        return len(self._connections)

    @property
    def user_count(self) -> int:
        """Return how many user streams are open; one connection may carry several."""
        return self._user_streams.count

    def register_market(self, application: web.Application) -> None:
        """Add the routes of market data; ccxt numbers its connections behind the path."""
        for path in ("/ws", "/stream/ws"):
            application.router.add_get(path + r"{number:(/\d+)?}", self._spot_market)
        for path in ("/public/ws", "/market/ws"):
            application.router.add_get(path + r"{number:(/\d+)?}", self._futures_market)

    def register_private(self, application: web.Application) -> None:
        """Add the routes of accounts and orders."""
        application.router.add_get("/private/ws", self._futures_user)
        application.router.add_get("/ws-api/v3", self._spot_api)
        application.router.add_get("/ws-fapi/v1", self._futures_api)

    def poll(self) -> None:
        """Ask every market subscription for what is new."""
        now = self._simulation.wire.now().timestamp()
        for connection in list(self._connections):
            for row in connection.subscriptions.values():
                for message in row.poll(now):
                    connection.send(message)

    def cut_all(self) -> int:
        """Break every connection and return how many there were."""
        connections = list(self._connections)
        for connection in connections:
            connection.cut()
        return len(connections)

    async def _spot_market(self, request: web.Request) -> web.StreamResponse:
        return await self._market(request, Kind.SPOT)

    async def _futures_market(self, request: web.Request) -> web.StreamResponse:
        return await self._market(request, Kind.PERPETUAL)

    async def _market(self, request: web.Request, kind: Kind) -> web.StreamResponse:
        connection = self._connect(request, self._outbox_size)

        def answer(message: dict[str, Any]) -> None:
            self._subscribe(connection, kind, message)

        return await self.serve(connection, answer)

    def _subscribe(self, connection: Connection, kind: Kind, message: dict[str, Any]) -> None:
        names = message.get("params") or []
        method = message.get("method")
        if method == "SUBSCRIBE":
            for name in names:
                row = subscription(self._simulation, kind, str(name))
                if row is not None and len(connection.subscriptions) < MAX_SUBSCRIPTIONS:
                    connection.subscriptions[row.name] = row
        elif method == "UNSUBSCRIBE":
            for name in names:
                connection.subscriptions.pop(str(name), None)
        # unknown streams are acknowledged too; they stay silent, as on the venue
        connection.send({"result": None, "id": message.get("id")})

    async def _futures_user(self, request: web.Request) -> web.StreamResponse:
        key = request.query.get("listenKey", "")
        account = self._simulation.listen_keys.account_of(key)
        if account is None:
            return web.json_response(
                {"code": -1125, "msg": "This listenKey does not exist."}, status=400
            )
        connection = self._connect(request, self._outbox_size)
        self._user_streams.subscribe(Subscriber(connection, account, Product.PERPETUAL, key))
        return await self.serve(connection, lambda _: None)

    async def _spot_api(self, request: web.Request) -> web.StreamResponse:
        connection = self._connect(request, self._outbox_size)
        sinks: list[WrappedSink] = []

        def answer(message: dict[str, Any]) -> None:
            if message.get("method") == "order.place":
                self._orders.take(connection, message, "/api/v3/order")
                return
            try:
                result = self._call(connection, sinks, message)
                reply: dict[str, object] = {"status": 200, "result": result}
            except VenueError as error:
                reply = {
                    "status": error.status,
                    "error": {"code": error.code, "msg": error.message},
                }
            connection.send({"id": message.get("id"), **reply})

        try:
            return await self.serve(connection, answer)
        finally:
            for sink in sinks:
                self._user_streams.unsubscribe(sink)

    async def _futures_api(self, request: web.Request) -> web.StreamResponse:
        connection = self._connect(request, self._outbox_size)

        def answer(message: dict[str, Any]) -> None:
            if message.get("method") == "order.place":
                self._orders.take(connection, message, "/fapi/v1/order")
                return
            error = {"code": -1100, "msg": "Unknown method."}
            connection.send({"id": message.get("id"), "status": 400, "error": error})

        return await self.serve(connection, answer)

    def _call(
        self, connection: Connection, sinks: list[WrappedSink], message: dict[str, Any]
    ) -> object:
        method, params = message.get("method"), message.get("params") or {}
        simulation = self._simulation
        if method == "userDataStream.subscribe.signature":
            account = account_of_key(simulation.exchange.accounts, params.get("apiKey"))
            check_timestamp(
                simulation.wire.now(), params.get("timestamp"), params.get("recvWindow")
            )
            check_ws_signature(account.api_secret, params)
            return self._open(connection, sinks, account.name, Product.SPOT)
        if method == "userDataStream.subscribe.listenToken":
            # the token stands for the signature: it was made by a call with the key
            name = simulation.listen_tokens.account_of(str(params.get("listenToken", "")))
            if name is None:
                raise VenueError(-1125, "This listenToken does not exist.")
            return self._open(connection, sinks, name, Product.MARGIN)
        if method == "userDataStream.unsubscribe":
            for sink in sinks:
                self._user_streams.unsubscribe(sink)
            sinks.clear()
            return {}
        if method == "time":
            return {"serverTime": millis(simulation.wire.now())}
        if method == "ping":
            return {}
        raise VenueError(-1100, "Unknown method.")

    def _open(
        self, connection: Connection, sinks: list[WrappedSink], account: str, product: Product
    ) -> object:
        sink = WrappedSink(connection, len(sinks))
        sinks.append(sink)
        self._user_streams.subscribe(Subscriber(sink, account, product))
        return {"subscriptionId": len(sinks) - 1}

    async def serve(self, connection: Connection, answer: Any) -> web.StreamResponse:
        """Serve one connection until it ends; `answer` takes each message the client sends."""
        socket = connection.socket
        await socket.prepare(connection.request)
        self._connections.add(connection)
        # owned by this call: cancelled and awaited when the reading ends
        writer = asyncio.get_running_loop().create_task(connection.write())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    _answer(connection, message.data, answer)
        finally:
            self._connections.discard(connection)
            self._user_streams.unsubscribe(connection)
            await end_task(writer)
        return socket


def _answer(connection: Connection, text: str, answer: Any) -> None:
    # A word of its own, as OKX has it, not the protocol's ping.
    if text == "ping":
        connection.send_text("pong")
        return
    try:
        message = json.loads(text)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        connection.send({"error": {"code": -1121, "msg": "Invalid JSON"}})
        return
    answer(message)
