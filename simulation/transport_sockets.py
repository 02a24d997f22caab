"""WebSockets in memory: the simulator's own stream handlers at one end, ccxt's client at the other.

Each direction is a lane of the network: messages keep their order and take their time. The venue's
handler runs in the venue's context, so that a client's death is no more to it than a broken socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
import yarl
from aiohttp import WSMessage, WSMsgType
from multidict import CIMultiDict, CIMultiDictProxy

from services.simulator import ws
from services.simulator.gateway import Gateway
from services.simulator.simulation import Simulation
from services.simulator.user_streams import UserStreams
from services.simulator.ws_connection import Connection
from simulation.loop import PROCESS, Process, context_of
from simulation.transport_network import Lane, Network

_CLOSED: Final = WSMessage(WSMsgType.CLOSED, None, None)
_ABNORMAL: Final = 1006


class Wire:
    """One connection: two lanes, and an end that both sides learn of."""

    def __init__(
        self, network: Network, link: str, url: str, owner: Process | None, venue: Process | None
    ) -> None:
        self.url = url
        self.network = network
        self.link = link
        self.to_client = Lane(network, link)
        self.to_venue = Lane(network, link)
        self.client_context: Context = copy_context()
        self.venue_context: Context = context_of(venue)
        self.client = ClientSocket(self)
        self.venue = VenueSocket(self)
        self.opened: asyncio.Future[None] = network.loop.create_future()
        if owner is not None:
            # The kernel of a killed process closes its sockets.
            owner.mourners.append(self.break_off)

    def break_off(self) -> None:
        """Break the connection without a closing handshake; both ends learn it."""
        self.to_venue.post(self.venue.hang_up, context=self.venue_context)
        self.to_client.post(self.client.hang_up, context=self.client_context)

    @property
    def is_silent(self) -> bool:
        """Whether a partition swallows what is sent."""
        return self.link in self.network.partitions


class ClientSocket:
    """The end that ccxt holds: what it uses of aiohttp's ClientWebSocketResponse."""

    _conn: Any = None

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._incoming: asyncio.Queue[WSMessage] = asyncio.Queue()
        self.closed = False

    async def receive(self) -> WSMessage:
        """Return the next message, CLOSED once the connection has ended."""
        if self.closed and self._incoming.empty():
            return _CLOSED
        return await self._incoming.get()

    async def send_str(self, text: str) -> None:
        """Send a text; raises ConnectionError when the connection has ended."""
        self._check()
        if not self._wire.is_silent:
            self._wire.to_venue.post(self._wire.venue.take, text, context=self._wire.venue_context)

    async def ping(self, _data: bytes = b"") -> None:
        """Ask for a sign of life, which comes while the venue's end is open."""
        self._check()
        if not self._wire.is_silent:
            self._wire.to_venue.post(self._wire.venue.pong, context=self._wire.venue_context)

    async def pong(self, _data: bytes = b"") -> None:
        """Answer a ping; nobody counts them."""
        self._check()

    async def close(self, **_options: Any) -> None:
        """End the connection."""
        if not self.closed:
            self.hang_up()
            self._wire.to_venue.post(self._wire.venue.hang_up, context=self._wire.venue_context)

    def take(self, message: WSMessage) -> None:
        """Take a message of the venue's."""
        if not self.closed:
            self._incoming.put_nowait(message)

    def hang_up(self) -> None:
        """Learn that the connection has ended."""
        if not self.closed:
            self.closed = True
            self._incoming.put_nowait(WSMessage(WSMsgType.CLOSE, _ABNORMAL, None))

    def _check(self) -> None:
        if self.closed:
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")


