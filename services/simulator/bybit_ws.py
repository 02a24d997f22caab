"""Bybit's WebSockets over aiohttp: public topics by category, the private stream of an account."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from aiohttp import web

from services.simulator.core.accounts import Account
from services.simulator.core.clock import millis
from services.simulator.dialects.bybit_common import VENUES
from services.simulator.dialects.bybit_events import write_event
from services.simulator.dialects.bybit_streams import subscription
from services.simulator.market.source import Kind
from services.simulator.simulation import Simulation
from services.simulator.user_streams import StreamDialect, UserStreams
from services.simulator.ws import MAX_SUBSCRIPTIONS, StreamHandlers
from services.simulator.ws_connection import Connection

BYBIT_STREAM: Final = StreamDialect(VENUES, write_event)
# ccxt's stream host has the first segment in its name; tests keep it in the path.
_ROOTS: Final = ("/v5", "/stream/v5")
_KINDS: Final = {"spot": Kind.SPOT, "linear": Kind.PERPETUAL}
_TOPICS: Final = frozenset({"order", "execution", "position", "wallet"})


class TopicSink:
    """The private stream of one connection: it passes on the topics subscribed to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.topics: set[str] = set()

    def send(self, message: Mapping[str, object]) -> None:
        """Queue the message when its topic is wanted."""
        if message["topic"] in self.topics:
            self._connection.send(message)

    def cut(self) -> None:
        """Break the connection."""
        self._connection.cut()


class BybitStreams:
    """Routes of the public and the private streams."""

    def __init__(
        self,
        simulation: Simulation,
        user_streams: UserStreams,
        handlers: StreamHandlers,
        outbox_size: int,
    ) -> None:
        self._simulation = simulation
        self._user_streams = user_streams
        self._handlers = handlers
        self._outbox_size = outbox_size
        self._numbers = count(1)

    def register(self, application: web.Application) -> None:
        """Add the routes."""
        for root in _ROOTS:
            application.router.add_get(root + "/public/{category:spot|linear}", self._public)
            application.router.add_get(root + "/private", self._private)

    async def _public(self, request: web.Request) -> web.StreamResponse:
        connection = Connection(request, self._outbox_size)
        kind = _KINDS[request.match_info["category"]]
        name = f"bybit-{next(self._numbers)}"

        def answer(message: dict[str, Any]) -> None:
            topics = [str(topic) for topic in message.get("args") or ()]
            if message.get("op") == "ping":
                connection.send(_told(message, name) | {"ret_msg": "pong"})
                return
            if message.get("op") == "unsubscribe":
                for topic in topics:
                    connection.subscriptions.pop(topic, None)
            elif message.get("op") == "subscribe" and not self._subscribe(connection, kind, topics):
                wrong = {"success": False, "ret_msg": f"error:handler not found,topic:{topics}"}
                connection.send(_told(message, name) | wrong)
                return
            connection.send(_told(message, name))

        return await self._handlers.serve(connection, answer)

    def _subscribe(self, connection: Connection, kind: Kind, topics: list[str]) -> bool:
        rows = [subscription(self._simulation, kind, topic) for topic in topics]
        known = [row for row in rows if row is not None]
        # All or none: one unknown topic refuses the whole request, as on the venue.
        if len(known) < len(topics) or len(connection.subscriptions) >= MAX_SUBSCRIPTIONS:
            return False
        connection.subscriptions.update({row.name: row for row in known})
        return True

    async def _private(self, request: web.Request) -> web.StreamResponse:
        connection = Connection(request, self._outbox_size)
        sink = TopicSink(connection)
        name = f"bybit-{next(self._numbers)}"
        accounts: list[Account] = []

        def answer(message: dict[str, Any]) -> None:
            operation = message.get("op")
            if operation == "ping":
                now = str(millis(self._simulation.wire.now()))
                connection.send({"op": "pong", "args": [now], "conn_id": name})
            elif operation == "auth":
                account = self._authenticate(message.get("args"))
                if account is None:
                    wrong = {"retCode": 10003, "retMsg": "Invalid apikey", "connId": name}
                    connection.send({"op": "auth", "success": False, **wrong})
                    return
                accounts.append(account)
                connection.send(_told(message, name))
            elif not accounts:
                wrong = {"success": False, "ret_msg": "Request not authorized"}
                connection.send(_told(message, name) | wrong)
            else:
                self._change(sink, accounts[0], message)
                connection.send(_told(message, name))

        try:
            return await self._handlers.serve(connection, answer)
        finally:
            self._user_streams.unsubscribe(sink)

    def _change(self, sink: TopicSink, account: Account, message: Mapping[str, Any]) -> None:
        topics = _TOPICS & {str(topic) for topic in message.get("args") or ()}
        if message.get("op") == "unsubscribe":
            sink.topics -= topics
            return
        # The first topic opens the stream, so that nothing before it is counted as heard.
        if topics and not sink.topics:
            self._user_streams.subscribe_unified(sink, account.name, BYBIT_STREAM)
        sink.topics |= topics

    def _authenticate(self, arguments: object) -> Account | None:
        if not isinstance(arguments, list) or len(arguments) != 3:
            return None
        key, expires, sign = (str(argument) for argument in arguments)
        account = self._simulation.exchange.accounts.by_key(key)
        in_time = expires.isascii() and expires.isdigit() and len(expires) <= 15
        if account is None or not in_time or int(expires) <= millis(self._simulation.wire.now()):
            return None
        signed = f"GET/realtime{expires}".encode()
        expected = hmac.new(account.api_secret.encode(), signed, hashlib.sha256).hexdigest()
        return account if hmac.compare_digest(expected.encode(), sign.encode()) else None


def _told(message: Mapping[str, Any], name: str) -> dict[str, object]:
    reply: dict[str, object] = {"success": True, "ret_msg": "", "conn_id": name}
    request_id = message.get("req_id")
    if request_id is not None:
        reply["req_id"] = str(request_id)
    return reply | {"op": message.get("op")}
