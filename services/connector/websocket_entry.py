"""Order entry over the venue's WebSocket: one connection of its own, one reply per request.

The ledger, the rate budget and the rules of outcome are those of any other order; only the way to
the venue differs. An order goes this way while the connection is open, else by HTTP; never both.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson

from services.common.logs import get_logger
from services.connector.venue_http import REQUEST_TRACE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from services.common.clock import Clock
    from services.connector.order_calls import NewOrder
    from services.connector.profile import WebSocketForm

HEARTBEAT_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 0.2
MOST_PAUSE_SECONDS: Final = 30.0

_logger = get_logger(__name__)


class WebSocketEntry:
    """The order-entry connection of one account, opened again after each break."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        exchange: Any,
        form: WebSocketForm,
        clock: Clock,
        timeout: timedelta,
    ) -> None:
        self._session = session
        self._exchange = exchange
        self._form = form
        self._clock = clock
        self._timeout = timeout.total_seconds()
        self._ids = count(1)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._waiting: dict[str, asyncio.Future[Mapping[str, Any]]] = {}

    def takes(self, order: NewOrder) -> bool:
        """Whether an order can go this way now."""
        return self._socket is not None and self._form.takes(order)

    async def place(self, order: NewOrder) -> Mapping[str, Any]:
        """Send a new order, once, and return the venue's row; call only when it `takes` the order.

        Raises VenueAnswerError when the venue answers otherwise; every other error after the
        sending leaves the outcome open.
        """
        socket = self._socket
        if socket is None:
            raise ConnectionError("the order-entry connection is not open")
        entry = str(next(self._ids))
        text = orjson.dumps(self._form.encode(self._exchange, order, entry)).decode()
        answer = asyncio.get_running_loop().create_future()
        self._waiting[entry] = answer
        trace = REQUEST_TRACE.get()
        if trace is not None:
            # Set before, not after: once the call is made, bytes may be on the wire.
            trace.left = True
        try:
            await socket.send_str(text)
            async with asyncio.timeout(self._timeout):
                reply: Mapping[str, Any] = await answer
        finally:
            self._waiting.pop(entry, None)
        return self._form.decode(reply)

    async def run(self) -> None:
        """Keep the connection open until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            was_open = await self._session_once()
            pause = FIRST_PAUSE_SECONDS if was_open else min(pause * 2, MOST_PAUSE_SECONDS)
            await self._clock.sleep(pause)

    async def _session_once(self) -> bool:
        was_open = False
        url = self._form.url(self._exchange)
        try:
            async with self._session.ws_connect(url, heartbeat=HEARTBEAT_SECONDS) as socket:
                was_open = True
                self._socket = socket
                _logger.info("websocket_entry_open")
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        self._take(message.data)
        except (aiohttp.ClientError, OSError) as error:
            _logger.warning("websocket_entry_failed", problem=type(error).__name__)
        finally:
            self._socket = None
            self._break()
        return was_open

    def _take(self, text: str) -> None:
        try:
            reply = orjson.loads(text)
            entry = str(reply["id"])
        except (ValueError, TypeError, LookupError):
            # Nobody's reply: whoever waits for one is told by the time that passes.
            _logger.error("websocket_reply_broken")
            return
        waiting = self._waiting.get(entry)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    def _break(self) -> None:
        waiting = [one for one in self._waiting.values() if not one.done()]
        if waiting:
            _logger.warning("websocket_entry_broke", unanswered=len(waiting))
        for one in waiting:
            one.set_exception(ConnectionError("the order-entry connection broke"))
