"""What a mirror may ask of a real venue: public data, by GET, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from services.simulator.dialects.context import Security
from services.simulator.gateway import ROUTES
from services.simulator.mirror.addresses import PUBLIC_PATHS, Addresses
from services.simulator.mirror.data_client import DataAwayError, DataClient
from services.simulator.mirror.streams import may_pass
from services.simulator.mirror.used_weight import Need

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
async def client() -> AsyncIterator[DataClient]:
    """Give a client of an address where nobody listens."""
    async with aiohttp.ClientSession() as session:
        yield DataClient(Addresses.of(NOBODY), session, 1.0)


def test_public_paths_are_those_without_a_key() -> None:
    """Each is a GET that the simulated venue, too, answers without any authentication."""
    for path in PUBLIC_PATHS:
        assert ROUTES["GET", path].security is Security.NONE
        assert ROUTES["GET", path].orders == 0


def test_of_the_market_the_paper_venue_says_nothing_itself() -> None:
    """What the dialect answers without a key, but for its own time, is the venue's to tell."""
    own = {path for (_, path), row in ROUTES.items() if row.security is Security.NONE}
    told = {f"{family}/{name}" for family in ("/api/v3", "/fapi/v1") for name in ("ping", "time")}
    # of contracts settled in coins there are none
    assert own - PUBLIC_PATHS == told | {"/dapi/v1/exchangeInfo"}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v3/order", "symbol=BTCUSDT"),
        ("/fapi/v1/order", ""),
        ("/api/v3/account", ""),
        ("/fapi/v1/listenKey", ""),
        ("/sapi/v1/asset/transfer", ""),
        ("/api/v3/depth/../order", ""),
        ("/api/v3/depth", "symbol=BTCUSDT&signature=ab"),
        ("/api/v3/depth", "symbol=BTCUSDT&timestamp=1"),
        ("/fapi/v1/depth", "listenKey=ab"),
    ],
)
async def test_what_is_not_public_is_never_sent(client: DataClient, path: str, query: str) -> None:
    """It is refused before an address is looked up, not by the venue."""
    with pytest.raises(ValueError, match="public"):
        await client.ask(path, query)


async def test_a_venue_that_does_not_answer_is_away(client: DataClient) -> None:
    """No connection is no answer."""
    with pytest.raises(DataAwayError):
        await client.read("/api/v3/depth", Need.VALUE, symbol="BTCUSDT")


def test_addresses_are_the_venues_own_hosts() -> None:
    """Spot's public data comes from the host that takes no orders at all."""
    own = Addresses.of(None)
    assert own.of_path("/api/v3/depth") == "https://data-api.binance.vision"
    assert own.of_path("/fapi/v1/depth") == "https://fapi.binance.com"
    assert own.of_stream("/stream/ws/3") == "wss://data-stream.binance.vision/ws/3"
    assert own.of_stream("/market/ws") == "wss://fstream.binance.com/market/ws"
    for path in ("/private/ws", "/ws-api/v3", "/ws/abc"):
        with pytest.raises(KeyError):
            own.of_stream(path)


@pytest.mark.parametrize(
    ("message", "passes"),
    [
        ({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1}, True),
        ({"method": "SUBSCRIBE", "params": ["!markPrice@arr@1s", "btcusdt@depth@100ms"]}, True),
        ({"method": "UNSUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 2}, True),
        ({"method": "SUBSCRIBE", "params": ["pqia91ma19a5s61cv6a81va65sdf19v8a65a1"]}, False),
        ({"method": "order.place", "params": {"symbol": "BTCUSDT"}, "id": 3}, False),
        ({"method": "session.logon", "params": {"apiKey": "k"}}, False),
        ({"method": "SUBSCRIBE", "params": ["a@b"], "apiKey": "k"}, False),
        (["SUBSCRIBE"], False),
    ],
)
def test_only_subscriptions_to_public_streams_pass(message: object, passes: bool) -> None:
    """Orders, log-ons, listen keys and unknown fields end at the mirror."""
    assert may_pass(json.dumps(message)) is passes


def test_text_that_is_no_json_does_not_pass() -> None:
    """Neither does an empty one."""
    assert not may_pass("ping")
    assert not may_pass("")
