"""Requests without what ccxt does beside them and nobody here uses.

`create_order` ends with ccxt's `parse_order`, a third of a millisecond whose result nobody reads:
the profile reads the raw row. Only there, since lists of orders are sorted by what was parsed. And
each request passes through checks of six kinds of proxy, which our session does not have.
"""

from __future__ import annotations

import socket
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

import aiohttp
import yarl

from services.connector.ccxt_lean import errors

_PLACING: Final[ContextVar[bool]] = ContextVar("placing", default=False)


@cache
def _limits(milliseconds: int) -> aiohttp.ClientTimeout:
    seconds = milliseconds / 1000
    return aiohttp.ClientTimeout(total=seconds, sock_connect=seconds, sock_read=seconds)


class LeanReplyMixin:
    """Mixed in before a ccxt.pro class that was given its session."""

    session: aiohttp.ClientSession
    timeout: int

    async def create_order(self, *args: Any, **named: Any) -> Any:
        """Send an order as ccxt does; of the answer `info` alone is filled."""
        token = _PLACING.set(True)
        try:
            # The class that ccxt made comes after this one.
            return await super().create_order(*args, **named)  # type: ignore[misc]  # ccxt's class
        finally:
            _PLACING.reset(token)

    def parse_order(self, order: Any, market: Any = None) -> Any:
        """Return the raw row of a new order, and what ccxt makes of any other."""
        if _PLACING.get():
            # Hyperliquid's reply is one of a list, which ccxt sorts by these.
            return {"info": order, "symbol": None, "timestamp": None}
        return super().parse_order(order, market)  # type: ignore[misc]  # ccxt's class

    async def fetch(
        self, url: str, method: str = "GET", headers: Any = None, body: str | None = None
    ) -> Any:
        """Send a signed request over the session and return its parsed reply.

        Raises ccxt's classes for what goes wrong on the way, the transport's own error as their
        cause, and what `handle_errors` makes of the reply.
        """
        own: Any = self
        sent = own.prepare_request_headers(headers)
        limits = _limits(self.timeout)
        data = body.encode() if body else None
        where = f"{own.id} {method} {url}"
        try:
            async with self.session.request(
                method, yarl.URL(url, encoded=True), data=data, headers=sent, timeout=limits
            ) as response:
                raw = await response.read()
        except TimeoutError as error:
            raise errors.RequestTimeout(where) from error
        except (socket.gaierror, aiohttp.ClientConnectionError) as error:
            raise errors.ExchangeNotAvailable(where) from error
        except aiohttp.ClientError as error:
            raise errors.ExchangeError(where) from error
        status, reason = response.status, response.reason
        await own.on_answer_read(status, len(raw))
        received = dict(response.headers)
        text = own.on_rest_response(
            status, reason, url, method, received, raw.decode(errors="replace"), sent, body
        )
        reply = own.parse_json(text)
        own.handle_errors(status, reason, url, method, received, text, reply, sent, body)
        return reply
