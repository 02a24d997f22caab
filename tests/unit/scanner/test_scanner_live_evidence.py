"""A finding with newer rows laid over it: the scan's formula, the age of the oldest row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.scanner.analytics import FundingStatistics, analyse
from services.scanner.books import Book, Level
from services.scanner.evaluate import Evidence, evaluate_pair
from services.scanner.funding import funding_history, settlements
from services.scanner.held import Held
from services.scanner.instruments import (
    InstrumentKey,
    InstrumentKind,
    RateRow,
    SymbolRow,
    TickerRow,
    TradingStatus,
)
from services.scanner.live_book import Heard, LegNews, LiveBook
from services.scanner.live_evidence import freshened, is_stale
from services.scanner.live_rules import LiveRules
from services.scanner.market import VenueView
from services.scanner.moments import Moment
from services.scanner.opportunity import Opportunity
from services.scanner.pairs import PairOfLegs
from services.scanner.rules import ScanRules

NOW = datetime(2026, 3, 20, tzinfo=UTC)
NAME = "AAAUSDT"
LONG = InstrumentKey("s", NAME, InstrumentKind.SPOT)
SHORT = InstrumentKey("p", NAME, InstrumentKind.PERPETUAL)
PAIR = PairOfLegs(LONG, SHORT)
LIVE = LiveRules()
SCANNED = 500.0
"""Monotonic second at which the scan received its rows; the venue's clock is two minutes behind."""


def now(seconds: float) -> Moment:
    """Return the moment so many seconds after the scan."""
    return Moment(NOW + timedelta(seconds=seconds), SCANNED + seconds)


def ticker(middle: str = "100", half: str = "0.01") -> TickerRow:
    """Return best prices around a middle."""
    price, off = Decimal(middle), Decimal(half)
    return TickerRow(NAME, Decimal(50_000_000), price - off, price + off)


def rate(text: str = "0.0005", hours: int = 8) -> RateRow:
    """Return a rate of the coming settlement."""
    stamp = NOW - timedelta(minutes=2)
    return RateRow(NAME, Decimal(text), None, stamp, timedelta(hours=hours))


def book(seconds: float = 0) -> Book:
    """Return a deep book around a hundred, received so long after the scan."""
    bids, asks = (
        tuple(Level(Decimal(price), Decimal(10_000)) for price in prices)
        for prices in (("99.99", "99"), ("100.01", "101"))
    )
    received = NOW + timedelta(seconds=seconds)
    return Book(bids, asks, received - timedelta(minutes=2), received)


def view(leg: InstrumentKey) -> VenueView:
    """Return what the scan read of a venue."""
    row = SymbolRow(NAME, "AAA", "USDT", TradingStatus.TRADING, False, None)
    rates = {NAME: rate()} if leg is SHORT else {}
    fees = {"": Decimal("0.0004")}
    return VenueView(leg.venue, leg.kind, {NAME: row}, {NAME: ticker()}, NOW, rates, fees)


def statistics() -> FundingStatistics:
    """Return the statistics of a constant rate every eight hours."""
    times = [8 * 3_600_000 * index for index in range(1, 91)]
    history = funding_history(settlements(times, [0.0005] * len(times)), 8.0)
    assert history is not None
    return analyse([history])[0]


def held(books: dict[InstrumentKey, Book | None] | None = None) -> Held:
    """Return the finding of the scan."""
    views = {"s": view(LONG), "p": view(SHORT)}
    evidence = Evidence("scan", views, {SHORT: statistics()}, books=books or {})
    found = evaluate_pair(PAIR, evidence, ScanRules())
    assert isinstance(found, Opportunity)
    return Held(found, SCANNED, evidence)


def fresh(found: Held, seconds: float, long_leg: LegNews, short_leg: LegNews) -> Held | None:
    """Bring the finding up to date so many seconds after the scan."""
    return freshened(found, {LONG: long_leg, SHORT: short_leg}, ScanRules(), LIVE, now(seconds))


def news(seconds: float, quote: TickerRow | None = None, told: RateRow | None = None) -> LegNews:
    """Return what came of a leg so many seconds after the scan."""
    at = SCANNED + seconds
    return LegNews(
        SCANNED,
        None if quote is None else Heard(quote, at),
        None if told is None else Heard(told, at),
    )


def test_the_same_rows_make_the_same_numbers_only_younger() -> None:
    """What a scan would have made of the rows is what is made of them between scans."""
    found = held()
    result = fresh(found, 60, news(50, ticker()), news(40, ticker(), rate()))
    assert result is not None
    assert result.observed == SCANNED + 40
    assert result.opportunity.observe_time == NOW + timedelta(seconds=40)
    same = replace(
        result.opportunity,
        observe_time=found.opportunity.observe_time,
        expire_time=found.opportunity.expire_time,
    )
    assert same == found.opportunity


