"""Keeps the best opportunities fresh between scans: streams follow them, books are read again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.scanner.live_evidence import freshened
from services.scanner.live_feeds import plan_feeds
from services.scanner.moments import moment_of
from services.scanner.task_runner import TaskPriority
from services.scanner.tasks import ReadBook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.common.clock import Clock
    from services.scanner.board import Board
    from services.scanner.books import Book
    from services.scanner.held import Held
    from services.scanner.live_book import LiveBook
    from services.scanner.live_feeds import Feed
    from services.scanner.live_metrics import LiveMetrics
    from services.scanner.live_rules import LiveRules
    from services.scanner.live_settings import LiveSettings
    from services.scanner.rules import ScanRules
    from services.scanner.task_runner import TaskRunner
    from services.scanner.tasks import VenueTask
    from services.scanner.venue_codec import Reading

# Opportunities reckoned anew before others have a turn of the event loop.
_BATCH = 5
_log = get_logger(__name__)


class Freshener:
    """Lays the newest rows over a finding; what is not followed stays as the scan found it."""

    def __init__(self, book: LiveBook, rules: ScanRules, live: LiveRules, clock: Clock) -> None:
        self._book = book
        self._rules = rules
        self._live = live
        self._clock = clock

    def __call__(self, held: Held) -> Held | None:
        """Return the finding brought up to date; None while it does not qualify."""
        pair = held.opportunity.pair
        long_news, short_news = self._book.news(pair.long_leg), self._book.news(pair.short_leg)
        if long_news is None or short_news is None:
            return held
        news = {pair.long_leg: long_news, pair.short_leg: short_news}
        try:
            return freshened(held, news, self._rules, self._live, moment_of(self._clock))
        except Exception:
            # Left as it is, it expires; the others must not suffer.
            _log.exception("refresh_failed", opportunity_id=held.opportunity.opportunity_id)
            return held


class LiveRefresh:
    """Use `run` as the task that owns the streams."""

    def __init__(
        self,
        board: Board,
        book: LiveBook,
        runner: TaskRunner[VenueTask, Reading],
        stream: Callable[[Feed], Awaitable[None]],
        *,
        settings: LiveSettings,
        book_depth: int,
        is_scanning: Callable[[], bool],
        clock: Clock,
        metrics: LiveMetrics,
    ) -> None:
        """`stream` reads a feed into the book until it is cancelled."""
        self._board = board
        self._book = book
        self._runner = runner
        self._stream = stream
        self._settings = settings
        self._book_depth = book_depth
        self._is_scanning = is_scanning
        self._clock = clock
        self._metrics = metrics
        self._streams: dict[Feed, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow the best opportunities until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_books())
            while True:
                names = self._follow(group)
                for first in range(0, len(names), _BATCH):
                    self._board.refresh(names[first : first + _BATCH])
                    await asyncio.sleep(0)
                await self._clock.sleep(self._settings.refresh_seconds)

    def _follow(self, group: asyncio.TaskGroup) -> list[str]:
        """Open and close streams for the best opportunities and return their names."""
        best = self._board.best_found(self._settings.count)
        legs = {leg: None for each in best for leg in (each.pair.long_leg, each.pair.short_leg)}
        self._book.follow(tuple(legs), self._clock.monotonic())
        planned = plan_feeds(self._streams.keys(), legs)
        for feed in self._streams.keys() - planned:
            self._streams.pop(feed).cancel()
        for feed in sorted(planned - self._streams.keys()):
            self._streams[feed] = group.create_task(self._read(feed))
        self._metrics.streams.set(len(self._streams))
        return [each.opportunity_id for each in best]

    async def _read(self, feed: Feed) -> None:
        await self._stream(feed)

    async def _read_books(self) -> None:
        """Read the books of followed legs again and again, ahead of all other readings."""
        while True:
            await self._clock.sleep(self._settings.book_seconds)
            # A scan reads the books of its own shortlist, and counts its calls.
            if self._is_scanning():
                continue
            legs = {(leg.venue, leg.symbol): leg for leg in self._book.legs}
            # As old as the question: the answer cannot be older.
            asked = self._clock.monotonic()
            tasks = [ReadBook(venue, symbol, self._book_depth) for venue, symbol in legs]
            try:
                ends = await self._runner.run(
                    tasks,
                    priority=TaskPriority.REFRESH,
                    timeout_seconds=self._settings.book_seconds,
                )
            except OpensqtError as error:
                # Unread books grow old, and with them what stands on them.
                _log.warning("books_unread", reason=error.reason)
                continue
            for end in ends:
                if end.error is None:
                    leg = legs[end.task.venue, cast("ReadBook", end.task).symbol]
                    self._book.take_book(leg, cast("Book", end.value), asked)
