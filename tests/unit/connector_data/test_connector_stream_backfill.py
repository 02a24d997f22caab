"""What is missing between two candles, which settlements passed, and histories by windows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from opensqt.market_maker.v1 import events_pb2, resources_pb2
from services.common.errors import InvalidFieldError, RejectedError, UnreachableError
from services.connector.market_reader import CandleRequest
from services.connector.stream_backfill import CandleBackfill, CandleLog, FundingBackfill
from services.connector.unified_history import read_newest, read_pages, read_windows
from services.connector.unified_rows import next_settlement, read_interval
from services.connector.unified_traits import HistoryPages
from services.connector.venue_pages import HistoryRequest

MINUTE = 60_000
HOUR = 3_600_000


def candle(minute: int, *, closed: bool = False) -> resources_pb2.Candle:
    """Return a candle of BTCUSDT that opens in that minute."""
    return resources_pb2.Candle(symbol="BTCUSDT", timestamp=minute * MINUTE, is_closed=closed)


class Market:
    """Has a closed candle for every minute; notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[CandleRequest] = []
        self.broken = False

    async def candles(self, request: CandleRequest) -> list[resources_pb2.Candle]:
        """Return the candles of a request, up to minute 20."""
        self.asked.append(request)
        if self.broken:
            raise UnreachableError("down")
        start = 19 if request.start is None else int(request.start.timestamp()) // 60
        end = 21 if request.end is None else int(request.end.timestamp()) // 60
        return [candle(minute, closed=minute < 20) for minute in range(start, min(end, 21))]


@pytest.mark.parametrize(
    ("told", "comes", "missing"),
    [
        (candle(5, closed=True), candle(6), None),
        (candle(5), candle(5, closed=True), None),
        (candle(5), candle(6), 5),
        (candle(5, closed=True), candle(7), 6),
        (candle(5, closed=True), candle(9), 6),
        (candle(5), candle(4, closed=True), None),
    ],
)
def test_what_is_missing_starts_behind_the_last_candle_told_closed(
    told: resources_pb2.Candle, comes: resources_pb2.Candle, missing: int | None
) -> None:
    """A candle that was never told closed is missing too: its last prints were."""
    log = CandleLog("1m")
    log.note(told)
    expected = None if missing is None else missing * MINUTE
    assert log.missing_before(comes) == expected


def test_a_closed_candle_does_not_open_again() -> None:
    """A late row of an old candle changes nothing."""
    log = CandleLog("1m")
    log.note(candle(5, closed=True))
    log.note(candle(5))
    log.note(candle(3))
    assert log.missing_before(candle(6)) is None
    assert log.resume_at("BTCUSDT") == 4 * MINUTE


