"""Answers that cannot be read, and errands that break: nothing is believed, nothing stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from opensqt.market_maker.v1 import events_pb2
from services.common.clock import SystemClock
from services.common.errors import UnreachableError
from services.connector.bootstrap import keep_running
from services.connector.exchange_factory import build_exchange, new_session
from services.connector.order_calls import OrderKey
from services.connector.order_log import OrderLog
from services.connector.order_source import OrderSource
from services.connector.order_types import Side
from services.connector.profile import Credentials
from services.connector.venue_orders import VenueOrders
from services.connector.venue_upkeep import VenueUpkeep, measure_skew
from services.connector.venues import find_profile
from tests.support.connector_orders import SPOT_FULL, instrument
from tests.support.hand_venue import FENCE, venue


class Broken:
    """A ccxt instance whose every answer has been understood by ccxt and not by us."""

    def __init__(self, row: Any, book: Any = None) -> None:
        self._reply = {"info": row}
        self._book = book

    async def fetch_order(self, *_: Any) -> Any:
        """Return the row."""
        return self._reply

    async def cancel_order(self, *_: Any) -> Any:
        """Return the row."""
        return self._reply

    async def fetch_open_orders(self, *_: Any) -> Any:
        """Return the row alone."""
        return [self._reply]

    async def fetch_my_trades(self, *_: Any) -> Any:
        """Return the row alone."""
        return [self._reply]

    async def fetch_order_book(self, *_: Any) -> Any:
        """Return the book."""
        return self._book


KEY = OrderKey(instrument(), "mine", "28")
READS: list[Callable[[VenueOrders], Awaitable[Any]]] = [
    lambda orders: orders.query(KEY),
    lambda orders: orders.cancel(KEY),
    lambda orders: orders.open_orders(None),
    lambda orders: orders.order_fills(KEY),
    lambda orders: orders.fills(instrument(), start=None, end=None, limit=10),
]
ROWS = [
    {**SPOT_FULL, "executedQty": None, "qty": None},
    {**SPOT_FULL, "status": "DREAMING", "price": "NaN"},
    {**SPOT_FULL, "fills": ["text"], "isBuyer": None, "price": None},
    "text",
]


@pytest.mark.parametrize("row", ROWS, ids=["no quantity", "unknown word", "bad fill", "text"])
@pytest.mark.parametrize("read", READS, ids=["query", "cancel", "open", "order fills", "fills"])
async def test_row_that_cannot_be_read_is_a_broken_answer(
    read: Callable[[VenueOrders], Awaitable[Any]], row: Any
) -> None:
    """It is neither an order nor its absence, and callers may ask again."""
    with pytest.raises(UnreachableError) as broken:
        await read(VenueOrders(venue(Broken(row))))
    assert broken.value.reason == "VENUE_ANSWER_BROKEN"


@pytest.mark.parametrize("book", [{}, {"asks": [[]]}, {"asks": [["NaN", "1"]]}, None])
async def test_broken_book_gives_no_reference_price(book: Any) -> None:
    """A bound cannot be measured from a book that cannot be read."""
    with pytest.raises(UnreachableError):
        await VenueOrders(venue(Broken({}, book))).best_opposite_price(instrument(), Side.BUY)


class HandStream:
    """An order stream that is up until it is told otherwise."""

    def __init__(self) -> None:
        self.log = OrderLog()
        self.epoch = 0

    async def wait_whole(self, _seconds: float) -> None:
        """Return at once."""


class HandReader:
    """An account without live orders, which may fail to say so."""

    def __init__(self) -> None:
        self.fails = False

    async def open_orders(self, _instrument: Any, *, use_margin: bool) -> list[Any]:
        """Return none."""
        assert not use_margin
        if self.fails:
            raise UnreachableError("busy")
        return []


async def test_rows_before_a_drop_reach_the_subscribers() -> None:
    """A closing fill just before the drop is in no later snapshot, so it goes out first."""
    stream = HandStream()
    source = OrderSource(venue(), cast("Any", stream), cast("Any", None))
    receiving = asyncio.create_task(source.receive())
    await asyncio.sleep(0)
    stream.log.append(events_pb2.OrderUpdate(symbol="BTCUSDT"))
    stream.epoch += 1
    stream.log.wake()
    assert [row.symbol for row in await receiving] == ["BTCUSDT"]
    with pytest.raises(UnreachableError) as dropped:
        await source.receive()
    assert dropped.value.reason == "STREAM_DROPPED"


async def test_what_was_missed_comes_with_the_snapshot_after_a_drop() -> None:
    """Rows told while a reader was away come before its snapshot ends, and once."""
    stream, reader = HandStream(), HandReader()
    source = OrderSource(venue(), cast("Any", stream), cast("Any", reader))
    await source.snapshot()
    await source.reset()
    stream.epoch += 1
    stream.log.append(events_pb2.OrderUpdate(symbol="MISSED"))
    receiving = asyncio.create_task(source.receive())
    await asyncio.sleep(0)
    reader.fails = True
    with pytest.raises(UnreachableError):
        await source.snapshot()
    reader.fails = False
    rows = await source.snapshot()
    assert [(row.symbol, row.caught_up) for row in rows] == [("MISSED", False), ("", True)]
    assert not receiving.done()
    stream.log.append(events_pb2.OrderUpdate(symbol="NEXT"))
    assert [row.symbol for row in await receiving] == ["NEXT"]
    # A reader that joins later gets live orders, not what others missed.
    assert len(await source.snapshot()) == 1


def test_a_log_that_was_outrun_says_so() -> None:
    """A reader further behind than the log reaches is told that rows are gone."""
    log = OrderLog(limit=2)
    for _ in range(3):
        log.append(events_pb2.OrderUpdate())
    assert log.since(0) is None
    assert len(log.since(1) or ()) == 2
    assert log.since(3) == []


async def test_errand_that_breaks_is_run_again() -> None:
    """An unforeseen error costs a pause, not the order stream or the clock."""
    runs: list[int] = []
    third = asyncio.Event()

    async def errand() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise TypeError("unforeseen")
        third.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running(errand, 0.0))
    async with asyncio.timeout(60):
        await third.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class TimeGiver:
    """A venue three seconds ahead whose answer takes as long as the test says."""

    def __init__(self, clock: StepClock, seconds: float) -> None:
        self._clock = clock
        self.seconds = seconds
        self.options: dict[str, Any] = {}

    async def fetch_time(self) -> Any:
        """Answer after half of the time, from the middle of it."""
        self._clock.passed += self.seconds / 2
        stamp = (self._clock.now().timestamp() + 3) * 1000
        self._clock.passed += self.seconds / 2
        return round(stamp)


class StepClock(SystemClock):
    """A clock that stands still unless it sleeps or is moved."""

    def __init__(self) -> None:
        self._start = super().now()
        self.passed = 0.0

    def now(self) -> Any:
        """Return the start and what has passed."""
        return self._start + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        """Return what has passed."""
        return self.passed

    async def sleep(self, seconds: float) -> None:
        """Pass at once."""
        self.passed += seconds


async def test_waiting_for_the_rate_limit_is_no_difference_of_clocks() -> None:
    """The measurement starts when the question leaves, however long it had to wait."""
    clock = StepClock()
    held = venue(exchange=TimeGiver(clock, 0.2), clock=clock)
    held.budget.observe_headers({"x-mbx-used-weight-1m": "6000"})
    skew, doubt = await measure_skew(held)
    assert clock.passed > 30
    assert abs(skew - timedelta(seconds=3)) < timedelta(milliseconds=2)
    assert doubt == timedelta(seconds=0.1)


async def test_slow_answer_does_not_replace_a_measured_clock() -> None:
    """Half of its time is more than the fence allows the clock to be off by."""
    clock = StepClock()
    giver = TimeGiver(clock, 0.2)
    held = venue(trading=giver, exchange=giver, clock=clock)
    upkeep = VenueUpkeep(held, cast("Any", None), reload_seconds=1, clock_seconds=1)
    await upkeep.measure_clock()
    known = held.clock_skew
    giver.seconds = 9.0
    await upkeep.measure_clock()
    assert held.clock_skew == known
    assert abs(giver.options["timeDifference"] + 3000) <= 2


async def test_answer_without_a_time_is_a_broken_answer() -> None:
    """ccxt gives None for it, which is no time."""

    class Timeless:
        async def fetch_time(self) -> Any:
            return None

    with pytest.raises(UnreachableError):
        await measure_skew(venue(exchange=Timeless()))


async def test_no_instance_reads_positions_of_its_own_accord() -> None:
    """ccxt would, with each user stream, and fail on numbers as text."""
    session = new_session()
    profile = find_profile("binanceusdm")
    exchange = build_exchange(
        profile,
        session,
        base_url="http://127.0.0.1:9",
        credentials=Credentials(),
        recv_window=FENCE.recv_window,
        request_timeout=timedelta(seconds=1),
    )
    asked: list[str] = []
    exchange.spawn = lambda method, *_: asked.append(method.__name__)
    exchange.set_positions_cache(exchange.client("ws://127.0.0.1:9/private/ws"), "linear")
    await exchange.close()
    await session.close()
    assert asked == []
