"""The application: one aiohttp server, one loop that lets market time happen."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from aiohttp import web

from services.common.task_end import end_task
from services.simulator.bybit_gateway import PREFIX as BYBIT_PREFIX
from services.simulator.bybit_gateway import BybitGateway
from services.simulator.bybit_ws import BybitStreams
from services.simulator.control import ControlHandlers
from services.simulator.gateway import Gateway
from services.simulator.http import RestHandler, Witness
from services.simulator.mirror.mirror import Mirror
from services.simulator.okx_gateway import PREFIX as OKX_PREFIX
from services.simulator.okx_gateway import OkxGateway
from services.simulator.okx_ws import OkxStreams
from services.simulator.simulation import Simulation
from services.simulator.user_streams import UserStreams
from services.simulator.ws import StreamHandlers

MAX_BODY_BYTES = 1_048_576


class Application:
    """A simulator that listens while its context is open; `witness` sees its REST traffic."""

    def __init__(
        self,
        simulation: Simulation,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        control_token: str | None = None,
        tick_seconds: float = 0.1,
        stream_queue: int = 10_000,
        witness: Witness | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        self.simulation = simulation
        self._mirror = mirror
        before = None if mirror is None else mirror.before
        self.gateway = Gateway(simulation)
        self._user_streams = UserStreams(simulation)
        self._streams = StreamHandlers(
            simulation, self.gateway, self._user_streams, stream_queue, before=before
        )
        self._bybit = BybitGateway(simulation)
        self._bybit_streams = BybitStreams(
            simulation, self._user_streams, self._streams, stream_queue
        )
        self._okx = OkxGateway(simulation)
        self._okx_streams = OkxStreams(simulation, self._user_streams, self._streams, stream_queue)
        self._witness = witness
        self._host = host
        self._port = port
        self._control_token = control_token
        self._tick_seconds = tick_seconds
        self._runner: web.AppRunner | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._open = contextlib.AsyncExitStack()
        self.address = ""

    @property
    def url(self) -> str:
        """Return the base URL, once listening."""
        return f"http://{self.address}"

    @property
    def user_stream_count(self) -> int:
        """Return how many user streams are open."""
        return self._user_streams.count

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        mirror = None if self._mirror is None else self._mirror.record
        control = ControlHandlers(self.simulation, self._streams, self._control_token, mirror)
        control.register(application)
        self._streams.register_private(application)
        if self._mirror is None:
            self._register_simulated(application)
        else:
            await self._register_mirrored(application, self._mirror)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"
        # owned by this object: made on entry, cancelled and awaited on exit
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._ticker is not None:
            await end_task(self._ticker)
        # open streams would keep the server waiting for its whole shutdown time
        self._streams.cut_all()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._open.aclose()

    def _register_simulated(self, application: web.Application) -> None:
        self._streams.register_market(application)
        self._bybit_streams.register(application)
        self._okx_streams.register(application)
        for prefix, gateway in (
            (OKX_PREFIX, self._okx),
            (BYBIT_PREFIX, self._bybit),
            ("/", self.gateway),
        ):
            handler = RestHandler(gateway, self._witness)
            application.router.add_route("*", prefix + "{tail:.*}", handler.handle)

    async def _register_mirrored(self, application: web.Application, mirror: Mirror) -> None:
        await self._open.enter_async_context(mirror)
        mirror.register(application)
        # the family that is mirrored alone: the others would speak of its symbols as their own
        handler = RestHandler(self.gateway, self._witness, mirror.before)
        application.router.add_route("*", "/{tail:.*}", handler.handle)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._tick_seconds)
            # requests advance too; the tick is for when nobody asks anything
            self.simulation.exchange.advance()
            self._user_streams.poll()
            self._streams.poll()
