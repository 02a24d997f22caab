"""A market over recordings, on a small directory of the test's own making in the same layout."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from services.simulator.market.recorded import RecordedMarket, multiplier_of
from services.simulator.market.recordings import RecordingsError
from services.simulator.market.source import FundingSettlement, Kind, MarketSource

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# The last settlement that every symbol has a record of, or has none after.
LAST = datetime(2026, 3, 20, tzinfo=UTC)
DELIVERY = LAST + timedelta(days=4, hours=9)


def ms(time: datetime) -> int:
    """Return the milliseconds a recording would show for ``time``."""
    return round(time.timestamp() * 1000)


def write(path: Path, text: str) -> None:
    """Write one recording, gzipped where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def funding_lines() -> list[str]:
    """Return settlements: steady, changing, delisted soon, and one of every hour."""
    lines = []
    for step in range(30):
        time = LAST - step * 8 * HOUR
        lines.append(f"{ms(time) + step % 4},AAAUSDT,{'-' if step % 3 else ''}0.0001{step:04d}")
        lines.append(f"{ms(time) + 9},CCCUSDT,0.00030000")
    lines += [f"{ms(LAST - step * 4 * HOUR)},1000BBBUSDT,0.00005{step:03d}" for step in range(12)]
    lines += [f"{ms(LAST - (44 + 8 * n) * HOUR)},1000BBBUSDT,0.00011000" for n in range(1, 6)]
    lines += [f"{ms(LAST + (4 - step) * HOUR) + 1},DDDUSDT,0.00002{step:03d}" for step in range(40)]
    return sorted(lines)


def info(symbol: str, base: str, delivery: int = 4133404800000) -> dict[str, Any]:
    """Return an entry of the perpetuals' exchange information."""
    return {
        "symbol": symbol,
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "status": "TRADING",
        "pricePrecision": 4,
        "quantityPrecision": 1,
        "baseAssetPrecision": 8,
        "deliveryDate": delivery,
        "onboardDate": ms(datetime(2024, 1, 1, tzinfo=UTC)),
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.0010"},
            {"filterType": "LOT_SIZE", "stepSize": "0.1", "minQty": "0.1", "maxQty": "90000"},
            {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.1", "minQty": "0.1", "maxQty": "700"},
            {"filterType": "MIN_NOTIONAL", "notional": "20"},
        ],
    }


def bar_lines(symbol: str, first: datetime, width: timedelta, closes: Iterable[float]) -> list[str]:
    """Return perpetual candles that each open at the close before."""
    lines, opened = [], None
    for number, close in enumerate(closes):
        begin = close if opened is None else opened
        high, low = max(begin, close) * 1.01, min(begin, close) * 0.98
        time = first + number * width
        prices = f"{begin:.4f},{high:.4f},{low:.4f},{close:.4f}"
        lines.append(f"{symbol},{ms(time)},{prices},1000.0,{20000 + number}.5,300,{ms(time)}")
        opened = close
    return lines


def write_sample(root: Path) -> None:
    """Write a directory with four perpetuals, three spot twins, and candles of two widths."""
    write(
        root / "funding/binance_usdm_fundingRate_sample.csv",
        "\n".join(["timestamp,symbol,funding_rate", *funding_lines()]) + "\n",
    )
    symbols = [
        info("AAAUSDT", "AAA"),
        info("1000BBBUSDT", "1000BBB"),
        info("CCCUSDT", "CCC", ms(DELIVERY)),
    ]
    write(
        root / "instruments/binance_usdm_exchangeInfo_sample.json", json.dumps({"symbols": symbols})
    )
    caps = [{"symbol": "AAAUSDT", "adjustedFundingRateCap": "0.00300"}]
    write(root / "instruments/binance_usdm_fundingInfo_sample.json", json.dumps(caps))
    books = [
        quote("AAAUSDT", "20.01000000", "20.02000000", "3.25000000"),
        quote("BBBUSDT", "0.00002001", "0.00002002", "10.00000000"),
        quote("CCCUSDT", "0.00000000", "0.00000000", "0.00000000"),
    ]
    write(root / "market/binance_spot_bookTicker_sample.json", json.dumps(books))
    header = "symbol,timestamp,open,high,low,close,volume,quote_volume,trades,close_time"
    days = [header]
    for symbol, close in (("AAAUSDT", 20.0), ("1000BBBUSDT", 0.02), ("CCCUSDT", 5.0)):
        days += bar_lines(symbol, LAST - 6 * DAY, DAY, [close, close * 1.02, close, close] * 2)[:6]
    write(root / "market/binance_usdm_perp_klines_1d.csv.gz", "\n".join(days) + "\n")
    hours = [20.0 + n / 10 for n in range(10)]
    write(
        root / "market/binance_usdm_perp_klines_1h.csv.gz",
        "\n".join([header, *bar_lines("AAAUSDT", LAST - 10 * HOUR, HOUR, hours)]) + "\n",
    )
    spot = [f"AAAUSDT,{ms(LAST - (10 - n) * HOUR)},{20 + (n - 1) / 10},21,19,{20 + n / 10},500.25"
            for n in range(20)]  # fmt: skip
    write(
        root / "market/binance_spot_klines_1h.csv.gz",
        "\n".join(["symbol,timestamp,open,high,low,close,volume", *spot]) + "\n",
    )
    interest = [f"{ms(LAST - n * 4 * HOUR)},AAAUSDT,{5000 - n}.07,1.0" for n in range(5, -1, -1)]
    write(
        root / "market/binance_usdm_open_interest_4h.csv.gz",
        "\n".join(["timestamp,symbol,sum_open_interest,sum_open_interest_value", *interest]) + "\n",
    )


