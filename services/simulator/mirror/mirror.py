"""A mirror that runs: its session, its readings, its gate, its streams."""

from __future__ import annotations

import asyncio
from typing import Self

import aiohttp
from aiohttp import web

from services.common.task_end import end_task
from services.simulator.gateway import Plan, Reply
from services.simulator.mirror.addresses import Addresses
from services.simulator.mirror.data_client import DataClient
from services.simulator.mirror.follower import Follower
from services.simulator.mirror.gate import MirrorGate
from services.simulator.mirror.mirrored_market import MirroredMarket
from services.simulator.mirror.pace import MirrorPace
from services.simulator.mirror.reader import MirrorReader
from services.simulator.mirror.streams import PublicStreams
from services.simulator.simulation import Simulation

_NOT_OPEN = "the mirror is not open"


class Mirror:
    """Follows a venue while its context is open."""

    def __init__(
        self,
        simulation: Simulation,
        market: MirroredMarket,
        addresses: Addresses,
        pace: MirrorPace,
        *,
        latency_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._simulation = simulation
        self._market = market
        self._addresses = addresses
        self._pace = pace
        self._latency_seconds = latency_seconds
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None
        self._gate: MirrorGate | None = None
        self._follower: Follower | None = None
        self._task: asyncio.Task[None] | None = None

    async def before(self, plan: Plan) -> Reply | None:
        """Return what the gate returns."""
        if self._gate is None:
            raise RuntimeError(_NOT_OPEN)
        return await self._gate.before(plan)

    def register(self, application: web.Application) -> None:
        """Add the routes of the public streams."""
        if self._session is None:
            raise RuntimeError(_NOT_OPEN)
        streams = PublicStreams(self._addresses, self._session, self._timeout_seconds)
        streams.register(application)

    def record(self) -> dict[str, object]:
        """Return what cannot be read of the venue now, and how many orders were refused for it."""
        return {
            "away": {} if self._follower is None else self._follower.away,
            "refused": 0 if self._gate is None else self._gate.refused,
        }

    async def __aenter__(self) -> Self:
        # no cookies, no keys, nothing of the environment: only public questions leave here
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auth=None
        )
        simulation = self._simulation
        client = DataClient(self._addresses, self._session, self._timeout_seconds)
        reader = MirrorReader(client, self._market, simulation.clock)
        accounts = simulation.exchange.accounts
        self._gate = MirrorGate(
            client, reader, self._market, accounts, simulation.clock, self._latency_seconds
        )
        self._follower = Follower(reader, simulation.exchange, self._pace)
        # owned by this object: made on entry, cancelled and awaited on exit
        self._task = asyncio.get_running_loop().create_task(self._follower.run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._task is not None:
            await end_task(self._task)
        if self._session is not None:
            await self._session.close()
