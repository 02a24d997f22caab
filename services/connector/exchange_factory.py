"""Make the ccxt.pro instances of one venue: nothing hidden, nothing retried, numbers as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from services.connector.ccxt_lean import import_venue_class
from services.connector.lean_replies import LeanReplyMixin
from services.connector.rate_lanes import SESSION_CONNECTIONS
from services.connector.venue_http import VenueHttpMixin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from services.connector.profile import Credentials, VenueProfile


def rewrite_urls(urls: Any, base_url: str) -> Any:
    """Return ccxt's `urls['api']` with scheme and host of each URL those of `base_url`.

    Paths stay; `wss` becomes `ws` when the base is plain HTTP. Values that are no URL stay too.
    """
    if isinstance(urls, dict):
        return {key: rewrite_urls(value, base_url) for key, value in urls.items()}
    if not isinstance(urls, str) or "://" not in urls:
        return urls
    base, old = urlsplit(base_url), urlsplit(urls)
    scheme, path = base.scheme, base.path.rstrip("/") + old.path
    if old.scheme in ("ws", "wss"):
        scheme = "wss" if base.scheme == "https" else "ws"
        if (old.hostname or "").startswith("stream."):
            # ccxt tells Binance spot from futures by "/stream" in the URL, live a part of the host.
            path = f"{base.path.rstrip('/')}/stream{old.path}"
    return urlunsplit((scheme, base.netloc, path, old.query, ""))


def new_session(*gates: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
    """Return the long-lived HTTP session; the caller closes it. `gates` see all that it sends.

    Connections are kept for less time than the venues keep theirs, so that an order is rarely sent
    down one that the venue is just closing.
    """
    # aiohttp sends GET and DELETE again when a kept connection turns out dead, POST never: that is
    # what lets an order be sent once, and why no cancel may count on being single.
    connector = aiohttp.TCPConnector(
        limit=SESSION_CONNECTIONS, keepalive_timeout=30.0, ttl_dns_cache=60
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), middlewares=gates
    )


def build_exchange(
    profile: VenueProfile,
    session: aiohttp.ClientSession,
    *,
    base_url: str | None,
    credentials: Credentials,
    recv_window: timedelta,
    request_timeout: timedelta,
) -> Any:
    """Return a ccxt.pro instance of the profile's venue.

    ccxt's limiter is off (it holds each USD-M order back 200 ms) and its retries are zero; our own
    budget and our own outcome rules stand in their place.
    """
    # Mixed in before ccxt's class, or its error tables would judge replies first.
    venue_class = type(
        profile.ccxt_id,
        (VenueHttpMixin, LeanReplyMixin, import_venue_class(profile.ccxt_id)),
        {"profile": profile},
    )
    exchange: Any = venue_class(
        {
            "number": str,
            "enableRateLimit": False,
            "maxRetriesOnFailure": 0,
            "timeout": round(request_timeout.total_seconds() * 1000),
            "session": session,
            "options": _options(profile.options, recv_window),
            **profile.credentials(credentials),
        }
    )
    # Text end to end: with Decimal ccxt sends amounts unrounded, with float inexact.
    exchange.number = str
    exchange.headers = {
        name: value
        for name, value in exchange.headers.items()
        if name not in profile.unwanted_headers
    }
    # ccxt would sleep a quarter of a second at each close.
    exchange.timeout_on_exit = 0
    if base_url is not None:
        exchange.urls["api"] = rewrite_urls(exchange.urls["api"], base_url)
    # TLS is the session's; ccxt would read all certificates of the host for each instance.
    exchange.ssl_context = True
    # Without it a WebSocket before the first REST call finds no event loop in ccxt.
    exchange.open()
    return exchange


def _options(options: Mapping[str, Any], recv_window: timedelta) -> dict[str, Any]:
    # A copy: ccxt writes listen keys and time differences into its options.
    return {**options, "recvWindow": round(recv_window.total_seconds() * 1000)}
