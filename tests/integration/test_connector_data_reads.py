"""What the data methods say, held against the simulator's own books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from opensqt.market_maker.v1 import exchange_pb2, types_pb2
from services.simulator.app import Application
from services.simulator.core.clock import millis
from services.simulator.market.source import Kind
from tests.support.connector import (
    BUY,
    RunningConnector,
    number,
    order,
    patient_part,
    running_connector,
)
from tests.support.connector_streams import data_of
from tests.support.simulator import Control, running_simulator

E = exchange_pb2


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A small market of which every symbol is looked at."""
    async with running_simulator() as running:
        yield running


@pytest.fixture
async def perpetual(simulator: Application, tmp_path: Path) -> AsyncIterator[RunningConnector]:
    """A USD-M connector on it."""
    part = patient_part("binanceusdm", simulator.address, tmp_path)
    async with running_connector(part) as running:
        yield running


@pytest.fixture
async def spot(simulator: Application, tmp_path: Path) -> AsyncIterator[RunningConnector]:
    """A spot connector on it."""
    part = patient_part("binance", simulator.address, tmp_path)
    async with running_connector(part) as running:
        yield running


def timestamp(instant: datetime) -> Timestamp:
    """Return the wire form of an instant."""
    found = Timestamp()
    found.FromDatetime(instant)
    return found


async def read_pages(stub: Any, request: Any) -> list[tuple[int, str]]:
    """Follow a history's tokens; return (time, symbol) of each row."""
    found = []
    for _ in range(1000):
        reply = await stub.GetHistoricalFundingRates(request)
        found += [(rate.timestamp, rate.symbol) for rate in reply.rates]
        if not reply.next_page_token:
            return found
        request.page_token = reply.next_page_token
    raise AssertionError("the pages have no end")


async def test_the_whole_markets_history_in_pages_is_each_symbols_history(
    perpetual: RunningConnector, simulator: Application
) -> None:
    """Symbol-less pages of odd size give exactly the venue's settlements, each once."""
    market = simulator.simulation.market
    now = market.now()
    start, end = now - timedelta(days=10), now - timedelta(days=1)
    request = E.GetHistoricalFundingRatesRequest(
        start_time=timestamp(start), end_time=timestamp(end), page_size=37
    )
    found = await read_pages(perpetual.stub, request)
    book = data_of(perpetual).venue.instruments
    settled = market.source.settlements(None, start, end, 100_000, now)
    wanted = sorted(
        (millis(row.time), book.find_exchange_symbol(row.symbol).symbol)  # type: ignore[union-attr]
        for row in settled
        if row.time < end
    )
    assert len(wanted) > 200
    assert found == wanted


async def test_a_history_in_columns_is_the_history_in_rows(
    perpetual: RunningConnector, simulator: Application
) -> None:
    """The same settlements, rates and tokens, of all symbols and of one."""
    start = simulator.simulation.market.now() - timedelta(days=9)
    for symbol in ("", "PEPEUSDT"):
        request = E.GetHistoricalFundingRatesRequest(
            symbol=symbol, start_time=timestamp(start), page_size=50
        )
        rows = await perpetual.stub.GetHistoricalFundingRates(request)
        request.columnar = True
        told = await perpetual.stub.GetHistoricalFundingRates(request)
        columns = told.columns
        names = [columns.symbols[index] for index in columns.symbol_indexes]
        found = list(zip(columns.timestamps, names, columns.rates, strict=True))
        assert found == [(one.timestamp, one.symbol, one.rate.value) for one in rows.rates]
        assert len(found) > 10
        assert not told.rates
        assert told.next_page_token == rows.next_page_token


async def test_one_symbols_history_in_pages_is_the_venues(
    perpetual: RunningConnector, simulator: Application
) -> None:
    """Also for the symbol that the venue lists by the thousand."""
    market = simulator.simulation.market
    now = market.now()
    start = now - timedelta(days=30)
    request = E.GetHistoricalFundingRatesRequest(
        symbol="PEPEUSDT", start_time=timestamp(start), page_size=7
    )
    found = await read_pages(perpetual.stub, request)
    settled = market.source.settlements("1000PEPEUSDT", start, None, 100_000, now)
    assert found == [(millis(row.time), "PEPEUSDT") for row in settled]


