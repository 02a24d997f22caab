"""Market rows of the venue: units, absent values, closed candles, intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from opensqt.market_maker.v1 import instrument_pb2, resources_pb2
from services.common.errors import UnreachableError
from services.connector.instruments import Instrument, InstrumentBook, InstrumentKind, TradingStatus
from services.connector.market_events import PriceBoard, to_funding_update, to_stream_candle
from services.connector.market_mapping import (
    add_book_ticker,
    to_candle,
    to_funding_rate,
    to_order_book,
    to_settlement,
    to_symbol_info,
    to_ticker,
)
from services.connector.raw_funding import read_intervals
from services.connector.row_quarantine import RowQuarantine
from services.connector.venue_reads import weight_of


def instrument(symbol: str = "PEPEUSDT", multiplier: int = 1000) -> Instrument:
    """Return a perpetual that the venue lists by the thousand."""
    base = symbol.removesuffix("USDT")
    prefix = str(multiplier) if multiplier != 1 else ""
    return Instrument(
        symbol=symbol,
        exchange_symbol=f"{prefix}{symbol}",
        unified=f"{prefix}{base}/USDT:USDT",
        kind=InstrumentKind.PERPETUAL,
        base_asset=base,
        quote_asset="USDT",
        settle_asset="USDT",
        contract_size=Decimal(1),
        base_multiplier=Decimal(multiplier),
        lot_size=Decimal(multiplier),
        tick_size=Decimal("0.0000001") / multiplier,
        min_quantity=Decimal(multiplier),
        max_quantity=None,
        max_market_quantity=None,
        min_notional=Decimal(5),
        status=TradingStatus.TRADING,
        margin_allowed=False,
        price_precision=10,
        quantity_precision=0,
        venue_base_asset=f"{prefix}{base}",
    )


PEPE = instrument()
BTC = instrument("BTCUSDT", 1)


def test_a_ticker_of_a_multiplier_symbol_is_per_single_coin() -> None:
    """Prices are divided, quantities multiplied, values and percentages stay."""
    ticker = to_ticker(
        {
            "symbol": "1000PEPEUSDT",
            "priceChange": "-0.0010",
            "priceChangePercent": "-9.1",
            "lastPrice": "0.0100",
            "volume": "7",
            "quoteVolume": "0.07",
            "closeTime": 1_700_000_000_000,
        },
        PEPE,
    )
    assert ticker.symbol == "PEPEUSDT"
    assert ticker.last_price.value == "0.00001"
    assert ticker.price_change.value == "-0.000001"
    assert ticker.volume.value == "7000"
    assert ticker.quote_volume.value == "0.07"
    assert ticker.price_change_percent.value == "-9.1"
    assert ticker.timestamp == 1_700_000_000_000


def test_an_empty_book_leaves_best_prices_absent() -> None:
    """Zeros of the venue mean nothing is there; they are not prices."""
    ticker = resources_pb2.Ticker(symbol="BTCUSDT")
    row = {"bidPrice": "0.00", "bidQty": "0", "askPrice": "101", "askQty": "2"}
    add_book_ticker(ticker, row, BTC)
    assert not ticker.HasField("best_bid_price")
    assert not ticker.HasField("best_bid_quantity")
    assert ticker.best_ask_price.value == "101"
    assert ticker.best_ask_quantity.value == "2"


def test_a_book_is_sorted_and_per_single_coin() -> None:
    """Best level first on both sides; empty levels are left out."""
    book = to_order_book(
        {
            "T": 1_700_000_000_123,
            "bids": [["0.009", "1"], ["0.010", "2"], ["0.011", "0"]],
            "asks": [["0.013", "1"], ["0.012", "3"]],
        },
        PEPE,
        0,
    )
    assert [level.price.value for level in book.bids] == ["0.00001", "0.000009"]
    assert [level.quantity.value for level in book.asks] == ["3000", "1000"]
    assert book.observe_time.ToMilliseconds() == 1_700_000_000_123


KLINE = [1_000_000, "1", "3", "0.5", "2", "10", 1_059_999, "20", 5, "0", "0", "0"]


@pytest.mark.parametrize(
    ("now", "closed"), [(1_059_999, False), (1_060_000, True), (1_030_000, False), (None, True)]
)
def test_a_candle_is_closed_when_the_venues_time_is_past_it(now: int | None, closed: bool) -> None:
    """The last millisecond of a candle still belongs to it."""
    assert to_candle(KLINE, BTC, now).is_closed is closed


def test_a_candle_of_a_multiplier_symbol_keeps_its_value() -> None:
    """Price down by the multiplier, volume up, quote volume unchanged."""
    candle = to_candle(KLINE, PEPE, None)
    assert (candle.close.value, candle.volume.value) == ("0.002", "10000")
    assert candle.quote_volume.value == "20"


def test_a_funding_row_keeps_the_rate_and_tells_the_interval_only_when_known() -> None:
    """Rates are fractions of value: no multiplier touches them."""
    row = {
        "symbol": "1000PEPEUSDT",
        "lastFundingRate": "-0.00012",
        "markPrice": "0.01",
        "indexPrice": "0",
        "nextFundingTime": 0,
        "time": 1_700_000_000_000,
    }
    rate = to_funding_rate(row, PEPE, "binanceusdm", None)
    assert rate.rate.value == "-0.00012"
    assert rate.mark_price.value == "0.00001"
    assert not rate.HasField("index_price")
    assert not rate.HasField("interval")
    assert not rate.HasField("predicted_rate")
    assert rate.next_funding_time == 0
    known = to_funding_rate(row, PEPE, "binanceusdm", timedelta(hours=4))
    assert known.interval.seconds == 14_400


def test_a_settlement_has_its_time_and_no_interval() -> None:
    """The row does not say how long it paid for."""
    row = {"symbol": "BTCUSDT", "fundingRate": "0.0001", "fundingTime": 5, "markPrice": ""}
    rate = to_settlement(row, BTC, "v")
    assert (rate.timestamp, rate.rate.value) == (5, "0.0001")
    assert not rate.HasField("interval")
    assert not rate.HasField("mark_price")


@pytest.mark.parametrize("rate", ["NaN", "1_0", "", None, "1e5", True, "٣"])
def test_a_settlement_without_a_plain_rate_is_malformed(rate: object) -> None:
    """Nothing that is not a number becomes a rate."""
    with pytest.raises(ValueError):  # noqa: PT011 - the quarantine looks at no more
        to_settlement({"symbol": "BTCUSDT", "fundingRate": rate, "fundingTime": 5}, BTC, "v")


def test_symbol_rules_tell_multiplier_status_and_interval() -> None:
    """Absent limits stay absent."""
    info = to_symbol_info(PEPE, timedelta(hours=8))
    assert info.base_multiplier.value == "1000"
    assert info.exchange_symbol == "1000PEPEUSDT"
    assert info.trading_status == instrument_pb2.TRADING_STATUS_TRADING
    assert info.kind == instrument_pb2.INSTRUMENT_KIND_PERPETUAL
    assert info.funding_interval.seconds == 28_800
    assert not info.HasField("max_quantity")
    assert not to_symbol_info(PEPE, None).HasField("funding_interval")
    assert not info.HasField("end_time")
    ending = replace(PEPE, end_time=datetime(2026, 3, 24, 9, tzinfo=UTC))
    assert to_symbol_info(ending, None).end_time.seconds == 1_774_342_800


def test_a_symbol_not_listed_in_funding_info_pays_every_eight_hours() -> None:
    """The venue documents that default; listed symbols have their own."""
    intervals = read_intervals([{"symbol": "AUSDT", "fundingIntervalHours": 4}])
    assert intervals.of("AUSDT") == timedelta(hours=4)
    assert intervals.of("BUSDT") == timedelta(hours=8)


@pytest.mark.parametrize(
    "row", [{"symbol": "AUSDT"}, {"symbol": "AUSDT", "fundingIntervalHours": 0}]
)
def test_a_listed_symbol_with_a_broken_interval_is_unknown(row: dict[str, Any]) -> None:
    """It is listed, so the default is not its own."""
    intervals = read_intervals([row])
    assert intervals.of("AUSDT") is None
    assert intervals.of("BUSDT") == timedelta(hours=8)


@pytest.mark.parametrize("answer", [None, {}, "x"])
def test_without_funding_info_every_interval_is_unknown(answer: object) -> None:
    """Never 8 h by guess."""
    assert read_intervals(answer).of("BTCUSDT") is None


def test_a_row_that_names_no_symbol_takes_the_default_away() -> None:
    """It may have been any symbol's."""
    intervals = read_intervals(
        [{"fundingIntervalHours": 4}, {"symbol": "AUSDT", "fundingIntervalHours": 2}]
    )
    assert intervals.of("AUSDT") == timedelta(hours=2)
    assert intervals.of("BUSDT") is None


