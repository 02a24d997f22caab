"""A connector on a venue that answers from memory: markets from a thread, connections kept warm."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.canned_rows import symbol_name
from benchmarks.canned_venue import CannedVenue, serving
from opensqt.market_maker.v1 import types_pb2
from services.common.rate_window import Allowance, scale_allowances
from services.connector.exchange_factory import build_exchange, new_session
from services.connector.market_loader import MarketLoader
from services.connector.profile import Credentials, EndpointClass
from services.connector.venue_errors import VenueAnswerError
from services.connector.venues import find_profile
from tests.support.connector import LIMIT, connector_part, eventually, order, running_connector

PROFILE = find_profile("binanceusdm")


def build(address: str, session: aiohttp.ClientSession) -> Any:
    """Return a ccxt instance on the venue, with a key that it does not check."""
    return build_exchange(
        PROFILE,
        session,
        base_url=f"http://{address}",
        credentials=Credentials("key", "secret"),
        recv_window=timedelta(seconds=5),
        request_timeout=timedelta(seconds=5),
    )


@asynccontextmanager
async def loaded_exchange(address: str) -> AsyncIterator[Any]:
    """Yield an instance that was given its markets by a loader."""
    loader = MarketLoader(lambda session: build(address, session), PROFILE, None)
    loaded = await loader.load()
    async with new_session() as session:
        exchange = build(address, session)
        exchange.set_markets_from_exchange(loaded.source)
        yield exchange
        await exchange.close()


async def test_markets_are_read_in_another_thread() -> None:
    """No part of a load runs on the loop of the orders, and its result is whole."""
    threads: list[int] = []
    async with serving(CannedVenue(20)) as address:

        def build_noted(session: aiohttp.ClientSession) -> Any:
            threads.append(threading.get_ident())
            return build(address, session)

        loaded = await MarketLoader(build_noted, PROFILE, frozenset({"BTCUSDT"})).load()
    assert threads != [threading.get_ident()]
    assert [one.symbol for one in loaded.instruments] == ["BTCUSDT"]
    assert len(loaded.source.markets) == 20


async def test_each_market_is_kept_once() -> None:
    """The markets by the venue's id are those by ccxt's symbol, not copies of them."""
    async with serving(CannedVenue(3)) as address, loaded_exchange(address) as exchange:
        for number in range(3):
            [row] = exchange.markets_by_id[symbol_name(number)]
            assert exchange.markets[row["symbol"]] is row


async def test_failed_load_raises_what_the_venue_answered() -> None:
    """An error in the thread is that of the caller, as if it had asked itself."""
    venue = CannedVenue(1)
    async with serving(venue) as address:
        loader = MarketLoader(lambda session: build(f"{address}/nowhere", session), PROFILE, None)
        with pytest.raises(VenueAnswerError):
            await loader.load()


async def test_reply_to_a_new_order_is_the_venues_own() -> None:
    """ccxt reads a list of orders, but the reply to a new one is left as it came."""
    async with serving(CannedVenue(1)) as address, loaded_exchange(address) as exchange:
        params = {"newClientOrderId": "mine", "timeInForce": "GTC"}
        reply = await exchange.create_order("BTC/USDT:USDT", "limit", "buy", "0.1", "100.0", params)
        assert reply["info"]["clientOrderId"] == "mine"
        assert "id" not in reply
        assert exchange.parse_order(reply["info"])["clientOrderId"] == "mine"


async def test_order_after_an_idle_time_finds_an_open_connection(tmp_path: Path) -> None:
    """Where the venue closes idle connections, the light requests have kept one for the order."""
    venue = CannedVenue(1, idle_seconds=0.5)
    async with serving(venue) as address:
        part = connector_part("binanceusdm", address, tmp_path, keep_warm_seconds=0.1)
        async with running_connector(part) as running:
            resting = order(
                type=LIMIT, quantity="0.1", price="100", time_in_force=types_pb2.TIME_IN_FORCE_GTC
            )
            asked = venue.asked["/fapi/v1/time"]

            async def idle_for_long() -> bool:
                # Ten times a tenth of a second: twice the venue's patience.
                return venue.asked["/fapi/v1/time"] >= asked + 10

            await eventually(idle_for_long)
            before = venue.connection_count
            await running.stub.PlaceOrder(resting)
            assert venue.connection_count == before


def test_scaled_allowances_keep_at_least_one_unit() -> None:
    """A share of a small allowance is not nothing."""
    scaled = scale_allowances(
        {EndpointClass.ORDER: (Allowance(10, 1.0), Allowance(500, 60.0))}, 0.05
    )
    assert [one.limit for one in scaled[EndpointClass.ORDER]] == [1, 25]
