"""What keeps the best fresh: books are read apart from scans, streams go with their legs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, cast

from services.common.errors import RetryableError
from services.common.metrics import ServiceMetrics
from services.scanner.books import Book, Level
from services.scanner.held import Held
from services.scanner.instruments import InstrumentKey
from services.scanner.live_book import LiveBook
from services.scanner.live_feeds import Feed
from services.scanner.live_metrics import LiveMetrics
from services.scanner.live_refresh import Freshener, LiveRefresh
from services.scanner.live_rules import LiveRules
from services.scanner.live_settings import LiveSettings
from services.scanner.task_runner import TaskEnd, TaskPriority
from tests.support.hand_clock import NOW, HandClock
from tests.support.plain_opportunity import plain_opportunity
from tests.support.scanner_rig import until

SOUND = Book((Level(Decimal(99), Decimal(1)),), (Level(Decimal(101), Decimal(1)),), NOW, NOW)


class Stage:
    """Everything around the refresh, in the test's hand."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.best = [plain_opportunity("AUSDT"), plain_opportunity("BUSDT")]
        self.book = LiveBook()
        self.open: set[Feed] = set()
        self.is_scanning = False
        self.is_refused = False
        self.asked: list[tuple[TaskPriority, int]] = []
        self.asked_at: list[float] = []

    def best_found(self, _count: int) -> Sequence[Any]:
        """Return the shortlist."""
        return self.best

    def refresh(self, _names: Sequence[str]) -> None:
        """Reckon nothing."""

    async def run(
        self, tasks: Sequence[Any], *, priority: TaskPriority, timeout_seconds: float
    ) -> list[TaskEnd[Any, Any]]:
        """Answer after a second: of BUSDT with an error; once nothing at all."""
        self.asked.append((priority, len(tasks)))
        self.asked_at.append(self.clock.monotonic())
        await self.clock.sleep(1.0)
        assert timeout_seconds > 0
        if self.is_refused:
            self.is_refused = False
            raise RetryableError("later", reason="VENUE_BUSY")
        return [
            TaskEnd(task, None, RetryableError("no"))
            if task.symbol == "BUSDT"
            else TaskEnd(task, SOUND, None)
            for task in tasks
        ]

    async def stream(self, feed: Feed) -> None:
        """Be open until cancelled."""
        self.open.add(feed)
        try:
            await asyncio.Event().wait()
        finally:
            self.open.discard(feed)

    def refreshing(self) -> asyncio.Task[None]:
        """Start it."""
        refresh = LiveRefresh(
            cast("Any", self),
            self.book,
            cast("Any", self),
            self.stream,
            settings=LiveSettings(),
            book_depth=5,
            is_scanning=lambda: self.is_scanning,
            clock=self.clock,
            metrics=LiveMetrics(ServiceMetrics("scanner")),
        )
        return asyncio.create_task(refresh.run())

    def books(self) -> dict[str, float]:
        """Return when the books of followed symbols were asked for."""
        found: dict[str, float] = {}
        for leg in self.book.legs:
            news = self.book.news(leg)
            if news is not None and news.book is not None:
                found[leg.symbol] = news.book.at
        return found


async def over(task: asyncio.Task[None]) -> None:
    """End it."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_books_are_as_old_as_the_question_and_unread_ones_are_not_taken() -> None:
    """Ahead of all other readings, without the one that failed, however long it took."""
    stage = Stage()
    stage.is_refused = True
    refresh = stage.refreshing()
    await until(lambda: stage.books())
    assert stage.books().keys() == {"AUSDT"}
    assert stage.books()["AUSDT"] in stage.asked_at
    assert set(stage.asked) == {(TaskPriority.REFRESH, 4)}
    # The first question was refused as a whole, and that ended nothing.
    assert len(stage.asked) >= 2
    await over(refresh)


async def test_books_are_left_to_a_scan_that_runs() -> None:
    """It reads those of its own shortlist."""
    stage = Stage()
    stage.is_scanning = True
    refresh = stage.refreshing()
    await until(lambda: stage.clock.monotonic() > 300)
    assert stage.asked == []
    stage.is_scanning = False
    await until(lambda: stage.asked)
    await over(refresh)


async def test_streams_go_with_their_legs_and_with_the_refresh() -> None:
    """What left the shortlist is streamed no longer, and nothing is after the end."""
    stage = Stage()
    refresh = stage.refreshing()
    await until(lambda: len(stage.open) == 3)
    stage.best = []
    await until(lambda: not stage.open)
    stage.best = [plain_opportunity("CUSDT")]
    await until(lambda: {symbol for feed in stage.open for symbol in feed.symbols} == {"CUSDT"})
    await over(refresh)
    assert stage.open == set()


def test_a_finding_that_cannot_be_reckoned_stays_as_it_is() -> None:
    """A bug with one finding lets it expire and costs the others nothing."""
    found = plain_opportunity("AUSDT")
    book = LiveBook()
    legs: list[InstrumentKey] = [found.pair.long_leg, found.pair.short_leg]
    book.follow(legs, 0.0)
    broken = Held(found, 0.0, cast("Any", object()))
    freshen = Freshener(book, cast("Any", None), LiveRules(), HandClock())
    assert freshen(broken) is broken