def test_one_bad_row_costs_only_itself_and_is_counted() -> None:
    """The neighbours are returned."""
    quarantine = RowQuarantine()
    convert: Callable[[Any], int] = int
    assert quarantine.collect("numbers", ["1", "x", "3"], convert) == [1, 3]
    assert quarantine.counts == {"numbers": 1}


@pytest.mark.parametrize("rows", [["x"], ["x", "y"], None, {}, "text"])
def test_an_answer_with_no_readable_row_is_broken_not_empty(rows: object) -> None:
    """An empty list would say that there is nothing."""
    with pytest.raises(UnreachableError) as caught:
        RowQuarantine().collect("numbers", rows, int)
    assert caught.value.reason == "VENUE_ANSWER_BROKEN"


def test_an_empty_answer_is_empty() -> None:
    """No rows, none broken."""
    assert RowQuarantine().collect("numbers", [], int) == []


@pytest.mark.parametrize("name", ["24hrTicker", "24hrMiniTicker"])
def test_book_and_print_events_add_up_to_one_row(name: str) -> None:
    """A reader that sees only the last row knows both the print and the book."""
    board = PriceBoard("v", InstrumentBook([PEPE, BTC]), ["PEPEUSDT"])
    board.on_reads(None, None, PEPE)
    board.on_event({"e": name, "E": 5, "s": "1000PEPEUSDT", "c": "0.02"})
    top = {"u": 1, "s": "1000PEPEUSDT", "b": "0.01", "B": "3", "a": "0.03", "A": "0"}
    (row,) = board.on_event(top)
    assert row.price.value == "0.00002"
    assert (row.best_bid_price.value, row.best_bid_quantity.value) == ("0.00001", "3000")
    assert not row.HasField("best_ask_price")
    assert row.timestamp.ToMilliseconds() == 5