async def test_present_funding_has_the_venues_interval_and_tells_the_dead(
    perpetual: RunningConnector, simulator: Application
) -> None:
    """1, 2, 4 and 8 hours as they are; a perpetual without next settlement has time 0."""
    market = simulator.simulation.market
    reply = await perpetual.stub.GetFundingRates(E.GetFundingRatesRequest())
    book = data_of(perpetual).venue.instruments
    intervals = market.source.funding_intervals(market.now())
    listed = {spec.symbol for spec in market.instruments(Kind.PERPETUAL).values()}
    assert len(reply.rates) == len(listed)
    for rate in reply.rates:
        name = book.get(rate.symbol).exchange_symbol
        if name in intervals:
            assert rate.interval.seconds == intervals[name].total_seconds(), name
        state = market.source.funding_state(name, market.now())
        wanted = 0 if state.next_time is None else millis(state.next_time)
        assert rate.next_funding_time == wanted
        assert number(rate.rate) == state.last_rate.quantize(Decimal("1e-8"))
        assert rate.timestamp > 0
    assert {rate.interval.seconds for rate in reply.rates} >= {3600, 14_400, 28_800}
    assert any(rate.next_funding_time == 0 for rate in reply.rates)


async def test_a_multiplier_symbol_is_quoted_per_coin_everywhere(
    perpetual: RunningConnector, spot: RunningConnector
) -> None:
    """1000PEPEUSDT and spot PEPEUSDT have one price here."""
    single = await spot.stub.GetLatestPrice(E.GetLatestPriceRequest(symbol="PEPEUSDT"))
    by_name = {"PEPEUSDT", "1000PEPEUSDT", "1000PEPE/USDT:USDT"}
    for name in by_name:
        price = await perpetual.stub.GetLatestPrice(E.GetLatestPriceRequest(symbol=name))
        assert abs(number(price.price) / number(single.price) - 1) < Decimal("0.02")
    info = await perpetual.stub.GetSymbolInfo(E.GetSymbolInfoRequest(symbol="PEPEUSDT"))
    assert number(info.base_multiplier) == 1000
    book = await perpetual.stub.GetOrderBook(E.GetOrderBookRequest(symbol="PEPEUSDT", depth=3))
    assert abs(number(book.bids[0].price) / number(single.price) - 1) < Decimal("0.02")
    assert number(book.bids[0].quantity) % number(info.step_size) == 0
    rate = await perpetual.stub.GetFundingRate(E.GetFundingRateRequest(symbol="PEPEUSDT"))
    assert abs(number(rate.mark_price) / number(single.price) - 1) < Decimal("0.02")


async def test_tickers_carry_best_prices_and_the_dead_have_none(
    perpetual: RunningConnector, simulator: Application
) -> None:
    """One row per symbol; bid under ask; an ended symbol has no book."""
    reply = await perpetual.stub.GetTickers(E.GetTickersRequest())
    specs = simulator.simulation.market.instruments(Kind.PERPETUAL)
    assert len(reply.tickers) == len(specs)
    dead = {spec.symbol for spec in specs.values() if spec.status != "TRADING"}
    assert dead
    for ticker in reply.tickers:
        if ticker.symbol in dead:
            assert not ticker.HasField("best_bid_price")
        else:
            assert number(ticker.best_bid_price) < number(ticker.best_ask_price)
            assert number(ticker.best_bid_quantity) > 0


async def test_open_interest_has_its_value(
    perpetual: RunningConnector, simulator: Application
) -> None:
    """Quantity in coins, value at the mark price."""
    reply = await perpetual.stub.GetOpenInterest(E.GetOpenInterestRequest(symbol="PEPEUSDT"))
    market = simulator.simulation.market
    units = market.source.open_interest("1000PEPEUSDT", market.now())
    assert abs(number(reply.open_interest) / (units * 1000) - 1) < Decimal("0.01")
    value = units * market.mark("1000PEPEUSDT")
    assert abs(number(reply.notional) / value - 1) < Decimal("0.02")


