"""Which public data of Binance is read, and where: nothing else can be asked by a mirror.

Sources: spot rest-api.md, "General API Information" (data-api.binance.vision serves public data
alone) and web-socket-streams.md; USD-M "General Info" and "Websocket Market Streams".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from services.simulator.market.source import Kind

SPOT_PATHS: Final = frozenset(
    {
        "/api/v3/aggTrades",
        "/api/v3/depth",
        "/api/v3/exchangeInfo",
        "/api/v3/klines",
        "/api/v3/ticker/24hr",
        "/api/v3/ticker/bookTicker",
        "/api/v3/ticker/price",
    }
)
PERPETUAL_PATHS: Final = frozenset(
    {
        "/fapi/v1/depth",
        "/fapi/v1/exchangeInfo",
        "/fapi/v1/fundingInfo",
        "/fapi/v1/fundingRate",
        "/fapi/v1/klines",
        "/fapi/v1/openInterest",
        "/fapi/v1/premiumIndex",
        "/fapi/v1/ticker/24hr",
        "/fapi/v1/ticker/bookTicker",
        "/fapi/v1/ticker/price",
        "/fapi/v1/trades",
        "/fapi/v2/ticker/price",
    }
)
PUBLIC_PATHS: Final = SPOT_PATHS | PERPETUAL_PATHS
SPOT_STREAMS: Final = ("/ws", "/stream/ws")
PERPETUAL_STREAMS: Final = ("/public/ws", "/market/ws")


def kind_of(path: str) -> Kind:
    """Return what a public path tells of; raises KeyError for any other path."""
    if path in SPOT_PATHS:
        return Kind.SPOT
    if path in PERPETUAL_PATHS:
        return Kind.PERPETUAL
    raise KeyError(path)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a venue serves its public data: REST and streams of spot and of perpetuals."""

    spot: str = "https://data-api.binance.vision"
    perpetual: str = "https://fapi.binance.com"
    spot_streams: str = "wss://data-stream.binance.vision"
    perpetual_streams: str = "wss://fstream.binance.com"

    @classmethod
    def of(cls, base_url: str | None) -> Self:
        """Return the venue's own addresses, or one address for all of it."""
        if base_url is None:
            return cls()
        base = base_url.rstrip("/")
        parts = urlsplit(base)
        streams = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path}"
        return cls(base, base, streams, streams)

    def of_path(self, path: str) -> str:
        """Return the address that serves a public path; raises KeyError for any other path."""
        return self.spot if kind_of(path) is Kind.SPOT else self.perpetual

    def of_stream(self, path: str) -> str:
        """Return the URL of a public stream's path; raises KeyError for any other path."""
        head, _, tail = path.rpartition("/")
        # ccxt numbers its connections behind the path
        plain = head if tail.isascii() and tail.isdigit() else path
        if plain in SPOT_STREAMS:
            # the live host has no "/stream" before it: that is ccxt's mark of spot on one address
            is_own = self.spot_streams == type(self)().spot_streams
            return self.spot_streams + (path.removeprefix("/stream") if is_own else path)
        if plain in PERPETUAL_STREAMS:
            return self.perpetual_streams + path
        raise KeyError(path)