def quote(symbol: str, bid: str, ask: str, quantity: str) -> dict[str, str]:
    """Return an entry of a book ticker."""
    return {
        "symbol": symbol,
        "bidPrice": bid,
        "bidQty": quantity,
        "askPrice": ask,
        "askQty": quantity,
    }


@pytest.fixture
def market(tmp_path: Path) -> RecordedMarket:
    """Give the market over the sample."""
    write_sample(tmp_path)
    return RecordedMarket(tmp_path)


def rates(rows: Iterable[FundingSettlement]) -> list[Decimal]:
    """Return the rates of settlements."""
    return [row.rate for row in rows]


def test_the_clock_starts_half_an_hour_before_the_first_settlement_without_a_record(
    market: RecordedMarket,
) -> None:
    """1000BBBUSDT is paid next at 04:00 without a record of it, hence 03:30."""
    source: MarketSource = market
    assert source.start == LAST + timedelta(hours=3, minutes=30)


def test_every_symbol_of_the_funding_file_is_listed(market: RecordedMarket) -> None:
    """Symbols without exchange information get filters that suit their price."""
    specs = {spec.symbol: spec for spec in market.instruments(Kind.PERPETUAL, market.start)}
    assert set(specs) == {"AAAUSDT", "1000BBBUSDT", "CCCUSDT", "DDDUSDT"}
    assert specs["AAAUSDT"].tick_size == Decimal("0.001")
    assert specs["AAAUSDT"].min_notional == 20
    assert specs["AAAUSDT"].market_max_quantity == 700
    assert specs["AAAUSDT"].funding_cap == Decimal("0.003")
    assert specs["DDDUSDT"].tick_size > 0
    assert (
        specs["DDDUSDT"].onboard_time
        < market.settlements("DDDUSDT", None, None, 99, market.start)[0].time
    )