async def test_candles_between_are_read_and_told_closed_before_the_newer_one() -> None:
    """Six, seven and eight were missed; nine comes behind them."""
    market: Any = Market()
    backfill = CandleBackfill(market, ["BTCUSDT"], "1m")
    await backfill.complete([candle(5, closed=True)])
    rows = await backfill.complete([candle(9)])
    assert [(row.timestamp // MINUTE, row.is_closed) for row in rows] == [
        (6, True),
        (7, True),
        (8, True),
        (9, False),
    ]


async def test_a_failed_read_leaves_the_gap_known() -> None:
    """The next row finds it again."""
    market: Any = Market()
    backfill = CandleBackfill(market, ["BTCUSDT"], "1m")
    await backfill.complete([candle(5, closed=True)])
    market.broken = True
    with pytest.raises(UnreachableError):
        await backfill.complete([candle(8)])
    market.broken = False
    rows = await backfill.complete([candle(8)])
    assert [row.timestamp // MINUTE for row in rows] == [6, 7, 8]


async def test_the_first_snapshot_is_two_candles_and_one_after_a_gap_is_all_of_it() -> None:
    """From one before the newest that was told."""
    market: Any = Market()
    backfill = CandleBackfill(market, ["BTCUSDT"], "1m")
    assert len(await backfill.snapshot()) == 2
    assert (market.asked[0].limit, market.asked[0].start) == (2, None)
    fresh = CandleBackfill(market, ["BTCUSDT"], "1m")
    await fresh.complete([candle(10, closed=True)])
    rows = await fresh.snapshot()
    assert [row.timestamp // MINUTE for row in rows] == list(range(9, 21))


def rate(next_hours: int) -> resources_pb2.FundingRate:
    """Return a present rate whose next settlement is at that hour."""
    return resources_pb2.FundingRate(
        exchange="x", symbol="BTCUSDT", next_funding_time=next_hours * HOUR
    )


class Funding:
    """Settles every eight hours; notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[HistoryRequest] = []

    async def history(self, request: HistoryRequest) -> tuple[list[resources_pb2.FundingRate], str]:
        """Return the settlements at hours 8 and 16."""
        self.asked.append(request)
        assert request.start is not None
        first = request.start.timestamp() * 1000
        rows = [
            resources_pb2.FundingRate(exchange="x", symbol="BTCUSDT", timestamp=hour * HOUR)
            for hour in (8, 16)
            if hour * HOUR >= first
        ]
        return rows, ""


async def test_settlements_that_passed_are_told_before_the_present_rate() -> None:
    """Two passed in the gap; a rate whose settlement is still ahead asks for none."""
    funding: Any = Funding()
    backfill = FundingBackfill(funding)
    assert [row.settled for row in await backfill.snapshot([rate(8)])] == [False]
    assert [row.settled for row in await backfill.snapshot([rate(8)])] == [False]
    assert funding.asked == []
    rows = await backfill.snapshot([rate(24)])
    assert [(row.settled, row.timestamp // HOUR) for row in rows] == [
        (True, 8),
        (True, 16),
        (False, 0),
    ]


async def test_an_event_moves_on_what_counts_as_told() -> None:
    """A settlement that the stream itself passed over live is not read again."""
    funding: Any = Funding()
    backfill = FundingBackfill(funding)
    await backfill.snapshot([rate(8)])
    backfill.note(events_pb2.FundingUpdate(symbol="BTCUSDT", next_funding_time=24 * HOUR))
    assert len(await backfill.snapshot([rate(24)])) == 1
    assert funding.asked == []


def history(times: list[int], cap: int) -> Callable[[int, int], Any]:
    """Return a venue that gives the newest `cap` rows of a window."""

    async def ask(start: int, end: int) -> list[dict[str, Any]]:
        rows = [{"timestamp": time} for time in times if start <= time <= end]
        return rows[-cap:]

    return ask


async def test_a_window_that_is_full_is_halved_until_nothing_is_cut() -> None:
    """Twenty rows where an answer has five: each comes, once, oldest first."""
    times = [hour * HOUR for hour in range(20)]
    pages = HistoryPages(5, timedelta(hours=20))
    rows = await read_windows(history(times, 5), pages, (0, 19 * HOUR), 100)
    assert [row["timestamp"] for row in rows] == times


async def test_rows_that_no_window_can_part_are_refused() -> None:
    """As many at one instant as an answer has."""
    pages = HistoryPages(5, timedelta(hours=1))
    with pytest.raises(RejectedError) as caught:
        await read_windows(history([7] * 9, 5), pages, (0, HOUR), 100)
    assert caught.value.reason == "HISTORY_TOO_DENSE"


async def test_a_span_of_too_many_windows_is_refused_by_name() -> None:
    """Not cut off in silence."""
    pages = HistoryPages(5, timedelta(hours=1))
    with pytest.raises(InvalidFieldError) as caught:
        await read_windows(history([], 5), pages, (0, 1_000 * HOUR), 10)
    assert caught.value.field == "start_time"


async def test_the_newest_rows_are_searched_back_over_empty_windows() -> None:
    """Enough of them end the search."""
    times = [hour * HOUR for hour in range(0, 40, 8)]
    pages = HistoryPages(5, timedelta(hours=10))
    rows = await read_newest(history(times, 5), pages, 45 * HOUR, 3)
    assert [row["timestamp"] // HOUR for row in rows][-3:] == [16, 24, 32]


async def test_pages_from_the_newest_are_read_back_to_the_start() -> None:
    """A page that reaches behind the start is the last."""
    asked: list[int] = []

    async def page(number: int) -> list[dict[str, Any]]:
        asked.append(number)
        return [{"timestamp": 100 - number * 10 - place} for place in range(5)]

    rows = await read_pages(page, HistoryPages(5, timedelta(hours=1), by_page=True), 77)
    assert asked == [1, 2]
    assert len(rows) == 10


@pytest.mark.parametrize(
    ("told", "hours"),
    [("8h", 8), ("1h", 1), ("14400000", 4), ("24h", 24), ("48h", None), ("0h", None), (None, None)],
)
def test_funding_intervals_are_read_in_both_of_ccxts_forms(
    told: str | None, hours: int | None
) -> None:
    """Anything that is not within a day is unknown."""
    expected = None if hours is None else timedelta(hours=hours)
    assert read_interval(told) == expected


@pytest.mark.parametrize(
    ("announced", "interval", "observed", "coming"),
    [(8, 8, 7, 8), (8, 8, 8, 16), (8, 4, 17, 20), (8, None, 9, 0), (None, 8, 9, 0)],
)
def test_an_announced_settlement_moves_on_once_it_has_passed(
    announced: int | None, interval: int | None, observed: int, coming: int
) -> None:
    """By whole intervals; without one it is unknown."""
    step = None if interval is None else timedelta(hours=interval)
    told = None if announced is None else announced * HOUR
    assert next_settlement(told, step, observed * HOUR) == coming * HOUR
