"""The generated market: its make-up, its determinism and the rules its numbers keep."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.simulator.market.generated_funding import FundingCurve
from services.simulator.market.generated_prices import IndexPath, PerpetualPath
from services.simulator.market.generator import GeneratedMarket, GeneratorSettings
from services.simulator.market.instants import millis
from services.simulator.market.noise import key_of
from services.simulator.market.roster import Regime
from services.simulator.market.source import Book, Kind, MarketSource

START = datetime(2026, 5, 4, 9, 17, 31, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MARKET = GeneratedMarket(GeneratorSettings(start=START, symbol_count=27))
SYMBOLS = [spec.symbol for spec in MARKET.instruments(Kind.PERPETUAL, START)]
OLDEST_AGE = timedelta(days=80)

instants = st.timedeltas(-OLDEST_AGE, timedelta(days=40)).map(lambda age: START + age)
symbols = st.sampled_from(SYMBOLS)

_PRINTER = """
import hashlib
from datetime import datetime, timedelta
from services.simulator.market.generator import GeneratedMarket, GeneratorSettings
from services.simulator.market.source import Kind
import sys
now = datetime.fromisoformat(sys.argv[1])
market = GeneratedMarket(GeneratorSettings(start=now, symbol_count=27))
parts = []
for kind in Kind:
    for spec in market.instruments(kind, now):
        symbol = spec.symbol
        parts += [spec, market.book(kind, symbol, now), market.day_ticker(kind, symbol, now)]
