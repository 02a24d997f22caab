"""A venue's own host name answered from loopback over TLS, with canned bodies, recording all asked.

The exchange under test is the real one of `build_exchange`, URLs untouched: a resolver points every
host at the responder and a CA of the test's own signs for them.
"""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from services.common.clock import SystemClock
from services.common.rate_window import scale_allowances
from services.connector.exchange_factory import build_exchange
from services.connector.instruments import InstrumentBook
from services.connector.profile import Credentials
from services.connector.rate_budget import RateBudget
from services.connector.symbols import build_instruments
from services.connector.venue import Venue
from services.connector.venues import find_profile
from tests.support.certificates import CertificateAuthority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

HOSTS = (
    *("api.binance.com", "fapi.binance.com", "www.okx.com", "api.bybit.com", "api.gateio.ws"),
    *("api.bitget.com", "api.hyperliquid.xyz", "fx-ws.gateio.ws", "ws.bitget.com"),
)
WALLET = "0x" + "1" * 40
KEY = "0x" + "2" * 64


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived."""

    host: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A canned reply; `body` is sent as JSON, text as it is."""

    body: Any
    status: int = 200


# Not frozen: tests exchange answers, and requests gather.
@dataclass(slots=True)
class CannedVenue:
    """Answers by "METHOD /path"; to a POST that carries a `type`, by "METHOD /path type".

    `tell` gives what a WebSocket sends back for a message, `heard` keeps the messages. What is
    under a request's name in `after` are the answers from that request on.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    tell: Callable[[Any], list[Any]] = lambda message: []
    heard: list[Any] = field(default_factory=list)
    after: dict[str, dict[str, Answer]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return what was asked, in order, as the keys of `answers`."""
        return [_name(one) for one in self.asked]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Record a request and answer it; what has no answer gets 599, which proves nothing."""
        if "upgrade" in request.headers:
            return await self._talk(request)
        text = await request.text()
        asked = Asked(
            host=request.host.partition(":")[0],
            method=request.method,
            # ccxt tells Gate's contracts by these two letters in an address.
            path=request.path.removeprefix("/fx"),
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=json.loads(text) if text[:1] in ("{", "[") else text,
        )
        self.asked.append(asked)
        answer = self.answers.get(_name(asked), Answer("no such answer", 599))
        self.answers |= self.after.get(_name(asked), {})
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        return web.Response(status=answer.status, text=text, content_type="application/json")

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        async for frame in socket_:
            if frame.type is not aiohttp.WSMsgType.TEXT or frame.data[:1] != "{":
                continue
            message = json.loads(frame.data)
            self.heard.append(message)
            for one in self.tell(message):
                await socket_.send_str(json.dumps(one))
        return socket_


def _name(asked: Asked) -> str:
    name = f"{asked.method} {asked.path}"
    body = asked.body if isinstance(asked.body, dict) else {}
    action = body.get("action")
    word = action.get("type") if isinstance(action, dict) else body.get("type")
    # Hyperliquid asks everything at one path.
    return f"{name} {word}" if asked.path in ("/info", "/exchange") else name


class _Loopback(AbstractResolver):
    """Resolves each host to the responder."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the responder's address and port."""
        del port, family
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=self._port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Have nothing to close."""


@asynccontextmanager
async def open_canned(folder: Path) -> AsyncIterator[tuple[CannedVenue, aiohttp.ClientSession]]:
    """Open the responder and a session whose every host is the responder."""
    authority = CertificateAuthority(folder)
    files = authority.issue("venue", HOSTS)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(files.certificate, files.key)
    venue = CannedVenue()
    async with open_responder(venue, serving) as port:
        trusting = ssl.create_default_context(cafile=str(authority.file))
        connector = aiohttp.TCPConnector(resolver=_Loopback(port), ssl=trusting)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield venue, session


@asynccontextmanager
async def open_responder(
    venue: CannedVenue, serving: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Answer on a port of loopback, in the clear or over TLS."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", venue.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=serving)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_venue(code: str, session: aiohttp.ClientSession) -> AsyncIterator[Venue]:
    """Open a venue of the real classes with its markets loaded, budgets wide."""
    profile = find_profile(code)
    clock = SystemClock()
    hyperliquid = profile.ccxt_id == "hyperliquid"
    credentials = Credentials(WALLET, KEY) if hyperliquid else Credentials("key", "secret", "pass")
    window = timedelta(seconds=5)
    exchange = build_exchange(
        profile,
        session,
        base_url=None,
        credentials=credentials,
        recv_window=window,
        request_timeout=timedelta(seconds=5),
    )
    try:
        markets = await exchange.load_markets(True)
        yield Venue(
            code=code,
            name=code,
            kind=profile.kind,
            exchange=exchange,
            trading=exchange,
            instruments=InstrumentBook(build_instruments(markets.values(), profile)),
            budget=RateBudget(scale_allowances(profile.allowances, 1_000.0), clock),
            clock=clock,
            profile=profile,
            fence=profile.fence,
        )
    finally:
        await exchange.close()
