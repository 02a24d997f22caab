"""The venue's REST surface without HTTP: what stands where the connector has its aiohttp session.

ccxt and our layer in it make, sign and judge each request as they do over a wire; the request then
goes, after a latency of the network and with its faults, to the simulator's gateway, which acts in
the venue's own context: an order that has left executes though its sender has died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from services.connector.engine_epochs import CALL_EPOCH
from services.simulator.gateway import Gateway, Plan, Reply, Request
from services.simulator.http import API_KEY_HEADER
from simulation.loop import Process, context_of
from simulation.transport_network import Fate, Network
from simulation.transport_sockets import ClientSocket, SocketDoor

_API_KEY_HEADER: Final = API_KEY_HEADER.lower()
_LONGEST_SECONDS: Final = 300.0
Tell = Callable[[str, str], None]
"""Told of every arrival and every answer, as (kind, text)."""


@dataclass(frozen=True, slots=True)
class SimResponse:
    """A reply as ccxt's layer reads it."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    cut_at: int | None = None
    reason: str = ""

    async def read(self) -> bytes:
        """Return the body; raises ClientPayloadError where the transfer broke."""
        if self.cut_at is not None:
            raise aiohttp.ClientPayloadError("the transfer broke")
        return self.body


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asked for an order and when it left: an engine's epoch, 0 for nobody's."""

    epoch: int
    sent_at: float


# Not frozen: asyncio's timeout is entered and left.
@dataclass(slots=True)
class _Exchange:
    """One request under way, as the `async with` of `session.request` has it."""

    session: SimSession
    request: Request
    seconds: float

    async def __aenter__(self) -> SimResponse:
        return await self.session.send(self.request, self.seconds)

    async def __aexit__(self, *_error: object) -> None:
        return None


class VenueDoor:
    """The venue's side of the REST wire."""

    def __init__(
        self, gateway: Gateway, network: Network, tell: Tell, process: Process | None = None
    ) -> None:
        self._gateway = gateway
        self._network = network
        self._tell = tell
        self._context = context_of(process)
        self.senders: dict[str, Sender] = {}

    def knock(self, link: str, request: Request, fate: Fate, answer: _Answer) -> None:
        """Take a request that leaves its sender now."""
        sender = Sender(CALL_EPOCH.get(), self._network.loop.time())
        self._network.post(
            link, self._arrive, link, request, sender, fate, answer, context=self._context
        )

    def _arrive(
        self, link: str, request: Request, sender: Sender, fate: Fate, answer: _Answer
    ) -> None:
        if fate is Fate.REQUEST_CUT:
            answer.fail(aiohttp.ServerDisconnectedError())
            return
        plan = self._gateway.receive(request)
        for arrival in plan.arrivals:
            key = arrival.parameters.get("newClientOrderId", "")
            self.senders.setdefault(key, sender)
            self._tell("arrival", f"{link} {key}")
        self._network.loop.call_later(plan.delay("before"), self._act, link, plan, fate, answer)

    def _act(self, link: str, plan: Plan, fate: Fate, answer: _Answer) -> None:
        if plan.drops_before:
            answer.fail(aiohttp.ServerDisconnectedError())
            return
        reply = self._gateway.handle(plan)
        request = plan.request
        self._tell("request", f"{link} {request.method} {request.path} {reply.status}")
        is_cut = fate is Fate.REPLY_CUT or plan.drops_after
        self._network.loop.call_later(
            plan.delay("after") + self._network.delay(link),
            self._answer,
            fate,
            is_cut,
            reply,
            answer,
        )

    def _answer(self, fate: Fate, is_cut: bool, reply: Reply, answer: _Answer) -> None:
        if fate is Fate.REPLY_LOST:
            return
        if is_cut:
            answer.fail(aiohttp.ServerDisconnectedError())
            return
        answer.give(reply)


class _Answer:
    """Where the sender waits; told in the sender's context, so that a dead one hears nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[SimResponse] = loop.create_future()
        self._loop = loop
        self._context: Context = copy_context()

    def give(self, reply: Reply) -> None:
        """Hand the reply over."""
        headers = {**reply.headers, "Content-Type": reply.content_type}
        response = SimResponse(reply.status, reply.body, headers, reply.cut_at)
        self._loop.call_soon(self._set, response, None, context=self._context)

    def fail(self, error: Exception) -> None:
        """Tell that the connection broke."""
        self._loop.call_soon(self._set, None, error, context=self._context)

    def _set(self, response: SimResponse | None, error: Exception | None) -> None:
        # Its sender may have given up.
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        elif response is not None:
            self.future.set_result(response)


@dataclass(slots=True)
class SimSession:
    """Stands for an aiohttp session; `gates` are asked before a WebSocket opens."""

    link: str
    network: Network
    venue: VenueDoor
    sockets: SocketDoor
    gates: tuple[Any, ...] = ()
    closed: bool = False
    opened: list[ClientSocket] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def request(
        self, method: str, url: Any, *, data: bytes | None, headers: Any, timeout: Any
    ) -> _Exchange:
        """Return the request as a context, as aiohttp does."""
        told = {str(name).lower(): str(value) for name, value in (headers or {}).items()}
        request = Request(
            method,
            url.raw_path,
            url.raw_query_string,
            "" if data is None else data.decode(),
            told.get(_API_KEY_HEADER),
            f"address-of-{self.link}",
            told,
        )
        return _Exchange(self, request, timeout.total or _LONGEST_SECONDS)

    async def send(self, request: Request, seconds: float) -> SimResponse:
        """Send a request and wait for its reply; raises what aiohttp raises."""
        loop = asyncio.get_running_loop()
        answer = _Answer(loop)
        fate = self.network.fate(self.link)
        if fate is not Fate.REQUEST_LOST:
            self.venue.knock(self.link, request, fate, answer)
        async with asyncio.timeout(seconds):
            return await answer.future

    def ws_connect(self, url: str, **_options: Any) -> _Opening:
        """Return the opening of a WebSocket as a context, as aiohttp does."""
        return _Opening(self, url)

    async def close(self) -> None:
        """End all that is open."""
        self.closed = True
        for socket in self.opened:
            await socket.close()

    async def __aenter__(self) -> SimSession:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


@dataclass(frozen=True, slots=True)
class _Opening:
    session: SimSession
    url: str

    async def __aenter__(self) -> ClientSocket:
        session = self.session
        if session.link in session.network.partitions:
            raise aiohttp.ClientConnectionError("no route to the venue")
        request = _Handshake({"Upgrade": "websocket"})
        status = 101
        for gate in session.gates:
            status = (await gate(request, _accepted)).status
        socket = await session.sockets.open(session.link, self.url, status)
        session.opened = [one for one in session.opened if not one.closed]
        session.opened.append(socket)
        return socket


@dataclass(frozen=True, slots=True)
class _Handshake:
    headers: Mapping[str, str]


async def _accepted(_request: Any) -> SimResponse:
    return SimResponse(101, b"", {})