def test_intervals_come_from_the_gaps(market: RecordedMarket) -> None:
    """The last gap is the current interval; each row carries the gap before it."""
    assert market.funding_intervals(market.start) == {
        "AAAUSDT": 8 * HOUR,
        "1000BBBUSDT": 4 * HOUR,
        "CCCUSDT": 8 * HOUR,
        "DDDUSDT": HOUR,
    }
    rows = market.settlements("1000BBBUSDT", None, None, 99, market.start)
    assert [row.interval // HOUR for row in rows] == [8] * 6 + [4] * 11


def test_recorded_times_keep_their_jitter_and_next_times_are_whole_hours(
    market: RecordedMarket,
) -> None:
    """A settlement shows its recorded milliseconds; the announced time has none."""
    paid = market.settlements("CCCUSDT", None, None, 1, market.start)[0]
    assert paid.time == LAST + timedelta(milliseconds=9)
    assert market.funding_state("CCCUSDT", market.start).next_time == LAST + 8 * HOUR


def test_what_was_recorded_after_the_start_is_paid_when_its_time_comes(
    market: RecordedMarket,
) -> None:
    """DDDUSDT has a record of 04:00: announced at 03:30, settled at 04:00 and a millisecond."""
    state = market.funding_state("DDDUSDT", market.start)
    assert state.next_time == LAST + 4 * HOUR
    assert state.last_rate == Decimal("0.00002")
    assert market.settlements("DDDUSDT", LAST + 4 * HOUR, None, 9, LAST + 4 * HOUR) == []
    due = LAST + 4 * HOUR + timedelta(milliseconds=1)
    assert rates(market.settlements("DDDUSDT", LAST + 4 * HOUR, None, 9, due)) == [state.last_rate]


@pytest.mark.parametrize("symbol", ["AAAUSDT", "1000BBBUSDT", "CCCUSDT", "DDDUSDT"])
def test_announced_rates_are_the_ones_paid_inside_and_beyond_the_record(
    market: RecordedMarket, symbol: str
) -> None:
    """At any hour from the record to four days after it, the announced rate gets settled."""
    for hour in range(-60, 4 * 24):
        now = LAST + hour * HOUR + timedelta(minutes=20)
        state = market.funding_state(symbol, now)
        assert state.next_time is not None
        upto = state.next_time + timedelta(seconds=1)
        row = market.settlements(symbol, now, None, 1, upto)[0]
        assert (row.rate, row.interval) == (state.last_rate, state.interval)
        assert timedelta(0) <= row.time - state.next_time < timedelta(seconds=1)


def test_funding_goes_on_by_the_last_rates(market: RecordedMarket) -> None:
    """Beyond the record the last twelve rates come again, at the current interval."""
    known = rates(market.settlements("AAAUSDT", None, None, 12, market.start))
    later = market.settlements("AAAUSDT", market.start, None, 30, market.start + 20 * DAY)
    assert rates(later) == (known * 3)[:30]
    assert [row.time for row in later[:3]] == [LAST + n * 8 * HOUR for n in (1, 2, 3)]
    window = market.settlements_between(later[4].time, later[9].time)
    assert [row for row in window if row.symbol == "AAAUSDT"] == later[5:10]


def test_funding_ends_with_delivery(market: RecordedMarket) -> None:
    """A perpetual with a delivery date settles until then, and its status becomes SETTLING."""
    after = DELIVERY + 3 * DAY
    rows = market.settlements("CCCUSDT", market.start, None, 99, after)
    assert rows[-1].time == LAST + 4 * DAY + 8 * HOUR
    state = market.funding_state("CCCUSDT", after)
    assert (state.next_time, state.last_rate) == (None, rows[-1].rate)
    specs = {spec.symbol: spec.status for spec in market.instruments(Kind.PERPETUAL, after)}
    assert (specs["CCCUSDT"], specs["AAAUSDT"]) == ("SETTLING", "TRADING")
    assert market.book(Kind.PERPETUAL, "CCCUSDT", after).asks == ()


def test_spot_is_listed_where_it_was_recorded(market: RecordedMarket) -> None:
    """The coin of a multiplier symbol is its twin; a twin without a book is in BREAK."""
    specs = {spec.symbol: spec for spec in market.instruments(Kind.SPOT, market.start)}
    assert {symbol: spec.status for symbol, spec in specs.items()} == {
        "AAAUSDT": "TRADING",
        "BBBUSDT": "TRADING",
        "CCCUSDT": "BREAK",
    }
    assert specs["AAAUSDT"].tick_size == Decimal("0.01")
    assert specs["AAAUSDT"].lot_size == Decimal("0.01")
    assert specs["BBBUSDT"].tick_size == Decimal("0.00000001")
    assert specs["BBBUSDT"].lot_size == 1
    index = market.index_price("1000BBBUSDT", market.start)
    spot = market.last_price(Kind.SPOT, "BBBUSDT", market.start)
    assert abs(spot * 1000 - index) <= Decimal("0.00001")
    assert abs(index / market.mark_price("1000BBBUSDT", market.start) - 1) < Decimal("0.004")


@pytest.mark.parametrize(
    ("symbol", "multiplier"),
    [("BTCUSDT", 1), ("1000PEPEUSDT", 1000), ("1000000MOGUSDT", 10**6), ("1MBABYDOGEUSDT", 10**6)],
)
def test_multipliers_are_read_from_symbols(symbol: str, multiplier: int) -> None:
    """The number before the coin says how many coins one unit is."""
    assert multiplier_of(symbol) == multiplier


def test_finished_candles_are_the_recorded_ones(market: RecordedMarket) -> None:
    """Recorded hours come back as they are, four of them make one of four hours."""
    hours = market.candles(
        Kind.PERPETUAL, "AAAUSDT", HOUR, LAST - 8 * HOUR, LAST - 5 * HOUR, 9, market.start
    )
    assert [one.close for one in hours] == [
        Decimal(text) for text in ("20.2", "20.3", "20.4", "20.5")
    ]
    assert hours[0].quote_volume == Decimal("20002.5")
    wide = market.candles(
        Kind.PERPETUAL, "AAAUSDT", 4 * HOUR, LAST - 8 * HOUR, None, 1, market.start
    )[0]
    assert (wide.open, wide.close) == (hours[0].open, hours[3].close)
    assert wide.volume == 4000
    assert wide.high == max(one.high for one in hours)
    day = market.candles(Kind.PERPETUAL, "CCCUSDT", DAY, None, None, 7, market.start)
    assert [one.close for one in day[:6]] == [
        Decimal(text) for text in ("5", "5.1", "5", "5", "5", "5.1")
    ]


def test_prices_run_through_the_candles(market: RecordedMarket) -> None:
    """Within an hour the price goes from open to close by low and high, and no further."""
    hour = LAST - 6 * HOUR
    prices = [
        market.mark_price("AAAUSDT", hour + timedelta(minutes=minute)) for minute in range(60)
    ]
    assert prices[0] == Decimal("20.3")
    assert min(prices) == prices[20] == Decimal("19.894")
    assert max(prices) == prices[40] == Decimal("20.604")


def test_beyond_the_record_prices_stay_near_the_last_close_together(
    market: RecordedMarket,
) -> None:
    """The unfinished last hour is left out; then both markets move alike, within a percent."""
    # The record of AAAUSDT ends with the close of the hour before the last, 20.8, on both.
    for days in (1, 9, 50):
        now = market.start + days * DAY
        perpetual = market.last_price(Kind.PERPETUAL, "AAAUSDT", now)
        spot = market.last_price(Kind.SPOT, "AAAUSDT", now)
        assert abs(perpetual / Decimal("20.8") - 1) < Decimal("0.01")
        assert abs(perpetual / spot - 1) < Decimal("0.001")
    moments = {market.mark_price("AAAUSDT", market.start + n * HOUR) for n in range(9)}
    assert len(moments) == 9


def test_liquidity_comes_from_the_last_full_day(market: RecordedMarket) -> None:
    """The last recorded day is unfinished; the one before tells the turnover."""
    ticker = market.day_ticker(Kind.PERPETUAL, "AAAUSDT", market.start)
    assert abs(ticker.quote_volume / Decimal("20004.5") - 1) < Decimal("0.25")
    assert market.book(Kind.PERPETUAL, "AAAUSDT", market.start).bids


def test_open_interest_is_the_last_recorded(market: RecordedMarket) -> None:
    """Open interest is the record at or before now, on the lot; made up where there is none."""
    assert market.open_interest("AAAUSDT", market.start) == Decimal(5000)
    assert market.open_interest("AAAUSDT", LAST - 5 * HOUR) == Decimal(4998)
    assert market.open_interest("CCCUSDT", market.start) > 0


def test_a_directory_with_funding_alone_is_a_market(tmp_path: Path) -> None:
    """Every file but the funding has a substitute."""
    write(
        tmp_path / "funding/binance_usdm_fundingRate_x.csv",
        "\n".join(["timestamp,symbol,funding_rate", *funding_lines()]),
    )
    market = RecordedMarket(tmp_path)
    assert len(market.instruments(Kind.PERPETUAL, market.start)) == 4
    assert market.instruments(Kind.SPOT, market.start) == []
    assert market.book(Kind.PERPETUAL, "AAAUSDT", market.start).bids
    assert market.candles(Kind.PERPETUAL, "AAAUSDT", HOUR, None, None, 3, market.start)


@pytest.mark.parametrize(
    "line",
    [
        "x,AAAUSDT,0.0001",
        f"{ms(LAST)},AAAUSDT,NaN",
        f"{ms(LAST)},AAAUSDT,1e999999",
        f"{ms(LAST)},AAAUSDT",
        f"{ms(LAST)}",
        f"{ms(LAST)},AAAUSDT,0.1\n{ms(LAST) + 5},AAAUSDT,0.1",
    ],
)
def test_broken_funding_is_refused(tmp_path: Path, line: str) -> None:
    """A time, a rate or a row that is not one raises RecordingsError, as do two of one hour."""
    write(
        tmp_path / "funding/binance_usdm_fundingRate_x.csv",
        f"timestamp,symbol,funding_rate\n{line}\n",
    )
    with pytest.raises(RecordingsError):
        RecordedMarket(tmp_path)


def test_a_directory_without_funding_is_refused(tmp_path: Path) -> None:
    """There is no market without settlements."""
    with pytest.raises(RecordingsError, match="fundingRate"):
        RecordedMarket(tmp_path)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    """A truncated gzip or JSON file raises RecordingsError rather than losing its tail."""
    write_sample(tmp_path)
    path = tmp_path / "market/binance_usdm_perp_klines_1d.csv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordingsError, match="klines_1d"):
        RecordedMarket(tmp_path)
    write_sample(tmp_path)
    write(tmp_path / "instruments/binance_usdm_exchangeInfo_sample.json", '{"symbols": [')
    with pytest.raises(RecordingsError, match="JSON"):
        RecordedMarket(tmp_path)
