"""OKX's WebSockets over aiohttp: public channels, candles ("business"), the private stream."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from aiohttp import web

from services.simulator.core.accounts import Account
from services.simulator.core.clock import millis
from services.simulator.dialects.okx_account import balance_row
from services.simulator.dialects.okx_common import VENUES
from services.simulator.dialects.okx_events import message as told
from services.simulator.dialects.okx_events import write_event
from services.simulator.dialects.okx_rows import position_row
from services.simulator.dialects.okx_streams import subscription
from services.simulator.okx_gateway import is_signed
from services.simulator.simulation import Simulation
from services.simulator.user_streams import StreamDialect, UserStreams
from services.simulator.ws import MAX_SUBSCRIPTIONS, StreamHandlers
from services.simulator.ws_connection import Connection

OKX_STREAM: Final = StreamDialect(VENUES, write_event)
_ROOT: Final = "/ws/v5"
_CHANNELS: Final = frozenset({"orders", "account", "positions"})
_VERIFY: Final = "GET/users/self/verify"
_STAMP_SECONDS: Final = 30
_ANY: Final = ("ANY", "")

Argument = dict[str, str]


class ChannelSink:
    """The private stream of one connection: it passes on what was subscribed to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.arguments: list[Argument] = []

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue the message once for each subscription that wants it."""
        for argument in self.arguments:
            if _is_wanted(argument, message):
                self._connection.send({"arg": argument, "data": message["data"]})

    def cut(self) -> None:
        """Break the connection."""
        self._connection.cut()


def _is_wanted(argument: Argument, message: Mapping[str, Any]) -> bool:
    kind = argument.get("instType", "ANY")
    if argument["channel"] != message["channel"]:
        return False
    if kind not in _ANY and message["instType"] not in ("", kind):
        return False
    name = argument.get("instId")
    return name is None or any(row.get("instId") == name for row in message["data"])


class OkxStreams:
    """Routes of the public, the business and the private streams."""

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
        application.router.add_get(_ROOT + "/{kind:public|business}", self._public)
        application.router.add_get(_ROOT + "/private", self._private)

    async def _public(self, request: web.Request) -> web.StreamResponse:
        connection = Connection(request, self._outbox_size)
        name = f"okx{next(self._numbers)}"

        def answer(message: dict[str, Any]) -> None:
            for argument in _arguments(message):
                key = f"{argument.get('channel')}:{argument.get('instId')}"
                if message.get("op") == "unsubscribe":
                    connection.subscriptions.pop(key, None)
                elif message.get("op") == "subscribe":
                    row = subscription(self._simulation, argument)
                    if row is None or len(connection.subscriptions) >= MAX_SUBSCRIPTIONS:
                        connection.send(_wrong_channel(argument, name))
                        continue
                    connection.subscriptions[row.name] = row
                connection.send({"event": message.get("op"), "arg": argument, "connId": name})

        return await self._handlers.serve(connection, answer)

    async def _private(self, request: web.Request) -> web.StreamResponse:
        connection = Connection(request, self._outbox_size)
        sink, name = ChannelSink(connection), f"okx{next(self._numbers)}"
        accounts: list[Account] = []

        def answer(message: dict[str, Any]) -> None:
            if message.get("op") == "login":
                account = self._authenticate(_arguments(message))
                if account is None:
                    wrong = {"event": "error", "msg": "Login failed.", "code": "60009"}
                    connection.send({**wrong, "connId": name})
                    return
                accounts.append(account)
                connection.send({"event": "login", "code": "0", "msg": "", "connId": name})
            elif not accounts:
                wrong = {"event": "error", "msg": "Please log in", "code": "60011"}
                connection.send({**wrong, "connId": name})
            else:
                for argument in _arguments(message):
                    self._change(connection, sink, accounts[0], message.get("op"), argument, name)

        try:
            return await self._handlers.serve(connection, answer)
        finally:
            self._user_streams.unsubscribe(sink)

    def _change(
        self,
        connection: Connection,
        sink: ChannelSink,
        account: Account,
        operation: object,
        argument: Argument,
        name: str,
    ) -> None:
        if argument.get("channel") not in _CHANNELS:
            connection.send(_wrong_channel(argument, name))
            return
        connection.send({"event": operation, "arg": argument, "connId": name})
        if operation == "unsubscribe":
            sink.arguments = [one for one in sink.arguments if one != argument]
            return
        # The first channel opens the stream, so that nothing before it is counted as heard.
        if not sink.arguments:
            self._user_streams.subscribe_unified(sink, account.name, OKX_STREAM)
        if argument not in sink.arguments:
            sink.arguments.append(argument)
        self._show(connection, account, argument)

    def _show(self, connection: Connection, account: Account, argument: Argument) -> None:
        """Send what is, to begin with: the account and the positions, but no orders."""
        exchange, channel = self._simulation.exchange, argument["channel"]
        if channel == "account":
            message = told(channel, "", balance_row(exchange, account))
        elif channel == "positions":
            held = account.futures.open_positions()
            rows = [position_row(exchange, account, position) for position in held]
            message = told(channel, "SWAP", *rows)
        else:
            return
        connection.send({"arg": argument, "eventType": "snapshot", "data": message["data"]})

    def _authenticate(self, arguments: list[Argument]) -> Account | None:
        if len(arguments) != 1:
            return None
        sent = arguments[0]
        account = self._simulation.exchange.accounts.by_key(sent.get("apiKey", ""))
        stamp = sent.get("timestamp", "")
        if account is None or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
            return None
        now = millis(self._simulation.wire.now()) // 1000
        if abs(now - int(stamp)) > _STAMP_SECONDS:
            return None
        if account.passphrase and sent.get("passphrase") != account.passphrase:
            return None
        return account if is_signed(account, stamp + _VERIFY, sent.get("sign", "")) else None


def _arguments(message: Mapping[str, Any]) -> list[Argument]:
    rows = message.get("args")
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [{str(name): str(value) for name, value in row.items()} for row in found]


def _wrong_channel(argument: Argument, name: str) -> dict[str, object]:
    words = f"Wrong URL or channel:{argument.get('channel')},instId:{argument.get('instId')} "
    return {
        "event": "error",
        "msg": words + "doesn't exist. Please use the correct URL, channel and parameters.",
        "code": "60018",
        "connId": name,
    }