parts += [market.funding_state(s.symbol, now) for s in market.instruments(Kind.PERPETUAL, now)]
parts.append(market.settlements(None, now - timedelta(days=3), None, 10**6, now))
parts.append(market.candles(Kind.SPOT, "ETHUSDT", timedelta(hours=1), None, None, 50, now))
sys.stdout.write(hashlib.sha256(repr(parts).encode()).hexdigest())
"""


def _digest_in_a_process(hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _PRINTER, START.isoformat()],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    return done.stdout


def test_processes_with_different_hash_seeds_make_the_same_market() -> None:
    """Nothing in the market depends on the process that makes it."""
    first = _digest_in_a_process("1")
    assert len(first) == hashlib.sha256().digest_size * 2
    assert first == _digest_in_a_process("2")


def test_another_seed_makes_another_market() -> None:
    """The seed reaches prices and funding."""
    other = GeneratedMarket(GeneratorSettings(start=START, symbol_count=27, seed=2))
    assert other.last_price(Kind.SPOT, "ETHUSDT", START) != MARKET.last_price(
        Kind.SPOT, "ETHUSDT", START
    )
    rates = [
        [row.rate for row in market.settlements("SOLUSDT", None, None, 50, START)]
        for market in (MARKET, other)
    ]
    assert rates[0] != rates[1]


def test_the_generator_is_a_market_source() -> None:
    """The class fits the interface the venue core is written against."""
    source: MarketSource = MARKET
    assert source.start == START


def test_a_market_has_as_many_perpetuals_as_asked_for_and_a_realistic_mix() -> None:
    """By default 320 perpetuals, most of them paid every four hours, some of every kind."""
    market = GeneratedMarket(GeneratorSettings(start=START))
    perpetuals = market.instruments(Kind.PERPETUAL, START)
    assert len(perpetuals) == len({spec.symbol for spec in perpetuals}) == 320
    hours = Counter(interval // HOUR for interval in market.funding_intervals(START).values())
    assert set(hours) == {1, 2, 4, 8}
    assert hours[4] > 320 / 2
    spot = {spec.symbol for spec in market.instruments(Kind.SPOT, START)}
    assert {"BTCUSDT", "ETHUSDT", "PEPEUSDT"} <= spot
    assert 250 < len(spot) < 320
    assert "BTCDOMUSDT" not in spot


def test_names_run_out_without_repeating() -> None:
    """A market larger than the list of names goes on with made-up ones."""
    market = GeneratedMarket(GeneratorSettings(start=START, symbol_count=600))
    symbols = [spec.symbol for spec in market.instruments(Kind.PERPETUAL, START)]
    assert len(set(symbols)) == 600


@pytest.mark.parametrize(
    "wrong",
    [
        GeneratorSettings(start=START, symbol_count=0),
        GeneratorSettings(start=START.replace(tzinfo=None)),
    ],
)
def test_settings_that_make_no_market_are_refused(wrong: GeneratorSettings) -> None:
    """No symbols, or a start without a time zone, raise ValueError."""
    with pytest.raises(ValueError, match="market"):
        GeneratedMarket(wrong)


@settings(deadline=None, max_examples=150)
@given(symbols, instants)
def test_the_last_rate_is_the_one_that_gets_paid(symbol: str, now: datetime) -> None:
    """What funding_state announces at any instant is what is settled at its next_time."""
    state = MARKET.funding_state(symbol, now)
    if state.next_time is None:
        assert MARKET.settlements(symbol, now + timedelta(seconds=1), None, 9, now + DAY) == []
        return
    spec = MARKET.instrument(Kind.PERPETUAL, symbol)
    assert spec is not None
    assert now < state.next_time <= max(now, spec.onboard_time) + state.interval
    upto = state.next_time + timedelta(seconds=1)
    paid = MARKET.settlements(symbol, state.next_time, None, 1, upto)[0]
    assert (paid.rate, paid.interval) == (state.last_rate, state.interval)
    assert abs(paid.time - state.next_time) < timedelta(seconds=1)
    assert paid.mark_price == MARKET.mark_price(symbol, state.next_time)


@settings(deadline=None, max_examples=60)
@given(symbols, instants, st.timedeltas(timedelta(0), timedelta(days=9)))
def test_any_cut_through_time_keeps_every_settlement(
    symbol: str, middle: datetime, span: timedelta
) -> None:
    """Windows that follow on each other hold each settlement once."""
    after, upto = middle - span, middle + span
    whole = MARKET.settlements_between(after, upto)
    parts = [*MARKET.settlements_between(after, middle), *MARKET.settlements_between(middle, upto)]
    assert whole == parts
    assert [row.time for row in whole] == sorted(row.time for row in whole)
    mine = [row for row in whole if row.symbol == symbol]
    start = after + timedelta(milliseconds=1)
    assert mine == MARKET.settlements(symbol, start, upto, 10**6, upto)


def test_settlements_are_of_the_past_only() -> None:
    """Nothing is settled after now; half an interval later the next one is."""
    state = MARKET.funding_state("BTCUSDT", START)
    assert state.next_time is not None
    before = MARKET.settlements("BTCUSDT", None, None, 1, state.next_time - HOUR)[-1]
    after = MARKET.settlements("BTCUSDT", None, None, 1, state.next_time)[-1]
    assert before.time < START < after.time == state.next_time


def test_without_a_start_the_last_settlements_come_with_it_the_first() -> None:
    """The limit cuts at the far end of the side that was asked for."""
    rows = MARKET.settlements("ETHUSDT", None, None, 10**6, START)
    assert len(rows) > 200
    assert MARKET.settlements("ETHUSDT", None, None, 5, START) == rows[-5:]
    assert MARKET.settlements("ETHUSDT", rows[0].time, None, 5, START) == rows[:5]
    assert MARKET.settlements("ETHUSDT", None, rows[-3].time, 2, START) == rows[-4:-2]
    all_rows = MARKET.settlements(None, None, None, 40, START)
    assert len(all_rows) == 40
    assert all_rows == MARKET.settlements(None, all_rows[0].time, None, 10**6, START)[-40:]


def test_intervals_change_inside_the_last_thirty_days() -> None:
    """A changed symbol is paid at the old interval up to the change and at the new one after."""
    rows = MARKET.settlements("XRPUSDT", START - 30 * DAY, None, 10**6, START)
    gaps = [row.interval // HOUR for row in rows]
    assert gaps == sorted(gaps, reverse=True)
    assert set(gaps) == {8, 4}
    hours = [round(row.time.timestamp() / 3600) for row in rows]
    assert [later - earlier for earlier, later in pairwise(hours)] == gaps[1:]


def test_recorded_times_jitter_and_coming_ones_do_not() -> None:
    """History carries milliseconds as the real one does; what is still to come is on the hour."""
    past = MARKET.settlements("SUPERUSDT", START - 20 * DAY, START, 10**6, START)
    coming = MARKET.settlements("SUPERUSDT", START, None, 10**6, START + 10 * DAY)
    assert {row.time.microsecond for row in coming} == {0}
    jitters = {row.time.microsecond for row in past}
    assert 0 in jitters
    assert 3 < len(jitters) <= 13


def test_regimes_differ_and_persist() -> None:
    """Dead markets pay nothing, hot ones much, flipping ones both ways, quiet ones the interest."""

    def rates(symbol: str) -> list[Decimal]:
        return [row.rate for row in MARKET.settlements(symbol, None, None, 200, START)]

    assert set(rates("IOSTUSDT")) == {Decimal(0)}
    assert min(rates("SUPERUSDT")) * 24 * 365 > 1
    assert max(rates("MOVRUSDT")) < 0
    assert min(rates("XRPUSDT")) < 0 < max(rates("XRPUSDT"))
    quiet = Counter(rates("BTCUSDT"))
    assert quiet[Decimal("0.0001")] > 100
    series = [float(rate) for rate in rates("SOLUSDT")]
    mean = sum(series) / len(series)
    ahead = sum((a - mean) * (b - mean) for a, b in pairwise(series))
    assert ahead / sum((a - mean) ** 2 for a in series) > 0.4


def test_a_delisted_symbol_keeps_its_history_and_no_book() -> None:
    """After delivery the status is SETTLING (spot: BREAK), prices stand and nothing is settled."""
    spec = MARKET.instrument(Kind.PERPETUAL, "OMGUSDT")
    spot = MARKET.instrument(Kind.SPOT, "OMGUSDT")
    assert spec is not None
    assert spot is not None
    assert (spec.status, spot.status) == ("SETTLING", "BREAK")
    assert spec.delivery_time is not None
    assert MARKET.book(Kind.PERPETUAL, "OMGUSDT", START) == Book((), (), 0)
    assert MARKET.funding_state("OMGUSDT", START).next_time is None
    rows = MARKET.settlements("OMGUSDT", None, None, 3, START)
    assert len(rows) == 3
    assert rows[-1].time <= spec.delivery_time + timedelta(seconds=1)
    assert rows[-1].rate == MARKET.funding_state("OMGUSDT", START).last_rate
    day_before = spec.delivery_time - DAY
    earlier = {one.symbol: one for one in MARKET.instruments(Kind.PERPETUAL, day_before)}
    assert earlier["OMGUSDT"].status == "TRADING"
    assert MARKET.book(Kind.PERPETUAL, "OMGUSDT", day_before).bids
    assert MARKET.open_interest("OMGUSDT", START) == 0


def test_a_new_listing_has_a_short_history() -> None:
    """Before its listing a symbol is not among the instruments; its history starts there."""
    spec = MARKET.instrument(Kind.PERPETUAL, "NEWTUSDT")
    assert spec is not None
    before = spec.onboard_time - timedelta(seconds=1)
    assert "NEWTUSDT" not in {one.symbol for one in MARKET.instruments(Kind.PERPETUAL, before)}
    assert "NEWTUSDT" not in MARKET.funding_intervals(before)
    rows = MARKET.settlements("NEWTUSDT", None, None, 500, START)
    assert spec.onboard_time < rows[0].time
    assert len(rows) < 25
    candles = MARKET.candles(Kind.PERPETUAL, "NEWTUSDT", HOUR, None, None, 500, START)
    assert candles[0].open_time == spec.onboard_time


def test_a_thousand_multiplier_is_a_thousand_times_its_coin() -> None:
    """1000PEPEUSDT trades near a thousand PEPEUSDT, with steps of its own."""
    perpetual = MARKET.instrument(Kind.PERPETUAL, "1000PEPEUSDT")
    spot = MARKET.instrument(Kind.SPOT, "PEPEUSDT")
    assert perpetual is not None
    assert spot is not None
    assert (perpetual.base_asset, spot.base_asset) == ("1000PEPE", "PEPE")
    assert perpetual.tick_size != spot.tick_size
    index = MARKET.index_price("1000PEPEUSDT", START)
    last = MARKET.last_price(Kind.SPOT, "PEPEUSDT", START)
    assert abs(last * 1000 - index) <= 1000 * spot.tick_size


@settings(deadline=None, max_examples=80)
@given(symbols, instants)
def test_the_basis_has_the_sign_of_the_funding_and_stays_small(symbol: str, now: datetime) -> None:
    """Perpetuals that cost longs trade above the index, by at most half a percent."""
    mark, index = MARKET.mark_price(symbol, now), MARKET.index_price(symbol, now)
    assert abs(mark / index - 1) < Decimal("0.005")
    state = MARKET.funding_state(symbol, now)
    if state.next_time is not None and abs(state.last_rate) > Decimal("0.00005"):
        at_payment = MARKET.mark_price(symbol, state.next_time)
        basis = at_payment / MARKET.index_price(symbol, state.next_time) - 1
        assert basis * state.last_rate >= 0


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(list(Kind)), symbols, instants, st.integers(1, 60))
def test_books_are_ladders_on_the_grid(kind: Kind, symbol: str, now: datetime, depth: int) -> None:
    """Sides are sorted, do not cross, lie on tick and lot, and hold the last price between them."""
    spec = MARKET.instrument(kind, symbol)
    if spec is None:
        return
    book = MARKET.book(kind, symbol, now, depth)
    if not book.bids:
        return
    bids = [level.price for level in book.bids]
    asks = [level.price for level in book.asks]
    assert len(asks) == len(bids) == depth
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert bids[0] <= MARKET.last_price(kind, symbol, now) <= asks[0]
    assert bids[0] < asks[0]
    assert all(level.price % spec.tick_size == 0 for level in (*book.bids, *book.asks))
    assert all(
        level.quantity % spec.lot_size == 0 and level.quantity >= spec.min_quantity
        for level in (*book.bids, *book.asks)
    )


def _depth_within(kind: Kind, symbol: str, ratio: str) -> Decimal:
    book = MARKET.book(kind, symbol, START, 500)
    limit = book.asks[0].price * (1 + Decimal(ratio))
    return sum(
        (level.price * level.quantity for level in book.asks if level.price <= limit), Decimal(0)
    )


def test_depth_follows_liquidity() -> None:
    """Millions within ten basis points of a major; a small market fills ten thousand in part."""
    assert _depth_within(Kind.PERPETUAL, "BTCUSDT", "0.001") > 5_000_000
    assert _depth_within(Kind.SPOT, "AXLUSDT", "0.0015") < 10_000
    assert _depth_within(Kind.SPOT, "AXLUSDT", "0.0015") > 500


def test_a_book_changes_with_time_and_not_with_the_call() -> None:
    """The same instant shows the same book; a later one another, with a greater update id."""
    first = MARKET.book(Kind.PERPETUAL, "SOLUSDT", START)
    MARKET.book(Kind.PERPETUAL, "SOLUSDT", START + DAY)
    assert MARKET.book(Kind.PERPETUAL, "SOLUSDT", START) == first
    later = MARKET.book(Kind.PERPETUAL, "SOLUSDT", START + timedelta(seconds=5))
    assert later.update_id > first.update_id
    assert later != first


def test_candles_join_and_end_unfinished() -> None:
    """Candles follow without a gap, open where the one before closed, the last ends at now."""
    candles = MARKET.candles(Kind.SPOT, "ETHUSDT", HOUR, None, None, 30, START)
    assert len(candles) == 30
    for earlier, later in pairwise(candles):
        assert later.open_time - earlier.open_time == HOUR
        assert later.open == earlier.close
    assert candles[-1].open_time == START.replace(minute=0, second=0)
    assert candles[-1].close == MARKET.last_price(Kind.SPOT, "ETHUSDT", START)
    assert all(one.low <= min(one.open, one.close) for one in candles)
    assert all(one.high >= max(one.open, one.close) for one in candles)
    first = MARKET.candles(
        Kind.SPOT, "ETHUSDT", HOUR, candles[3].open_time, candles[9].open_time, 4, START
    )
    assert list(first) == list(candles[3:7])


def test_candles_asked_for_before_are_the_ones_a_fresh_market_makes() -> None:
    """What was asked first, and when, changes no candle: running ones are not kept."""
    warm = GeneratedMarket(GeneratorSettings(start=START, symbol_count=27))
    later = START + 2 * HOUR
    for now in (START, later, START):
        fresh = GeneratedMarket(GeneratorSettings(start=START, symbol_count=27))
        asked = (Kind.PERPETUAL, "BTCUSDT", HOUR, None, None, 30, now)
        assert warm.candles(*asked) == fresh.candles(*asked)
    running = warm.candles(Kind.PERPETUAL, "BTCUSDT", HOUR, None, None, 1, START)[0]
    finished = warm.candles(Kind.PERPETUAL, "BTCUSDT", HOUR, None, START, 1, later)[0]
    assert running.open_time == finished.open_time
    assert running != finished


@settings(deadline=None)
@given(
    symbols,
    st.lists(instants, min_size=1, max_size=40).map(sorted),
    st.sampled_from([1, 5_000, 60_000, 3_600_000]),
)
def test_prices_asked_for_together_are_the_ones_asked_for_alone(
    symbol: str, times: list[datetime], grid: int
) -> None:
    """To the last bit, near or far apart, on the points of the waves or between them."""
    curve = FundingCurve(Regime.HOT_POSITIVE, key_of(1, symbol))
    path = PerpetualPath(IndexPath(100.0, 0.006, key_of(2, symbol)), 1, curve, key_of(3, symbol))
    at = [millis(time) // grid * grid for time in times]
    assert path.prices(at) == [path.price(one) for one in at]


def test_weekly_candles_begin_on_monday() -> None:
    """A week of candles opens on Monday, as venues have it."""
    candles = MARKET.candles(Kind.PERPETUAL, "BTCUSDT", 7 * DAY, None, None, 4, START)
    assert {one.open_time.weekday() for one in candles} == {0}


def test_day_tickers_agree_with_last_price_and_turnover() -> None:
    """The last of a ticker is the last price, within its range; majors turn over most."""
    majors = MARKET.day_ticker(Kind.PERPETUAL, "BTCUSDT", START)
    small = MARKET.day_ticker(Kind.PERPETUAL, "IOSTUSDT", START)
    assert majors.last == MARKET.last_price(Kind.PERPETUAL, "BTCUSDT", START)
    assert majors.low <= majors.last <= majors.high
    assert majors.price_change == majors.last - majors.open
    assert majors.quote_volume > 1000 * small.quote_volume > 0
    assert majors.close_time - majors.open_time == DAY


def test_unknown_symbols_are_told_apart() -> None:
    """An unknown instrument is None, every other question about it raises KeyError."""
    assert MARKET.instrument(Kind.SPOT, "NOPEUSDT") is None
    with pytest.raises(KeyError):
        MARKET.funding_state("NOPEUSDT", START)
    with pytest.raises(KeyError):
        MARKET.settlements("NOPEUSDT", None, None, 1, START)
    with pytest.raises(KeyError):
        MARKET.book(Kind.SPOT, "NOPEUSDT", START)


def test_limits_fit_the_venue() -> None:
    """Smallest notionals are 5 on spot, 5 to 100 on perpetuals; largest orders are on the lot."""
    for kind in Kind:
        for spec in MARKET.instruments(kind, START):
            low, high = (5, 5) if kind is Kind.SPOT else (5, 100)
            assert low <= spec.min_notional <= high
            assert spec.max_quantity % spec.lot_size == 0
            assert spec.min_quantity * MARKET.last_price(kind, spec.symbol, START) < 80
            assert spec.margin_allowed is False or kind is Kind.SPOT