TOP = {"s": "1000PEPEUSDT", "b": "0.01", "B": "3", "a": "0.03", "A": "1"}
OLD_TOP = {"bidPrice": "0.008", "bidQty": "1", "askPrice": "0.04", "askQty": "1"}


def test_an_event_before_the_first_read_is_kept_and_told_with_it() -> None:
    """A row of a part alone would take the place of the whole one."""
    board = PriceBoard("v", InstrumentBook([PEPE]), ["PEPEUSDT"])
    assert board.on_event(TOP) == []
    row = board.on_reads({"price": "0.02"}, OLD_TOP, PEPE)
    assert (row.price.value, row.best_bid_price.value) == ("0.00002", "0.00001")


def test_after_a_restart_the_read_counts() -> None:
    """What was told before the gap is older than what is read after it."""
    board = PriceBoard("v", InstrumentBook([PEPE]), ["PEPEUSDT"])
    board.on_event(TOP)
    board.restart()
    assert board.on_reads(None, OLD_TOP, PEPE).best_bid_price.value == "0.000008"


@pytest.mark.parametrize("event", [{"e": "kline"}, {"e": "24hrTicker", "s": "BTCUSDT", "c": "1"}])
def test_other_events_and_other_symbols_change_no_price(event: dict[str, Any]) -> None:
    """What was not asked for is not streamed."""
    board = PriceBoard("v", InstrumentBook([PEPE, BTC]), ["PEPEUSDT"])
    assert board.on_event(event) == []


def test_a_kline_event_is_closed_when_the_venue_says_so() -> None:
    """The flag x decides, not a clock."""
    kline = {"t": 1, "o": "1", "h": "1", "l": "1", "c": "1", "v": "2", "q": "2", "x": False}
    assert to_stream_candle({"k": kline}, BTC).is_closed is False
    assert to_stream_candle({"k": {**kline, "x": True}}, BTC).is_closed is True


def test_a_mark_price_event_is_a_funding_row() -> None:
    """r is the rate, T the settlement, p and i the prices."""
    event = {"E": 9, "s": "1000PEPEUSDT", "p": "0.01", "i": "0.02", "r": "-0.0003", "T": 70}
    update = to_funding_update(event, PEPE, "v", None)
    assert (update.rate.value, update.next_funding_time, update.timestamp) == ("-0.0003", 70, 9)
    assert (update.mark_price.value, update.index_price.value) == ("0.00001", "0.00002")


@pytest.mark.parametrize(
    ("code", "question", "params", "weight"),
    [
        ("binanceusdm", "klines", {"limit": 99}, 1),
        ("binanceusdm", "klines", {"limit": 499}, 2),
        ("binanceusdm", "klines", {}, 5),
        ("binanceusdm", "day_tickers", {}, 40),
        ("binanceusdm", "premium_index", {"symbol": "BTCUSDT"}, 1),
        ("binanceusdm", "premium_index", {}, 10),
        ("binance", "day_tickers", {}, 80),
        ("binance", "depth", {"limit": 500}, 25),
        ("binanceusdm", "depth", {"limit": 50}, 2),
    ],
)
def test_weights_follow_the_venues_tables(
    code: str, question: str, params: dict[str, Any], weight: int
) -> None:
    """Too low a weight ends in a ban."""
    assert weight_of(code, question, params) == weight