async def test_only_the_running_candle_is_open(perpetual: RunningConnector) -> None:
    """All but the last are closed, and the last covers the venue's now."""
    request = E.GetHistoricalKlinesRequest(symbol="BTCUSDT", interval="1h", limit=10)
    candles = (await perpetual.stub.GetHistoricalKlines(request)).candles
    assert len(candles) == 10
    assert [candle.is_closed for candle in candles] == [True] * 9 + [False]
    times = [candle.timestamp for candle in candles]
    assert times == sorted(times)


async def test_candles_of_a_past_window_are_all_closed(
    spot: RunningConnector, simulator: Application
) -> None:
    """The end is exclusive: five hours are five candles."""
    now = simulator.simulation.market.now().replace(minute=0, second=0, microsecond=0)
    request = E.GetHistoricalKlinesRequest(
        symbol="BTCUSDT",
        interval="1h",
        start_time=timestamp(now - timedelta(hours=10)),
        end_time=timestamp(now - timedelta(hours=5)),
    )
    candles = (await spot.stub.GetHistoricalKlines(request)).candles
    assert len(candles) == 5
    assert all(candle.is_closed for candle in candles)


async def test_funding_payments_are_signed_and_add_up_to_the_venues_books(
    perpetual: RunningConnector, simulator: Application
) -> None:
    """A long position over some settlements: what was paid and received, in small pages."""
    control = Control(simulator.address)
    await perpetual.stub.PlaceOrder(order(BUY, "0.05"))
    await perpetual.stub.PlaceOrder(order(BUY, "10", symbol="SOLUSDT"))
    await control.post("clock", {"advance_seconds": 5 * 8 * 3600})
    start = simulator.simulation.market.now() - timedelta(days=3)
    request = E.GetFundingPaymentsRequest(start_time=timestamp(start), page_size=3)
    found = []
    while True:
        reply = await perpetual.stub.GetFundingPayments(request)
        found += [(p.payment_id, p.symbol, number(p.amount)) for p in reply.payments]
        if not reply.next_page_token:
            break
        request.page_token = reply.next_page_token
    books = [row for row in await control.get("income") if row["type"] == "FUNDING_FEE"]
    assert len(found) == len(set(found)) == len(books) >= 10
    assert sum(amount for _, _, amount in found) == sum(Decimal(row["amount"]) for row in books)
    assert any(amount < 0 for _, _, amount in found)


async def test_hedge_mode_shows_both_sides_with_their_signs(
    perpetual: RunningConnector, simulator: Application
) -> None:
    """A long and a short of one symbol are two rows, and the mode is told as a problem."""
    exchange = data_of(perpetual).venue.exchange
    await exchange.fapiPrivatePostPositionSideDual({"dualSidePosition": "true"})
    for side, position_side, quantity in (("BUY", "LONG", "0.03"), ("SELL", "SHORT", "0.01")):
        await exchange.fapiPrivatePostOrder(
            {
                "symbol": "BTCUSDT",
                "side": side,
                "positionSide": position_side,
                "type": "MARKET",
                "quantity": quantity,
            }
        )
    reply = await perpetual.stub.GetPositions(E.GetPositionsRequest(symbol="BTCUSDT"))
    sizes = sorted(number(position.size) for position in reply.positions)
    assert sizes == [Decimal("-0.01"), Decimal("0.03")]
    told = await perpetual.stub.GetAccountConfiguration(
        E.GetAccountConfigurationRequest(symbol="BTCUSDT")
    )
    assert told.position_mode == types_pb2.POSITION_MODE_HEDGE
    assert any("hedge mode" in problem for problem in told.problems)
    kind = await perpetual.stub.GetType(E.GetTypeRequest())
    assert kind.position_mode == types_pb2.POSITION_MODE_HEDGE