class VenueSocket:
    """The end that the simulator's handlers hold: what they use of aiohttp's WebSocketResponse."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._incoming: asyncio.Queue[str | None] = asyncio.Queue()
        self._is_open = True

    async def prepare(self, _request: Any) -> None:
        """Accept the connection."""
        wire = self._wire

        def accept() -> None:
            if not wire.opened.done():
                wire.opened.set_result(None)

        wire.to_client.post(accept, context=wire.client_context)

    async def send_str(self, text: str) -> None:
        """Send a text; raises ConnectionError when the connection has ended."""
        if not self._is_open:
            raise ConnectionResetError("the connection has ended")
        if not self._wire.is_silent:
            message = WSMessage(WSMsgType.TEXT, text, None)
            self._wire.to_client.post(
                self._wire.client.take, message, context=self._wire.client_context
            )

    def take(self, text: str) -> None:
        """Take a text of the client's."""
        self._incoming.put_nowait(text)

    def pong(self) -> None:
        """Answer a ping, as aiohttp does of itself."""
        if self._is_open and not self._wire.is_silent:
            self._wire.to_client.post(
                self._wire.client.take,
                WSMessage(WSMsgType.PONG, b"", None),
                context=self._wire.client_context,
            )

    def hang_up(self) -> None:
        """Learn that the connection has ended."""
        if self._is_open:
            self._is_open = False
            self._incoming.put_nowait(None)

    def __aiter__(self) -> VenueSocket:
        return self

    async def __anext__(self) -> WSMessage:
        text = await self._incoming.get()
        if text is None:
            raise StopAsyncIteration
        return WSMessage(WSMsgType.TEXT, text, None)


class _Transport:
    """What the simulator breaks a connection by."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def abort(self) -> None:
        """Break the connection."""
        self._wire.break_off()


class _Request:
    """What the simulator's handlers read of a handshake."""

    def __init__(self, wire: Wire, query: dict[str, str]) -> None:
        self.query = query
        self.socket = wire.venue
        self.transport = _Transport(wire)
        self.remote = f"address-of-{wire.link}"


class _MemoryConnection(Connection):
    """The simulator's connection over an end in memory."""

    def __init__(self, request: Any, outbox_size: int) -> None:
        super().__init__(request, outbox_size)
        self.socket = request.socket


class SocketDoor:
    """The venue's side of the WebSocket wire; implements what `Application` does over aiohttp."""

    def __init__(
        self,
        simulation: Simulation,
        gateway: Gateway,
        network: Network,
        process: Process | None = None,
    ) -> None:
        self._network = network
        self._process = process
        self.users = UserStreams(simulation)
        self._handlers = ws.StreamHandlers(
            simulation, gateway, self.users, 10_000, _MemoryConnection
        )
        self._tasks: list[asyncio.Task[Any]] = []
        self.wires: list[Wire] = []

    async def open(self, link: str, url: str, status: int) -> ClientSocket:
        """Open a WebSocket; raises what aiohttp raises where the venue takes none."""
        del status
        wire = Wire(self._network, link, url, PROCESS.get(), self._process)
        self.wires = [one for one in self.wires if not one.client.closed]
        self.wires.append(wire)
        parts = urlsplit(url)
        request = _Request(wire, {k: v[0] for k, v in parse_qs(parts.query).items()})
        handler = self._handler(parts.path)
        wire.to_venue.post(self._serve, wire, handler, request, context=wire.venue_context)
        await wire.opened
        return wire.client

    def cut_all(self) -> None:
        """Break every connection, as a venue does that restarts its stream servers."""
        for wire in self.wires:
            wire.break_off()

    def close(self) -> None:
        """Forget all connections."""
        self.wires, self._tasks = [], []

    def _serve(self, wire: Wire, handler: Callable[..., Any], request: _Request) -> None:
        async def serve() -> None:
            response = await handler(request)
            if not wire.opened.done():
                refusal = _refusal(wire.url, getattr(response, "status", 500))
                wire.to_client.post(_refuse, wire.opened, refusal, context=wire.client_context)

        # Owned here: asyncio itself keeps only weak references.
        self._tasks = [one for one in self._tasks if not one.done()]
        self._tasks.append(self._network.loop.create_task(serve()))

    def _handler(self, path: str) -> Callable[..., Any]:
        handlers = self._handlers
        if path.startswith("/ws-api/"):
            return handlers._spot_api
        if path.startswith("/ws-fapi/"):
            return handlers._futures_api
        if path.startswith("/private/"):
            return handlers._futures_user
        return handlers._spot_market if "stream" in path else handlers._futures_market


def _refuse(opened: asyncio.Future[None], error: Exception) -> None:
    if not opened.done():
        opened.set_exception(error)


def _refusal(url: str, status: int) -> aiohttp.WSServerHandshakeError:
    where = yarl.URL(url)
    request = aiohttp.RequestInfo(where, "GET", CIMultiDictProxy(CIMultiDict()), where)
    return aiohttp.WSServerHandshakeError(request, (), status=status, message="refused")
