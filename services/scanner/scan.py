"""One scan: plan, read, analyse, evaluate, and say what could not be done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from services.common.errors import UnimplementedError
from services.scanner.collect import failure, markets
from services.scanner.early_readings import EarlyReadings, Foresight
from services.scanner.evaluate import Evidence, Rejection, could_earn, evaluate_pair
from services.scanner.fees import FeeBook
from services.scanner.findings import Findings, ReasonBook, lone_perpetuals
from services.scanner.first_histories import FirstHistories
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.market import interval_hours, present
from services.scanner.pairs import PairOfLegs, pairs_of_legs
from services.scanner.plan import bulk_tasks
from services.scanner.prefilter import (
    LegOutlook,
    Prefiltered,
    borrowed_legs,
    leg_outlook,
    likely_best,
    prefilter,
)
from services.scanner.shortlist import (
    SHORTLIST_ROUNDS,
    ShortlistAnswers,
    leg_tasks,
    with_details,
)
from services.scanner.slices import Slicer
from services.scanner.statistics_memo import StatisticsMemo
from services.scanner.study import study_venue
from services.scanner.tasks import ReadBook, ReadBorrowRates, ReadDetail, ReadFees, VenueTask
from services.scanner.universe import tradable_symbols

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from services.common.clock import Clock
    from services.scanner.analytics import FundingStatistics
    from services.scanner.collect import Markets
    from services.scanner.histories import HistoryLoader, HistoryOutcome
    from services.scanner.history_store import HistoryStore
    from services.scanner.opportunity import Opportunity
    from services.scanner.progress import ScanRecord
    from services.scanner.rules import ScanRules
    from services.scanner.task_runner import TaskEnd, TaskRunner
    from services.scanner.venue_codec import Read, Reading

_PERPETUAL = InstrumentKind.PERPETUAL
# What came in bulk may show that other legs are worth reading, and those again, venue by venue.
_FURTHER_READINGS = 2


@dataclass(slots=True)
class _Work:
    """What a scan has found so far. Mutable: filled step by step."""

    record: ScanRecord
    slicer: Slicer
    early: EarlyReadings
    reasons: ReasonBook = field(default_factory=ReasonBook)
    missing_parts: list[str] = field(default_factory=list)
    unread: set[InstrumentKey] = field(default_factory=set)
    tradable: dict[str, frozenset[str]] = field(default_factory=dict)
    statistics: dict[InstrumentKey, FundingStatistics] = field(default_factory=dict)
    lent: dict[str, frozenset[str]] = field(default_factory=dict)
    """Assets by venue that a borrow rate was asked of."""
    shortlisted: frozenset[InstrumentKey] = frozenset()


class Scanner:
    """Runs scans. Between them it keeps the history store, the pool, the fees it was told, and what
    it asked of single instruments.
    """

    def __init__(
        self,
        venues: Mapping[str, InstrumentKind],
        runner: TaskRunner[VenueTask, Reading],
        store: HistoryStore,
        loader: HistoryLoader,
        rules: ScanRules,
        *,
        shortlist_count: int,
        clock: Clock,
    ) -> None:
        self._venues = venues
        self._runner = runner
        self._store = store
        self._loader = loader
        self._rules = rules
        self._shortlist_count = shortlist_count
        self._clock = clock
        self._fees = FeeBook()
        self._foresight = Foresight()
        self._memos: dict[str, StatisticsMemo] = {}

    async def run(self, record: ScanRecord) -> Findings:
        """Do one scan and count its progress in `record`. A failed reading costs what hangs on it
        only.
        """
        async with EarlyReadings(self._runner, record.seconds_to_read) as early:
            early.begin(self._foresight.tasks(self._rules.costs.book_depth))
            work = _Work(record, Slicer(self._clock), early)
            try:
                findings = await self._find(work)
            finally:
                # Not before: encoding a month of histories would hold up what the scan waits for.
                self._store.write_soon()
        self._foresight = Foresight(work.shortlisted, work.lent)
        return findings

    async def _find(self, work: _Work) -> Findings:
        found = await self._read_markets(work)
        self._choose_universe(found, work)
        await self._study(found, work)
        pairs = self._pairs(found, work)
        opportunities, evidence = await self._rank(found, pairs, work)
        return Findings(
            opportunities=opportunities,
            exclusions=work.reasons.exclusions(opportunities),
            missing_parts=tuple(work.missing_parts),
            blind_venues=found.blind_venues,
            unread=frozenset(work.unread),
            is_blind=not pairs and bool(work.missing_parts),
            evidence=evidence,
        )

    async def _read_markets(self, work: _Work) -> Markets:
        tasks = [task for venue, kind in self._venues.items() for task in bulk_tasks(venue, kind)]
        # The oldest the rows can be: they are received after this.
        received = self._clock.now()
        self._fees.forget_old(received)
        tasks = self._fees.worth_asking(tasks)
        perpetual = [each for each, kind in self._venues.items() if kind is _PERPETUAL]
        probes = self._loader.bulk_probes(perpetual, received)
        first = FirstHistories(self._loader, work.early, received)
        work.record.task_count += len(tasks) + len(probes)

        def note(end: TaskEnd[VenueTask, Reading]) -> None:
            work.record.note(end)
            first.note(end)

        seconds = work.record.seconds_to_read()
        ends = await work.early.run([*tasks, *probes], note, timeout_seconds=seconds)
        ends, probed = ends[: len(tasks)], ends[len(tasks) :]
        self._loader.note_probes(probed)
        self._fees.note_refusals(ends)
        found = markets(ends, self._venues, received)
        work.missing_parts += found.missing_parts
        return replace(found, views=self._fees.completed(found.views))

    def _choose_universe(self, found: Markets, work: _Work) -> None:
        perpetual_symbols: set[str] = set()
        for view in found.views.values():
            if view.kind is InstrumentKind.PERPETUAL:
                perpetual_symbols |= view.symbols.keys()
                work.record.perpetual_count += len(view.symbols)
        for venue, view in found.views.items():
            good, excluded = tradable_symbols(view, self._rules.universe, self._rules.costs)
            work.tradable[venue] = good
            # A spot pair without a perpetual of its name was never looked at.
            work.reasons.add(
                each for each in excluded if each.instrument.symbol in perpetual_symbols
            )

    async def _worth_reading(self, found: Markets, work: _Work) -> Prefiltered:
        """Return the perpetuals that have a twin and may qualify by all that is known now."""
        # Paired before any history is read: a symbol without a twin need not cost a call.
        candidates = tuple(pairs_of_legs(found.views, work.tradable))
        legs = {leg for pair in candidates for leg in (pair.long_leg, pair.short_leg)}
        for venue, view in found.views.items():
            if view.kind is InstrumentKind.PERPETUAL:
                paired = {leg.symbol for leg in legs if leg.venue == venue}
                work.reasons.add(lone_perpetuals(view, work.tradable[venue] - paired))
        minutes = {
            venue: int(present(view).timestamp() // 60) for venue, view in found.views.items()
        }
        outlooks: dict[InstrumentKey, LegOutlook] = {}
        is_history_held = False
        for leg in legs:
            view = found.views[leg.venue]
            held = self._store.settlements(leg.venue, leg.symbol)
            is_history_held |= bool(held.minutes.size)
            interval = interval_hours(view, leg.symbol)
            outlooks[leg] = leg_outlook(
                view, leg.symbol, held, interval, minutes[leg.venue], self._rules
            )
            await work.slicer.pause()
        self._foresee_borrowing(candidates, outlooks, found, work)
        # By present rates alone most would be asked in vain, by histories too three of ten.
        if is_history_held and not self._foresight.legs:
            self._foresee_shortlist(candidates, outlooks, work)
        chosen = prefilter(candidates, outlooks, self._rules)
        # Every venue has its place, also one without a pair.
        needed = {venue: chosen.needed.get(venue, set()) for venue in found.views}
        return replace(chosen, needed=needed)

    def _foresee_borrowing(
        self,
        pairs: Sequence[PairOfLegs],
        outlooks: Mapping[InstrumentKey, LegOutlook],
        found: Markets,
        work: _Work,
    ) -> None:
        """Ask early for what a first scan will borrow, going by what legs may pay at best."""
        for venue, legs in borrowed_legs(pairs, outlooks).items():
            if not work.early.borrowing(venue):
                listed = found.views[venue].symbols
                assets = sorted({listed[leg.symbol].base_asset for leg in legs})
                work.early.begin([ReadBorrowRates(venue, tuple(assets))])

    def _foresee_shortlist(
        self,
        pairs: Sequence[PairOfLegs],
        outlooks: Mapping[InstrumentKey, LegOutlook],
        work: _Work,
    ) -> None:
        """Ask early for the better half of what a first scan will probably shortlist: venues answer
        while histories are studied.
        """
        best = likely_best(pairs, outlooks, self._rules, self._shortlist_count // 2)
        legs = {leg for pair in best for leg in (pair.long_leg, pair.short_leg)}
        work.early.begin(leg_tasks(sorted(legs), self._rules.costs.book_depth))

    async def _read_histories(
        self, found: Markets, work: _Work
    ) -> tuple[Mapping[str, set[str]], HistoryOutcome]:
        """Read the histories of perpetuals that may qualify; return these and what came of it.

        A reading in bulk brings those of the others too, and may show that they qualify: then the
        scan says so at once, and reads what their other legs lack.
        """
        now = self._clock.now()
        chosen = await self._worth_reading(found, work)
        read = await self._load(found, chosen, now, work)
        for _ in range(_FURTHER_READINGS if chosen.exclusions else 0):
            wider = await self._worth_reading(found, work)
            if chosen.holds(wider.needed):
                break
            chosen = wider
            read = read.followed_by(await self._load(found, chosen, now, work))
        work.reasons.add(chosen.exclusions)
        return chosen.needed, read

    async def _load(
        self, found: Markets, chosen: Prefiltered, now: datetime, work: _Work
    ) -> HistoryOutcome:
        return await self._loader.load(
            found.views, chosen.needed, now, work.record, work.slicer, work.early
        )

    async def _study(self, found: Markets, work: _Work) -> None:
        """Turn the histories of perpetuals that may qualify into sound statistics."""
        needed, read = await self._read_histories(found, work)
        work.missing_parts += read.missing_parts
        for venue, view in found.views.items():
            if view.kind is not InstrumentKind.PERPETUAL:
                continue
            unread = read.unread[venue]
            work.unread |= {view.key(symbol) for symbol in unread}
            study = await study_venue(
                view,
                self._store,
                read.malformed.get(venue, {}),
                unread,
                needed[venue],
                self._rules,
                work.slicer,
                self._memos.setdefault(venue, StatisticsMemo()),
            )
            work.record.symbol_count += study.analysed_count
            work.reasons.add(study.exclusions)
            work.missing_parts += study.missing_parts
            work.unread |= study.untold
            work.statistics.update(study.statistics)
            sound = {key.symbol for key in study.statistics}
            # From here on a perpetual without sound statistics is as good as not tradable.
            work.tradable[venue] &= sound

    def _pairs(self, found: Markets, work: _Work) -> tuple[PairOfLegs, ...]:
        return tuple(pairs_of_legs(found.views, work.tradable))

    async def _with_borrow_rates(
        self, evidence: Evidence, pairs: Sequence[PairOfLegs], work: _Work
    ) -> Evidence:
        """Add borrow rates for short spot legs that could earn."""
        assets: dict[str, set[str]] = {}
        shorts: dict[str, set[InstrumentKey]] = {}
        for pair in pairs:
            # Only coins that could be worth shorting: venues tell borrow rates few at a time.
            if pair.borrows and could_earn(pair, evidence, self._rules):
                leg = pair.short_leg
                row = evidence.views[leg.venue].symbols[leg.symbol]
                assets.setdefault(leg.venue, set()).add(row.base_asset)
                shorts.setdefault(leg.venue, set()).add(leg)
            await work.slicer.pause()
        work.lent = {venue: frozenset(names) for venue, names in assets.items()}
        tasks = [
            task
            for venue, names in assets.items()
            for task in work.early.borrow_tasks(venue, names)
        ]
        rates: dict[tuple[str, str], Decimal] = {}
        for end in await self._run(tasks, work):
            if end.error is not None:
                if not isinstance(end.error, UnimplementedError):
                    work.missing_parts.append(failure(end.task, end.error))
                    # Not told this time is not the same as unknown: what stands may stand on.
                    work.unread |= shorts[end.task.venue]
                continue
            read = cast("Read[Decimal]", end.value)
            rates.update({(end.task.venue, asset): apr for asset, apr in read.rows.items()})
        return replace(evidence, borrow_aprs=rates)

    async def _rank(
        self, markets: Markets, pairs: Sequence[PairOfLegs], work: _Work
    ) -> tuple[list[Opportunity], Evidence]:
        """Rank by what bulk readings told, then again with what only a shortlist is asked for.

        Returns the evidence too, with what was told of the shortlist.
        """
        found: dict[PairOfLegs, Opportunity] = {}
        answers = ShortlistAnswers()
        evidence = Evidence(work.record.scan_id, markets.views, work.statistics)
        # Pairs that borrow nothing are judged while borrow rates are on their way.
        async with asyncio.TaskGroup() as group:
            borrowing = group.create_task(self._with_borrow_rates(evidence, pairs, work))
            others = [pair for pair in pairs if not pair.borrows]
            await self._evaluate(others, evidence, found, work)
        evidence = borrowing.result()
        await self._evaluate([pair for pair in pairs if pair.borrows], evidence, found, work)
        for _ in range(SHORTLIST_ROUNDS):
            legs = frozenset(answers.new_legs(_ranked(found)[: self._shortlist_count]))
            if not legs:
                break
            evidence = await self._ask(legs, answers, evidence, work)
            touched = [pair for pair in pairs if pair.long_leg in legs or pair.short_leg in legs]
            await self._evaluate(touched, evidence, found, work)
        work.shortlisted = frozenset(answers.asked)
        ranked = _ranked(found)
        return [with_details(each, answers.details, evidence.views) for each in ranked], evidence

    async def _evaluate(
        self,
        pairs: Sequence[PairOfLegs],
        evidence: Evidence,
        found: dict[PairOfLegs, Opportunity],
        work: _Work,
    ) -> None:
        for pair in pairs:
            result = evaluate_pair(pair, evidence, self._rules)
            if isinstance(result, Rejection):
                found.pop(pair, None)
                work.reasons.reject(result)
            else:
                found[pair] = result
            await work.slicer.pause()

    async def _ask(
        self,
        legs: frozenset[InstrumentKey],
        answers: ShortlistAnswers,
        evidence: Evidence,
        work: _Work,
    ) -> Evidence:
        """Ask books and details of legs, and fees where a venue tells them by symbol only.

        Without an answer a default or a caveat stands for the figure.
        """
        ordered, now = sorted(legs), self._clock.now()
        tasks = self._fees.tasks(ordered, evidence.views) + leg_tasks(
            ordered, self._rules.costs.book_depth
        )
        for end in await self._run(tasks, work):
            # A venue that has no such figure is no failure.
            if end.error is not None and not isinstance(end.error, UnimplementedError):
                work.missing_parts.append(failure(end.task, end.error))
            if isinstance(end.task, ReadFees):
                if end.error is None:
                    self._fees.learn(end.task, cast("Read[Decimal]", end.value).rows, now)
            elif isinstance(end.task, ReadBook | ReadDetail):
                answers.take(end, evidence.views[end.task.venue].key(end.task.symbol))
        views = self._fees.completed(evidence.views)
        return replace(evidence, views=views, books=dict(answers.books))

    async def _run(
        self, tasks: Sequence[VenueTask], work: _Work
    ) -> list[TaskEnd[VenueTask, Reading]]:
        work.record.task_count += len(tasks)
        seconds = work.record.seconds_to_read()
        return await work.early.run(tasks, work.record.note, timeout_seconds=seconds)


def _ranked(found: Mapping[PairOfLegs, Opportunity]) -> list[Opportunity]:
    return sorted(found.values(), key=lambda each: each.rank_key)
