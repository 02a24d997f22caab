"""The mappings read what the real venues sent: bulk answers, payloads and stream events."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.connector.account_mapping import (
    SymbolConfig,
    to_position,
    to_positions_of_event,
    to_symbol_config,
    to_trading_fee,
)
from services.connector.instruments import Instrument, InstrumentBook, InstrumentKind, TradingStatus
from services.connector.market_events import PriceBoard, to_funding_update
from services.connector.market_mapping import (
    add_book_ticker,
    to_candle,
    to_funding_rate,
    to_settlement,
    to_ticker,
)
from services.connector.raw_funding import read_intervals
from services.connector.row_quarantine import RowQuarantine
from services.connector.stream_tap import event_of
from services.connector.symbols import split_base

pytestmark = pytest.mark.recorded
ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> Any:
    """Return a recorded file; skips with the reason where there is none."""
    place = Path(os.environ.get("OPENSQT_DATA", ROOT.parent / "shared" / "data"))
    if not (place / name).is_file():
        pytest.skip(f"no recorded data at {place}; set OPENSQT_DATA")
    return json.loads((place / name).read_text())


def book_of(names: Iterable[str]) -> InstrumentBook:
    """Return instruments by the venue's names, multipliers as the connector splits them."""
    return InstrumentBook(instrument_of(name) for name in names)


def instrument_of(name: str) -> Instrument:
    """Return the perpetual that the venue calls so."""
    venue_base = name.removesuffix("USDT")
    base, multiplier = split_base(venue_base)
    return Instrument(
        symbol=f"{base}USDT",
        exchange_symbol=name,
        unified=name,
        kind=InstrumentKind.PERPETUAL,
        base_asset=base,
        quote_asset="USDT",
        settle_asset="USDT",
        contract_size=Decimal(1),
        base_multiplier=multiplier,
        lot_size=multiplier,
        tick_size=Decimal("0.1"),
        min_quantity=None,
        max_quantity=None,
        max_market_quantity=None,
        min_notional=None,
        status=TradingStatus.TRADING,
        margin_allowed=False,
        price_precision=1,
        quantity_precision=0,
        venue_base_asset=venue_base,
    )


def test_every_recorded_premium_index_row_is_read() -> None:
    """Not one of the venue's rows is quarantined."""
    rows = read("market/binance_usdm_premiumIndex_20260704T1556.json")
    quarantine = RowQuarantine()
    rates = quarantine.collect(
        "rows",
        rows,
        lambda row: to_funding_rate(row, instrument_of(row["symbol"]), "binanceusdm", None),
    )
    assert quarantine.counts == {}
    assert len(rates) == len(rows) > 300
    assert all(rate.timestamp > 1_700_000_000_000 for rate in rates)


def test_recorded_intervals_are_one_to_eight_hours() -> None:
    """The listed ones as told, the rest by the documented default."""
    intervals = read_intervals(read("instruments/binance_usdm_fundingInfo_20260704.json"))
    hours = {
        None if held is None else held.total_seconds() / 3600 for held in intervals.listed.values()
    }
    assert hours <= {1, 2, 4, 6, 8}
    assert intervals.default is not None


@pytest.mark.parametrize(
    "name",
    [
        "market/binance_usdm_bookTicker_20260715T0651.json",
        "market/binance_spot_bookTicker_20260715T0651.json",
        "market/binance_spot_ticker24hr_top100usdt_20260310.json",
    ],
)
def test_every_recorded_ticker_row_is_read(name: str) -> None:
    """Book tickers and 24 h tickers of both venues."""
    rows = read(name)
    quarantine = RowQuarantine()

    def convert(row: dict[str, Any]) -> bool:
        instrument = instrument_of(row["symbol"])
        add_book_ticker(to_ticker(row, instrument), row, instrument)
        return True

    assert len(quarantine.collect("rows", rows, convert)) == len(rows) > 50
    assert quarantine.counts == {}


