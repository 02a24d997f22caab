"""Two engines on one PostgreSQL journal beside the rest of the system, all real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from cli.clients import engine_client
from cli.demo.stack import LocalStack, StackOptions
from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc
from services.common.call_errors import translated
from services.common.errors import OpensqtError
from services.common.settings import EndpointSettings
from tests.support.postgres_server import PostgresServer
from tests.support.stack import CLOSED, FLAT, POLL_SECONDS, StackDriver, stack_options
from tests.support.stalling_proxy import StallingProxy, stalling_proxy

FIRST, SECOND = "engine", "engine-second"
ENGINES = (FIRST, SECOND)
PASSWORD = "not so secret"
TERM_SECONDS, CALL_SECONDS = 5.0, 2.0
TAKEOVER_SECONDS = 30.0
"""A term, the start of what an engine has, and the pauses of a machine that is shared."""


class PairStack(LocalStack):
    """The whole system with a second engine that stands by; `ports` are the journal's for each."""

    def __init__(self, directory: Path, options: StackOptions, ports: Mapping[str, int]) -> None:
        super().__init__(directory, options)
        self._password_file = directory / "journal-password"
        self._ports = ports

    async def start(self) -> None:
        """Start everything; the first engine is at work before the second starts."""
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(PASSWORD)
        await super().start()
        await self._launch(SECOND, "services.engine", self._engine_table())

    def common_table(self, name: str) -> dict[str, Any]:
        """Return what the file of every service begins with, of an engine its place besides."""
        table = super().common_table(name)
        if name not in ENGINES:
            return table
        shared = {
            "url": f"postgresql://postgres@127.0.0.1:{self._ports[name]}/postgres",
            "password_file": self._password_file,
            "holder": name,
            "lease_term": TERM_SECONDS,
            "call_timeout": CALL_SECONDS,
        }
        return {**table, "shared_journal": shared}

    def _engine_table(self) -> dict[str, Any]:
        # Each its own folder, as on machines of their own: what is there besides is its halt flag.
        number = sum(name in self.services for name in ENGINES)
        path = self.directory / f"engine-{number}" / "journal.db"
        return {**super()._engine_table(), "journal_path": path}


class EnginePair(StackDriver):
    """The driver of such a system; `engine` is the stub of the engine at work.

    `line` is what the first engine reaches the journal by.
    """

    def __init__(
        self,
        stack: LocalStack,
        stubs: dict[str, engine_pb2_grpc.EngineServiceAsyncStub],
        line: StallingProxy,
    ) -> None:
        super().__init__(stack, stubs[FIRST])
        self._stubs = stubs
        self.line = line
        self.leader = FIRST

    @property
    def other(self) -> str:
        """Name of the engine that is not at work."""
        return SECOND if self.leader == FIRST else FIRST

    async def refusal(self, name: str) -> str:
        """Return why an engine does not say how it stands; empty where it does."""
        try:
            with translated():
                await self._stubs[name].GetStatus(engine_pb2.GetStatusRequest())
        except OpensqtError as error:
            return error.reason
        return ""

    async def until_standing_by(self, name: str) -> None:
        """Wait until an engine says that another one works."""

        async def stands_by() -> bool:
            return await self.refusal(name) == "ENGINE_STANDING_BY"

        await self.until(stands_by, f"{name} stands by", TAKEOVER_SECONDS)

    async def taken_over(self) -> float:
        """Wait until the other engine is at work and go on with it; return the loop's time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + TAKEOVER_SECONDS
        while reason := await self.refusal(self.other):
            assert loop.time() < end, f"{self.other} did not take over: {reason}"
            await asyncio.sleep(POLL_SECONDS)
        self.leader = self.other
        self.engine = self._stubs[self.leader]
        return loop.time()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a service."""
        os.kill(self.stack.services[name].pid, number)

    async def positions(self) -> list[engine_pb2.HedgedPosition]:
        """Return every position that the engine at work knows and that is not over.

        One that has just begun reads what has ended first, beside its work.
        """
        found: list[engine_pb2.HedgedPosition] = []

        async def is_listed() -> bool:
            request = engine_pb2.ListHedgedPositionsRequest()
            try:
                with translated():
                    found[:] = (await self.engine.ListHedgedPositions(request)).positions
            except OpensqtError as error:
                if error.reason != "JOURNAL_BEING_READ":
                    raise
                return False
            return True

        await self.until(is_listed, "the journal is read")
        return [one for one in found if one.state not in (CLOSED, FLAT)]

    async def requests_sent(self) -> list[dict[str, Any]]:
        """Return every order request that has reached the venue."""
        rows: list[dict[str, Any]] = await self.control.get("requests")
        return rows


@contextlib.asynccontextmanager
async def running_pair(folder: Path, server: PostgresServer) -> AsyncIterator[EnginePair]:
    """Start the system with two engines under `folder`; stops it at the end."""
    async with contextlib.AsyncExitStack() as clients:
        line = await clients.enter_async_context(stalling_proxy(server.port))
        stack = PairStack(folder, stack_options(), {FIRST: line.port, SECOND: server.port})
        clients.push_async_callback(_stop, stack)
        await stack.start()
        stubs = {}
        for name in ENGINES:
            endpoint = EndpointSettings.model_validate(stack.endpoint(name))
            stubs[name] = await clients.enter_async_context(engine_client(endpoint))
        yield EnginePair(stack, stubs, line)


async def _stop(stack: PairStack) -> None:
    for name in ENGINES:
        service = stack.services.get(name)
        # A stopped process takes no other signal.
        if service is not None and service.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(service.process.pid, signal.SIGCONT)
    await stack.stop()
