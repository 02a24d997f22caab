"""What the last scan asked of single instruments is asked at once by the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.common.errors import RetryableError
from services.scanner.early_readings import EarlyReadings, Foresight
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.task_runner import TaskEnd, TaskPriority
from services.scanner.tasks import ReadBook, ReadBorrowRates, ReadDetail, VenueTask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.scanner.venue_codec import Reading

SPOT = InstrumentKey("binance", "BTCUSDT", InstrumentKind.SPOT)
PERPETUAL = InstrumentKey("binanceusdm", "BTCUSDT", InstrumentKind.PERPETUAL)


def test_foresight_asks_of_each_leg_what_a_shortlist_is_asked() -> None:
    """A book of each, a detail of the perpetual, and the borrow rates of before."""
    foresight = Foresight(frozenset({SPOT, PERPETUAL}), {"binance": frozenset({"ETH", "BTC"})})
    assert set(foresight.tasks(50)) == {
        ReadBorrowRates("binance", ("BTC", "ETH")),
        ReadBook("binance", "BTCUSDT", 50),
        ReadBook("binanceusdm", "BTCUSDT", 50),
        ReadDetail("binanceusdm", "BTCUSDT"),
    }


def test_a_first_scan_foresees_nothing() -> None:
    """Without a scan before there is nothing to ask early."""
    assert Foresight().tasks(50) == ()


class Runner:
    """Carries out what it is told to, when it is told so; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[VenueTask] = []
        self.priorities: set[TaskPriority] = set()
        self.was_asked = asyncio.Event()
        self.may_end = asyncio.Event()

    async def run(
        self,
        tasks: Sequence[VenueTask],
        on_end: Callable[[TaskEnd[VenueTask, Reading]], None] | None = None,
        *,
        priority: TaskPriority = TaskPriority.SCAN,
        timeout_seconds: float | None = None,
    ) -> list[TaskEnd[VenueTask, Reading]]:
        """End every task with an error once it may."""
        self.asked += tasks
        self.was_asked.set()
        self.priorities.add(priority)
        async with asyncio.timeout(timeout_seconds):
            await self.may_end.wait()
        ends: list[TaskEnd[VenueTask, Reading]] = [
            TaskEnd(task, None, RetryableError("late")) for task in tasks
        ]
        for end in ends:
            if on_end is not None:
                on_end(end)
        return ends


async def test_an_early_reading_is_joined_and_never_made_twice() -> None:
    """Who needs it before it ended gets it when it does, failed or not, beside what is new."""
    book, other = ReadBook("binance", "BTCUSDT", 50), ReadBook("binance", "ETHUSDT", 50)
    runner, noted = Runner(), list[VenueTask]()
    async with EarlyReadings(runner, lambda: 10.0) as early:
        early.begin([book])
        early.begin([book])
        waiting = asyncio.create_task(early.run([other, book], lambda end: noted.append(end.task)))
        for _ in range(3):
            await asyncio.sleep(0)
        assert (set(runner.asked), len(runner.asked)) == ({book, other}, 2)
        assert not waiting.done()
        runner.may_end.set()
        ends = await waiting
    assert [(end.task, type(end.error)) for end in ends] == [
        (other, RetryableError),
        (book, RetryableError),
    ]
    assert sorted(noted, key=str) == sorted([book, other], key=str)
    assert runner.priorities == {TaskPriority.AHEAD, TaskPriority.SCAN}


async def test_what_nobody_needs_is_not_waited_for() -> None:
    """The end of the scan is the end of its early readings, also of those that hang."""
    runner = Runner()
    async with asyncio.timeout(60), EarlyReadings(runner, lambda: None) as early:
        early.begin([ReadDetail("binanceusdm", "BTCUSDT")])
        await runner.was_asked.wait()


async def test_borrow_rates_asked_early_are_not_asked_again() -> None:
    """Assets the early reading has are taken from it; only the others are asked of the venue."""
    asked = ReadBorrowRates("binance", ("BTC", "ETH"))
    async with EarlyReadings(Runner(), lambda: None) as early:
        early.begin([asked])
        assert early.borrow_tasks("binance", {"ETH"}) == [asked]
        lacking = ReadBorrowRates("binance", ("SOL",))
        assert early.borrow_tasks("binance", {"ETH", "SOL"}) == [asked, lacking]
        other = ReadBorrowRates("okx-spot", ("ETH",))
        assert early.borrow_tasks("okx-spot", {"ETH"}) == [other]