def test_an_opportunity_is_as_old_as_its_oldest_row() -> None:
    """One leg without news keeps the age of the scan."""
    result = fresh(held(), 20, news(19, ticker("101")), news(19, ticker("102")))
    assert result is not None
    assert result.observed == SCANNED
    assert result.opportunity.observe_time == NOW
    assert result.opportunity.basis_ratio == Decimal(102) / Decimal(101) - 1


def test_rows_from_before_the_scan_are_passed_over() -> None:
    """A scan that read later knows better."""
    old = news(-1, ticker("150"), rate("0.04"))
    assert fresh(held(), 1, replace(old, rate=None), old) == held()


def test_a_book_moves_with_newer_best_prices_and_counts_in_the_age() -> None:
    """The depth is that of the last reading, the spread that of the last quote."""
    found = held({LONG: book(), SHORT: book()})
    wide = ticker("100", "0.05")
    result = fresh(found, 20, news(15, wide), news(15, ticker(), rate()))
    assert result is not None
    assert result.opportunity.costs["long_half_spread"] == Decimal("0.001")
    assert found.opportunity.costs["long_half_spread"] == Decimal("0.0002")
    assert result.observed == SCANNED
    reread = replace(news(15, ticker(), rate()), book=Heard(book(12), SCANNED + 12))
    result = fresh(found, 20, replace(reread, rate=None), reread)
    assert result is not None
    assert result.observed == SCANNED + 12
    assert result.opportunity.costs == found.opportunity.costs
    assert result.opportunity.caveats == found.opportunity.caveats


def test_an_interval_that_changed_is_reckoned_with_and_doubted() -> None:
    """The rate of a shorter interval is paid more often."""
    result = fresh(held(), 5, news(4, ticker()), news(4, ticker(), rate("0.0005", 4)))
    assert result is not None
    assert result.opportunity.current_apr == Decimal("0.0005") * 8760 / 4
    assert "INTERVAL_CHANGED" in result.opportunity.caveats


def test_what_no_longer_pays_is_no_opportunity() -> None:
    """A spread that eats the carry leaves nothing to publish."""
    assert fresh(held(), 5, news(4, ticker("100", "9")), news(4, ticker(), rate())) is None


@pytest.mark.parametrize("long_seconds", [0.0, None])
def test_silence_is_marked_and_not_prolonged(long_seconds: float | None) -> None:
    """A leg that said nothing for long, or never did, is doubted, and its age goes on."""
    long_leg = news(0) if long_seconds is None else news(long_seconds, ticker())
    short_leg = news(29, ticker(), rate())
    quiet = fresh(held(), 30, long_leg, short_leg)
    stale = fresh(held(), 31, long_leg, short_leg)
    assert quiet is not None
    assert stale is not None
    assert "STREAM_STALE" not in quiet.opportunity.caveats
    assert "STREAM_STALE" in stale.opportunity.caveats
    assert stale.observed == quiet.observed == SCANNED


def test_a_rate_is_missed_of_a_perpetual_only() -> None:
    """Spot pays no funding, so prices are all there is to hear."""
    quoted = news(100, ticker())
    assert not is_stale(LONG, quoted, LIVE, SCANNED + 101)
    assert is_stale(SHORT, quoted, LIVE, SCANNED + 101)


def test_without_a_scan_for_too_long_streams_keep_nothing_standing() -> None:
    """The finding stays as the scan made it, and so expires."""
    found = held()
    seconds = LIVE.max_scan_age.total_seconds() + 1
    long_leg, short_leg = news(seconds - 1, ticker()), news(seconds - 1, ticker(), rate())
    assert fresh(found, seconds, long_leg, short_leg) is found


def test_a_wall_clock_that_was_set_changes_no_age() -> None:
    """Times are told by the clock as it is set now, ages by the one that is not set."""
    later = Moment(NOW + timedelta(days=3), SCANNED + 10)
    legs = {LONG: news(7, ticker()), SHORT: news(8, ticker(), rate())}
    result = freshened(held(), legs, ScanRules(), LIVE, later)
    assert result is not None
    assert result.opportunity.observe_time == later.wall - timedelta(seconds=3)
    assert result.observed == SCANNED + 7


def test_a_live_book_keeps_rows_of_followed_legs_only() -> None:
    """Whoever leaves the shortlist takes its rows along; whoever stays keeps them."""
    live = LiveBook()
    live.take_quote(LONG, ticker(), 1)
    live.follow([LONG], 2)
    assert live.news(LONG) == LegNews(2)
    live.take_quote(LONG, ticker("101"), 3)
    live.take_book(LONG, book(), 3)
    live.take_rate(SHORT, rate(), 3)
    live.follow([LONG, SHORT], 4)
    kept = live.news(LONG)
    assert kept is not None
    assert kept.quote == Heard(ticker("101"), 3)
    assert live.news(SHORT) == LegNews(4)
    live.follow([], 5)
    assert live.news(LONG) is None
