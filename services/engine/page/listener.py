"""Connections of the page: never more than there are places, none for long.

A connection holds its place from before it is accepted until it is gone, handshake included: what
strangers open takes no file descriptor that the journal or a venue may need.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from services.common.errors import FatalError
from services.common.logs import get_logger
from services.engine.owned_tasks import OwnedTasks

if TYPE_CHECKING:
    import ssl

    from aiohttp.web_protocol import RequestHandler

    from services.common.clock import Clock

_log = get_logger(__name__)
CONNECTION_SECONDS: Final = 15.0
"""A connection is cut at that age, whatever became of its request: each page opens its own."""

HANDSHAKE_SECONDS: Final = 5.0
_PAUSE_SECONDS = 1.0
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class PageListener:
    """Accepts connections and hands their requests to `answer`."""

    def __init__(
        self, answer: Answer, context: ssl.SSLContext | None, places: int, clock: Clock
    ) -> None:
        self._places = asyncio.Semaphore(places)
        self._http = _Http(answer, self._places.release)
        self._context = context
        self._clock = clock
        self._tasks = OwnedTasks()

    def listen(self, host: str, port: int) -> str:
        """Listen at once; return the address as `host:port`. Raises FatalError PORT_TAKEN."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server((host, port), family=family)
        except OSError as error:
            problem = f"cannot serve the page on {host}:{port}: is the port taken?"
            raise FatalError(problem, reason="PORT_TAKEN") from error
        listening.setblocking(False)
        self._tasks.spawn(self._accept(listening), "page-listener")
        name = f"[{host}]" if ":" in host else host
        return f"{name}:{listening.getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening and end every connection."""
        await self._tasks.close()
        await self._http.shutdown(timeout=1.0)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                await self._places.acquire()
                try:
                    connection, _ = await loop.sock_accept(listening)
                except OSError as error:
                    # No descriptor is left: others of this process need the next one more.
                    self._places.release()
                    _log.warning("page_not_accepted", problem=str(error.strerror))
                    await self._clock.sleep(_PAUSE_SECONDS)
                    continue
                self._tasks.spawn(self._greet(connection), "page-connection")

    async def _greet(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        seconds = None if self._context is None else HANDSHAKE_SECONDS
        try:
            transport, _ = await loop.connect_accepted_socket(
                self._http, connection, ssl=self._context, ssl_handshake_timeout=seconds
            )
        except OSError:
            # Errors of TLS and of time are among them; such a connection was never made.
            connection.close()
            self._places.release()
            return
        loop.call_later(CONNECTION_SECONDS, transport.abort)


class _Http(web.Server):
    """The HTTP of aiohttp, which tells when a connection that was made is gone."""

    def __init__(self, answer: Answer, ended: Callable[[], None]) -> None:
        super().__init__(answer, access_log=None)
        self._ended = ended

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        self._ended()
