"""Funding histories in a scan: what is missing is planned, read, and put in the store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from services.common.errors import (
    AuthError,
    InvalidFieldError,
    OpensqtError,
    RejectedError,
    UnimplementedError,
)
from services.common.logs import get_logger
from services.scanner.collect import failure
from services.scanner.funding import MINUTE_MS
from services.scanner.history_store import unknown_spans
from services.scanner.instruments import InstrumentKind
from services.scanner.market import interval_hours, venue_now
from services.scanner.plan import (
    HOUR_MS,
    HistoryNeed,
    history_tasks,
    known_part,
    last_settled_part,
    settles_within,
    wanted_span,
)
from services.scanner.sound_statistics import MAX_AHEAD_MINUTES
from services.scanner.spans import Span
from services.scanner.tasks import ReadHistory, VenueTask
from services.scanner.venue_codec import HistoryRead

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from services.scanner.history_store import HistoryStore
    from services.scanner.market import VenueView
    from services.scanner.negative_results import NegativeResults
    from services.scanner.progress import ScanRecord
    from services.scanner.rules import ScanRules
    from services.scanner.slices import Slicer
    from services.scanner.task_runner import TaskEnd, TaskRunner
    from services.scanner.venue_codec import Reading

_log = get_logger(__name__)
_DAY_MS = 86_400_000
_NOTHING = Span(0, 0)
# Begun before it is known that history in bulk is the way of fewest calls: a wrong guess costs as
# many, once in the life of a history file.
_FIRST_READINGS = 24


@dataclass(slots=True)
class HistoryOutcome:
    """What came of the reading. Mutable: gathered venue by venue.

    `unread` are symbols by venue whose recent history could not be read; `malformed` those with
    rows that could not be understood, with what was wrong.
    """

    unread: dict[str, set[str]] = field(default_factory=dict)
    malformed: dict[str, dict[str, str]] = field(default_factory=dict)
    missing_parts: list[str] = field(default_factory=list)

    def followed_by(self, later: HistoryOutcome) -> HistoryOutcome:
        """Return the outcome of both readings; what could be read in the end is not unread."""
        malformed = {venue: dict(rows) for venue, rows in self.malformed.items()}
        for venue, rows in later.malformed.items():
            malformed.setdefault(venue, {}).update(rows)
        # A reading that failed twice is missing once.
        missing = dict.fromkeys((*self.missing_parts, *later.missing_parts))
        return HistoryOutcome(later.unread, malformed, list(missing))


class HistoryLoader:
    """Brings the store up to date with the venues.

    A refusal is remembered: of history in bulk by a venue, of history by symbol, and a symbol that
    has none yet.
    """

    def __init__(
        self,
        store: HistoryStore,
        rules: ScanRules,
        *,
        page_size: int,
        negative: NegativeResults,
    ) -> None:
        self._store = store
        self._rules = rules
        self._page_size = page_size
        self._negative = negative
        self._with_bulk: set[str] = set()

    def bulk_probes(self, venues: Iterable[str], now: datetime) -> list[ReadHistory]:
        """Return a small reading in bulk of each venue not known yet to have history so, or not.

        Made beside the other bulk calls it takes no time of its own, and spares a venue that has
        none the refusal of every page.
        """
        present = known_part(wanted_span(now, self._rules.history), now)
        span = Span(present.end_ms - HOUR_MS, present.end_ms)
        return [
            ReadHistory(venue, "", span)
            for venue in venues
            if venue not in self._with_bulk
            and not self._store.held(venue)
            and not self._negative.holds((venue, ""))
        ]

    def note_probes(self, ends: Sequence[TaskEnd[VenueTask, Reading]]) -> None:
        """Remember which venues answered and which refused; what failed otherwise tells nothing."""
        self._with_bulk |= {end.task.venue for end in ends if end.error is None}
        self._refusing_bulk(ends)

    def first_tasks(self, view: VenueView, now: datetime) -> tuple[ReadHistory, ...]:
        """Return the first readings in bulk of a venue that has them and nothing is held of.

        Which perpetuals are worth their history is not known yet; in bulk all of them come.
        """
        if self._store.held(view.venue):
            return ()
        tasks = self._plan(view, {view.venue: view.symbols}, now)
        return tuple(task for task in tasks if not task.symbol)[:_FIRST_READINGS]

    async def load(
        self,
        views: Mapping[str, VenueView],
        needed: Mapping[str, Collection[str]],
        now: datetime,
        record: ScanRecord,
        slicer: Slicer,
        runner: TaskRunner[VenueTask, Reading],
    ) -> HistoryOutcome:
        """Read what is missing of the needed symbols; `now` stands in for venues that stamp
        nothing.
        """
        outcome = HistoryOutcome()
        pending = [view for view in views.values() if view.kind is InstrumentKind.PERPETUAL]
        for view in pending:
            await self._prune(view, now)
        # A second round only for venues that refused history in bulk: then symbol by symbol.
        while pending:
            tasks = [task for view in pending for task in self._plan(view, needed, now)]
            record.task_count += len(tasks)
            ends = await self._read(tasks, views, now, record, slicer, outcome, runner)
            refused = self._refusing_bulk(ends)
            self._note_failures(ends, refused, outcome)
            pending = [view for view in pending if view.venue in refused]
        for view in views.values():
            if view.kind is InstrumentKind.PERPETUAL:
                outcome.unread[view.venue] = self._unread(view, needed[view.venue], now)
        return outcome

    async def _read(
        self,
        tasks: Sequence[ReadHistory],
        views: Mapping[str, VenueView],
        now: datetime,
        record: ScanRecord,
        slicer: Slicer,
        outcome: HistoryOutcome,
        runner: TaskRunner[VenueTask, Reading],
    ) -> list[TaskEnd[VenueTask, Reading]]:
        """Carry out readings and keep each answer as it comes, so that a scan that is cancelled or
        killed leaves the next one the rest only.
        """
        answers: asyncio.Queue[TaskEnd[VenueTask, Reading] | None] = asyncio.Queue(len(tasks) + 1)

        def take(end: TaskEnd[VenueTask, Reading]) -> None:
            record.note(end)
            answers.put_nowait(end)

        async def keep_all() -> None:
            while (end := await answers.get()) is not None:
                if end.error is None:
                    answer = cast("TaskEnd[ReadHistory, HistoryRead]", end)
                    await self._keep(answer, views, now, outcome)
                    await slicer.pause()

        async with asyncio.TaskGroup() as group:
            group.create_task(keep_all())
            ends = await runner.run(tasks, take, timeout_seconds=record.seconds_to_read())
            answers.put_nowait(None)
        return ends

    async def _prune(self, view: VenueView, now: datetime) -> None:
        """Forget what a scan stands on no more, and what cannot be known yet."""
        wanted = wanted_span(venue_now(view) or now, self._rules.history)
        held = (self._store.settlements(view.venue, symbol).minutes for symbol in view.symbols)
        lasts = sorted(int(minutes[-1]) * MINUTE_MS for minutes in held if minutes.size)
        kept = wanted
        if lasts and _is_unborn(lasts[len(lasts) // 2], view, now):
            _log.warning("venue_began_anew", exchange=view.venue, forgotten=len(lasts))
            kept = _NOTHING
        # A clock that jumped must not cost a month of history: as long is kept before the last
        # settlement, whatever the time. Known beyond that and the present is what such a clock
        # told.
        elif lasts:
            length = wanted.end_ms - wanted.start_ms
            kept = Span(
                min(wanted.start_ms, lasts[-1] - length),
                max(wanted.end_ms, lasts[-1] + HOUR_MS // 2),
            )
        await self._store.prune(view.venue, kept)

    def _plan(
        self, view: VenueView, needed: Mapping[str, Collection[str]], now: datetime
    ) -> tuple[ReadHistory, ...]:
        intervals = {symbol: interval_hours(view, symbol) for symbol in view.symbols}
        for symbol in needed[view.venue]:
            intervals[symbol] = self._shorter(intervals.get(symbol), view.venue, symbol)
        need = HistoryNeed(
            venue=view.venue,
            wanted=wanted_span(venue_now(view) or now, self._rules.history),
            intervals=intervals,
            needed=[
                symbol
                for symbol in needed[view.venue]
                if not self._negative.holds((view.venue, symbol))
            ],
            held=self._store.held(view.venue),
            held_by_symbol=self._store.held_by_symbol(view.venue),
            has_bulk=not self._negative.holds((view.venue, "")),
            page_size=self._page_size,
        )
        return history_tasks(need)

    def _shorter(self, told: float | None, venue: str, symbol: str) -> float | None:
        """Return the shorter of the interval told and the last spacing held, None if either is not.

        An interval that grew leaves settlements behind that the new one does not count with.
        """
        minutes = self._store.settlements(venue, symbol).minutes
        if told is None or minutes.size < 2:
            return told
        return min(told, float(minutes[-1] - minutes[-2]) / 60)

    def _refusing_bulk(self, ends: Iterable[TaskEnd[VenueTask, Reading]]) -> set[str]:
        """Note and return the venues that said they have no history without a symbol."""
        refused = {
            end.task.venue
            for end in ends
            if isinstance(end.task, ReadHistory)
            and not end.task.symbol
            and _refuses_bulk(end.error)
        }
        for venue in refused:
            self._negative.remember((venue, ""))
        return refused

    def _note_failures(
        self,
        ends: Iterable[TaskEnd[VenueTask, Reading]],
        refused: Collection[str],
        outcome: HistoryOutcome,
    ) -> None:
        for end in ends:
            # Venues that refused history in bulk are asked by symbol instead.
            if end.error is None or end.task.venue in refused:
                continue
            outcome.missing_parts.append(failure(end.task, end.error))
            # A transport that failed, a limit or a wrong token says nothing of the symbol.
            is_answer = isinstance(end.error, RejectedError) and not isinstance(
                end.error, AuthError
            )
            if isinstance(end.task, ReadHistory) and end.task.symbol and is_answer:
                self._negative.remember((end.task.venue, end.task.symbol))

    async def _keep(
        self,
        end: TaskEnd[ReadHistory, HistoryRead],
        views: Mapping[str, VenueView],
        now: datetime,
        outcome: HistoryOutcome,
    ) -> None:
        task, read = end.task, end.value or HistoryRead()
        # Only what had settled when the venue was asked is known for good; the rest is asked again.
        known = known_part(task.span, venue_now(views[task.venue]) or now)
        times, _ = read.rows.get(task.symbol, ((), ()))
        if times:
            settled = last_settled_part(task.span, max(times))
            known = Span(known.start_ms, max(known.end_ms, settled.end_ms))
        await self._store.extend(task.venue, task.symbol, known, read.rows)
        outcome.malformed.setdefault(task.venue, {}).update(read.malformed)
        if task.symbol and not times and not read.malformed:
            self._remember_silence(task.venue, task.symbol)

    def _remember_silence(self, venue: str, symbol: str) -> None:
        if not self._store.settlements(venue, symbol).minutes.size:
            self._negative.remember((venue, symbol))

    def _unread(self, view: VenueView, needed: Collection[str], now: datetime) -> set[str]:
        """Return symbols with a hole in the window in use: their figures would mislead."""
        present = venue_now(view) or now
        end = known_part(wanted_span(present, self._rules.history), present).end_ms
        # Holes further back lower the coverage, which is stated; a hole in the window in use would
        # change the carry itself.
        window = Span(end - self._rules.window_days * _DAY_MS, end)
        unread: set[str] = set()
        for symbol in needed:
            interval = self._shorter(interval_hours(view, symbol), view.venue, symbol)
            unknown = unknown_spans(self._store, view.venue, symbol, window)
            if any(settles_within(gap, interval) for gap in unknown):
                unread.add(symbol)
        return unread


def _is_unborn(settled_ms: int, view: VenueView, now: datetime) -> bool:
    """Tell whether a settlement is still to come by the venue's clock and by ours.

    One clock alone may have been set wrong. Both together tell of another venue's life: a simulated
    one that ran ahead and was started again.
    """
    told = venue_now(view)
    if told is None:
        return False
    return settled_ms > max(told, now).timestamp() * 1000 + MAX_AHEAD_MINUTES * MINUTE_MS


def _refuses_bulk(error: Exception | None) -> bool:
    # So many perpetuals settle at one instant that no page holds them: only by symbol, then.
    is_dense = isinstance(error, OpensqtError) and error.reason == "HISTORY_TOO_DENSE"
    return is_dense or isinstance(error, UnimplementedError | InvalidFieldError)