async def test_the_configuration_of_a_good_account_has_no_problems(
    perpetual: RunningConnector, spot: RunningConnector
) -> None:
    """Permissions, leverage, margin mode and clock are read back."""
    request = E.GetAccountConfigurationRequest(symbol="BTCUSDT")
    told = await perpetual.stub.GetAccountConfiguration(request)
    assert list(told.problems) == []
    assert (told.key_can_trade, told.key_can_withdraw, told.ip_restricted) == (True, False, True)
    assert (told.leverage, told.margin_mode) == (20, "cross")
    assert abs(told.clock_skew.ToTimedelta()) < timedelta(seconds=1)
    told = await spot.stub.GetAccountConfiguration(request)
    assert list(told.problems) == []
    assert told.position_mode == types_pb2.POSITION_MODE_UNSPECIFIED


async def test_spot_balances_tell_wallet_and_debt(
    spot: RunningConnector, simulator: Application
) -> None:
    """Coins of the wallet, and what the margin account owes."""
    held = await spot.stub.GetBalance(E.GetBalanceRequest(asset="BTC"))
    assert (number(held.balance), number(held.free), number(held.locked)) == (
        Decimal("0.5"),
        Decimal("0.5"),
        Decimal(0),
    )
    exchange = data_of(spot).venue.exchange
    await exchange.sapiPostMarginBorrowRepay(
        {"asset": "BTC", "amount": "0.1", "type": "BORROW", "isIsolated": "FALSE"}
    )
    held = await spot.stub.GetBalance(E.GetBalanceRequest(asset="BTC"))
    assert number(held.borrowed) == Decimal("0.1")
    account = await spot.stub.GetAccount(E.GetAccountRequest())
    assert {one.asset: number(one.borrowed) for one in account.balances}["BTC"] == Decimal("0.1")
    none = await spot.stub.GetBalance(E.GetBalanceRequest(asset="NOSUCH"))
    assert (number(none.balance), number(none.borrowed)) == (Decimal(0), Decimal(0))


async def test_a_debt_of_coins_the_wallet_has_none_of_is_told(spot: RunningConnector) -> None:
    """A venue lists what a wallet holds; what was sold short is in no wallet."""
    await data_of(spot).venue.exchange.sapiPostMarginBorrowRepay(
        {"asset": "ETH", "amount": "0.3", "type": "BORROW", "isIsolated": "FALSE"}
    )
    held = await spot.stub.GetBalance(E.GetBalanceRequest(asset="ETH"))
    assert (number(held.balance), number(held.borrowed)) == (Decimal(0), Decimal("0.3"))
    account = await spot.stub.GetAccount(E.GetAccountRequest())
    debts = {one.asset: number(one.borrowed) for one in account.balances}
    assert debts["ETH"] == Decimal("0.3")


async def test_debt_that_cannot_be_read_is_absent_not_zero(
    spot: RunningConnector, simulator: Application
) -> None:
    """For a coin the wallet has and for one it has not."""
    control = Control(simulator.address)
    await control.fault({"type": "empty_body"}, path="/sapi/v1/margin/account")
    for asset in ("BTC", "NOSUCH"):
        held = await spot.stub.GetBalance(E.GetBalanceRequest(asset=asset))
        assert held.HasField("balance")
        assert not held.HasField("borrowed")


async def test_what_is_asked_to_be_borrowed_is_priced(spot: RunningConnector) -> None:
    """A year's rate from the venue's table; what it does not lend is left out."""
    request = E.GetBorrowRatesRequest(assets=["BTC", "NOSUCH"])
    rates = (await spot.stub.GetBorrowRates(request)).rates
    assert [rate.asset for rate in rates] == ["BTC"]
    assert number(rates[0].annualized_rate) == Decimal("0.00001") * 24 * 365
    assert rates[0].observe_time.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)


async def test_symbols_come_sorted_with_their_rules(perpetual: RunningConnector) -> None:
    """Names and rules in one order, each with its funding interval."""
    reply = await perpetual.stub.GetSymbols(E.GetSymbolsRequest())
    assert list(reply.symbols) == sorted(reply.symbols)
    assert [info.symbol for info in reply.symbol_infos] == list(reply.symbols)
    assert all(info.HasField("funding_interval") for info in reply.symbol_infos)
