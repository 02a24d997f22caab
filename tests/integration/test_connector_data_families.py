"""One market, one account, three families: what each connector reads means the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import exchange_pb2
from tests.support.connector import (
    BUY,
    SELL,
    RunningConnector,
    number,
    order,
    patient_part,
    running_connector,
)
from tests.support.simulator import running_simulator

E = exchange_pb2
CODES = ("binanceusdm", "okx-swap", "bybit-linear")
# Bitcoin, and a coin that the market lists by the thousand.
SYMBOLS = ("BTCUSDT", "PEPEUSDT")
BARS = ("open", "high", "low", "close", "volume")


@pytest.fixture
async def families(tmp_path: Path) -> AsyncIterator[dict[str, RunningConnector]]:
    """A connector of each family on the same simulator, with the same account."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(running_simulator())
        found = {}
        for code in CODES:
            part = patient_part(code, simulator.address, tmp_path)
            found[code] = await stack.enter_async_context(running_connector(part))
        yield found


def close_to(values: list[Decimal]) -> bool:
    """Whether values read a moment apart are the same but for what the market did meanwhile."""
    return max(values) - min(values) <= max(values) / 100


async def check_candles(families: dict[str, RunningConnector]) -> None:
    """Prices and volumes per single coin, however the venue counts."""
    for symbol in SYMBOLS:
        request = E.GetHistoricalKlinesRequest(symbol=symbol, interval="1h", limit=6)
        told = {}
        for code, running in families.items():
            reply = await running.stub.GetHistoricalKlines(request)
            assert len(reply.candles) == 6, code
            assert [one.is_closed for one in reply.candles] == [True] * 5 + [False], code
            told[code] = [
                [one.timestamp, *(number(getattr(one, name)) for name in BARS)]
                for one in reply.candles[:5]
            ]
        assert told["okx-swap"] == told["binanceusdm"] == told["bybit-linear"], symbol


async def check_figures(families: dict[str, RunningConnector]) -> None:
    """What the market did between two reads is below a hundredth; a wrong unit is not."""
    for symbol in SYMBOLS:
        figures: dict[str, list[Decimal]] = {}
        for running in families.values():
            tickers = await running.stub.GetTickers(E.GetTickersRequest())
            (ticker,) = [one for one in tickers.tickers if one.symbol == symbol]
            book = await running.stub.GetOrderBook(E.GetOrderBookRequest(symbol=symbol, depth=5))
            held = await running.stub.GetOpenInterest(E.GetOpenInterestRequest(symbol=symbol))
            for name in ("last_price", "volume", "quote_volume", "best_bid_price"):
                figures.setdefault(name, []).append(number(getattr(ticker, name)))
            figures.setdefault("bid", []).append(number(book.bids[0].price))
            figures.setdefault("open_interest", []).append(number(held.open_interest))
            figures.setdefault("notional", []).append(number(held.notional))
            # The ladder is a random draw at each step; its size is what a wrong unit would show.
            assert 0 < number(book.bids[0].quantity) < number(ticker.volume), symbol
        for name, values in figures.items():
            assert close_to(values), (symbol, name, values)


async def check_funding(families: dict[str, RunningConnector]) -> None:
    """Rate, interval, next settlement and past ones; pages in each family join without loss."""
    told: dict[str, Any] = {}
    for code, running in families.items():
        rows = (await running.stub.GetFundingRates(E.GetFundingRatesRequest())).rates
        # A coin that is delisted has no settlement ahead; OKX leaves it out altogether.
        listed = [one for one in rows if one.next_funding_time]
        present = {one.symbol: (one.next_funding_time, one.interval.seconds) for one in listed}
        first = await running.stub.GetHistoricalFundingRates(
            E.GetHistoricalFundingRatesRequest(symbol="BTCUSDT", limit=9)
        )
        request = E.GetHistoricalFundingRatesRequest(symbol="BTCUSDT", page_size=4)
        request.start_time.FromMilliseconds(first.rates[0].timestamp)
        pages = []
        while True:
            page = await running.stub.GetHistoricalFundingRates(request)
            pages += [(one.timestamp, number(one.rate)) for one in page.rates]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        assert pages == [(one.timestamp, number(one.rate)) for one in first.rates], code
        assert len(pages) == 9, code
        asked = E.GetHistoricalFundingRatesRequest(symbol="BTCUSDT", limit=9, columnar=True)
        columns = (await running.stub.GetHistoricalFundingRates(asked)).columns
        assert list(columns.symbols) == ["BTCUSDT"], code
        rates = [one.rate.value for one in first.rates]
        assert (list(columns.rates), set(columns.symbol_indexes)) == (rates, {0}), code
        told[code] = (present, pages)
    for code in CODES[1:]:
        assert told[code][0] == told["binanceusdm"][0], code
        assert told[code][1] == told["binanceusdm"][1], code


async def test_the_market_reads_the_same_on_every_family(
    families: dict[str, RunningConnector],
) -> None:
    """Candles, tickers, books, open interest, funding and its history."""
    await check_candles(families)
    await check_figures(families)
    await check_funding(families)


async def test_positions_have_one_sign_and_one_unit_on_every_family(
    families: dict[str, RunningConnector],
) -> None:
    """Sold by one family's order, seen by all: a short below zero, in single coins."""
    await families["okx-swap"].stub.PlaceOrder(order(SELL, "0.03"))
    await families["bybit-linear"].stub.PlaceOrder(order(BUY, "3000000", symbol="PEPEUSDT"))
    for code, running in families.items():
        reply = await running.stub.GetPositions(E.GetPositionsRequest())
        sizes = {one.symbol: number(one.size) for one in reply.positions}
        assert sizes == {"BTCUSDT": Decimal("-0.03"), "PEPEUSDT": Decimal(3_000_000)}, code
        assert all(one.HasField("update_time") for one in reply.positions), code
        entries = {one.symbol: number(one.entry_price) for one in reply.positions}
        assert entries["PEPEUSDT"] < Decimal("0.001"), code
        told = await running.stub.GetAccountConfiguration(
            E.GetAccountConfigurationRequest(symbol="BTCUSDT")
        )
        assert (told.leverage, told.margin_mode) == (20, "cross"), code