def test_recorded_settlements_keep_their_jitter() -> None:
    """Times are the venue's milliseconds, not rounded hours."""
    rows = read("funding/raw_fapi_v1_fundingRate_BTCUSDT_20260704.json")
    rates = [to_settlement(row, instrument_of("BTCUSDT"), "v") for row in rows]
    assert [rate.timestamp for rate in rates] == [row["fundingTime"] for row in rows]
    assert any(rate.timestamp % 3_600_000 for rate in rates)


def test_recorded_candles_are_read_and_closed() -> None:
    """Spot klines of the real venue."""
    for symbol, rows in read("market/binance_spot_klines_1h_raw_20260310.json").items():
        candles = [to_candle(row, instrument_of(symbol), None) for row in rows]
        assert len(candles) == len(rows)
        assert all(Decimal(one.low.value) <= Decimal(one.high.value) for one in candles)


def test_recorded_positions_of_both_modes_have_signs() -> None:
    """v2 rows carry leverage and margin type; v3 rows do not."""
    hedge = read("payloads/binance_usdm/http_futures_account_positions_hedge.json")
    found = [to_position(row, instrument_of(row["symbol"]), SymbolConfig()) for row in hedge]
    assert [row.size.value for row in found] == ["20", "-10"]
    assert (found[0].leverage, found[0].margin_type) == (10, "isolated")
    third = read("payloads/binance_usdm/docs_get_fapi_v3_positionrisk_2.json")
    found = [to_position(row, instrument_of(row["symbol"]), SymbolConfig()) for row in third]
    assert [row.size.value for row in found] == ["30", "-1"]
    assert found[0].margin_type == ""


def test_a_recorded_account_event_is_read() -> None:
    """Wrapped in a combined stream, three position sides of one symbol."""
    events = read("payloads/binance_usdm/jk_ws_fut_AccountUpdate.json")["events"]
    event = event_of(events[0])
    rows = to_positions_of_event(event, book_of(["BTCUSDT"]), {})
    assert [row.size.value for row in rows] == ["0", "20", "-10"]


def test_recorded_settings_and_fees_are_read() -> None:
    """Leverage, margin type and commission rates."""
    configs = dict(
        to_symbol_config(row)
        for row in read("payloads/binance_usdm/http_futures_account_symbol_config.json")
    )
    assert configs["BTCUSDT"] == SymbolConfig(25, "isolated")
    assert configs["ETHUSDT"] == SymbolConfig(20, "cross")
    fee = read("payloads/binance_usdm/http_futures_wallet_commission_rate_btcusdt.json")
    found = to_trading_fee(fee, instrument_of("BTCUSDT"))
    assert (found.maker_fee_ratio.value, found.taker_fee_ratio.value) == ("0.0002", "0.0005")


def test_recorded_market_events_are_read() -> None:
    """Book ticker, 24 h ticker, mini ticker and mark price of USD-M."""
    board = PriceBoard("v", book_of(["BTCUSDT", "BNBUSDT"]), ["BTCUSDT", "BNBUSDT"])
    for name in ("BTCUSDT", "BNBUSDT"):
        board.on_reads(None, None, instrument_of(name))
    (top,) = board.on_event(read("payloads/binance_usdm/ws_md_book_ticker_stream.json"))
    assert (top.symbol, top.best_bid_price.value) == ("BNBUSDT", "25.3519")
    (last,) = board.on_event(read("payloads/binance_usdm/ws_md_ticker_stream.json"))
    assert (last.symbol, last.price.value) == ("BTCUSDT", "16584.6")
    mini = event_of(read("payloads/binance_usdm/jk_ws_fut_MiniTicker.json")["events"][0])
    assert board.on_event(mini)[0].price.value == "0.0025"
    mark = read("payloads/binance_usdm/ws_md_mark_price_stream.json")
    update = to_funding_update(mark, instrument_of("BTCUSDT"), "v", None)
    assert (update.rate.value, update.next_funding_time) == ("0.00038167", 1562306400000)
