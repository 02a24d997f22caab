"""A ban of our address: no WebSocket is opened before its end, and a restart does not forget it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.connector.ccxt_lean import errors as ccxt_errors
from services.connector.exchange_factory import build_exchange, new_session
from services.connector.profile import Credentials, EndpointClass
from services.connector.rate_budget import RateBudget
from services.connector.venue_ban import LONGEST_BAN, BanFile, ConnectGate
from services.connector.venues import find_profile
from services.connector.websocket_entry import WebSocketEntry
from tests.support.hand_clock import NOW, HandClock

WEIGHT = EndpointClass.WEIGHT
BAN = timedelta(seconds=90)


# Mutable: it keeps what arrives, and the test sets its answer.
@dataclass(slots=True)
class Host:
    """A venue that takes WebSockets and reads, and notes each."""

    status: int = 101
    arrived: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer as the test wants it."""
        self.arrived.append(request.path)
        if self.status != 101:
            return web.Response(status=self.status, headers={"Retry-After": "90"})
        if request.headers.get("Upgrade") != "websocket":
            return web.json_response({})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket


@dataclass(frozen=True, slots=True)
class Rig:
    """A budget that keeps its bans on disk, a gated session, and the venue."""

    clock: HandClock
    budget: RateBudget
    file: BanFile
    session: aiohttp.ClientSession
    host: Host
    address: str

    async def connect(self) -> None:
        """Open a WebSocket and close it."""
        async with self.session.ws_connect(f"ws://{self.address}/ws"):
            pass

    def exchange(self) -> Any:
        """Return a ccxt instance on the venue."""
        return build_exchange(
            find_profile("binance"),
            self.session,
            base_url=f"http://{self.address}",
            credentials=Credentials("key", "secret"),
            recv_window=timedelta(seconds=5),
            request_timeout=timedelta(seconds=5),
        )


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Serve a venue on loopback."""
    clock, host, app = HandClock(), Host(), web.Application()
    app.router.add_route("*", "/{tail:.*}", host.handle)
    file = BanFile(tmp_path / "ledger", clock)
    budget = RateBudget({}, clock, keep_ban=file.keep)
    gate = ConnectGate(budget, find_profile("bybit-linear").bans)
    async with TestServer(app) as server, new_session(gate) as session:
        yield Rig(clock, budget, file, session, host, f"127.0.0.1:{server.port}")


async def test_no_websocket_is_opened_before_the_ban_ends(rig: Rig) -> None:
    """Nothing reaches the venue; at the end of the ban the connection is made."""
    rig.budget.observe_refusal(418, BAN, WEIGHT)
    rig.clock.instant += BAN - timedelta(seconds=1)
    with pytest.raises(aiohttp.ClientConnectionError, match="banned"):
        await rig.connect()
    assert rig.host.arrived == []
    rig.clock.instant += timedelta(seconds=1)
    await rig.connect()
    assert rig.host.arrived == ["/ws"]


async def test_streams_of_ccxt_are_not_opened_during_a_ban(rig: Rig) -> None:
    """The library dials by itself; what it dials through is ours."""
    exchange = rig.exchange()
    rig.budget.observe_refusal(418, BAN, WEIGHT)
    with pytest.raises(ccxt_errors.NetworkError, match="banned"):
        await exchange.watch(f"ws://{rig.address}/ws", "row")
    assert rig.host.arrived == []
    await exchange.close()


async def test_the_order_entry_connection_is_not_opened_during_a_ban(rig: Rig) -> None:
    """Its attempts stay in the process, and it goes on to make them."""
    form = find_profile("binance").websocket
    assert form is not None
    rig.budget.observe_refusal(418, BAN, WEIGHT)

    async def stop_in_the_second_pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise StopAsyncIteration

    pauses: list[float] = []
    rig.clock.sleep = stop_in_the_second_pause  # type: ignore[method-assign]  # ends the errand
    exchange = rig.exchange()
    entry = WebSocketEntry(rig.session, exchange, form, rig.clock, timedelta(seconds=5))
    with pytest.raises(StopAsyncIteration):
        await entry.run()
    assert rig.host.arrived == []
    await exchange.close()


@pytest.mark.parametrize("status", [418, 403])
async def test_a_refused_handshake_tells_of_the_ban(status: int, rig: Rig) -> None:
    """418 to a WebSocket silences everything, as to a call, and so does Bybit's 403."""
    rig.host.status = status
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await rig.connect()
    assert rig.budget.ban_end == NOW + BAN
    with pytest.raises(aiohttp.ClientConnectionError):
        await rig.connect()
    assert len(rig.host.arrived) == 1


async def test_a_handshake_over_the_limit_pauses_reads_only(rig: Rig) -> None:
    """429 is no ban."""
    rig.host.status = 429
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await rig.connect()
    assert rig.budget.ban_end is None


async def test_calls_are_left_to_the_budget(rig: Rig) -> None:
    """An order that passed the budget before the ban came is not stopped half way."""
    rig.budget.observe_refusal(418, BAN, WEIGHT)
    async with rig.session.get(f"http://{rig.address}/order") as response:
        assert response.status == 200


def next_process(clock: HandClock, folder: Path) -> RateBudget:
    """Return the budget of a process started now."""
    file = BanFile(folder / "ledger", clock)
    budget = RateBudget({}, clock, keep_ban=file.keep)
    file.restore(budget)
    return budget


def test_a_restart_keeps_the_ban(tmp_path: Path) -> None:
    """Until its end by the clock on the wall; the longest one told counts, and then it is over."""
    clock = HandClock()
    first = next_process(clock, tmp_path)
    assert first.ban_end is None
    first.observe_refusal(418, BAN, WEIGHT)
    first.observe_refusal(418, timedelta(seconds=5), WEIGHT)
    clock.instant += timedelta(seconds=60)
    assert next_process(clock, tmp_path).ban_end == NOW + BAN
    clock.instant += timedelta(seconds=30)
    assert next_process(clock, tmp_path).ban_end is None


def test_a_pause_of_a_class_is_not_kept(tmp_path: Path) -> None:
    """What lasts seconds is over before a process is up again."""
    clock = HandClock()
    next_process(clock, tmp_path).observe_refusal(429, BAN, WEIGHT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"until": 5}', '{"until": "soon"}', '{"until": "2026-03-20T12:00:00"}']
)
def test_an_unreadable_ban_is_none(tmp_path: Path, text: str) -> None:
    """The venue would tell of it again; a service that cannot start tells nobody anything."""
    (tmp_path / "ledger.ban").write_text(text)
    assert next_process(HandClock(), tmp_path).ban_end is None


def test_no_ban_is_believed_for_longer_than_venues_ban(tmp_path: Path) -> None:
    """A clock that was wrong when it was written does not silence the venue for years."""
    (tmp_path / "ledger.ban").write_text('{"until": "2036-03-20T12:00:00+00:00"}')
    assert next_process(HandClock(), tmp_path).ban_end == NOW + LONGEST_BAN


def test_a_ban_that_cannot_be_written_holds_in_this_process(tmp_path: Path) -> None:
    """A full disk stops no answer from being taken."""
    file = BanFile(tmp_path / "nowhere" / "ledger", HandClock())
    budget = RateBudget({}, HandClock(), keep_ban=file.keep)
    budget.observe_refusal(418, BAN, WEIGHT)
    assert budget.ban_end is not None
