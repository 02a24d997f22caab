"""What is published: the opportunities that stand, their revisions, and what changes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from services.common.codec import to_millis
from services.scanner.held import Held
from services.scanner.moments import moment_of, wall_step
from services.scanner.news import is_news

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.common.clock import Clock
    from services.common.watch_hub import WatchHub
    from services.scanner.evaluate import Evidence
    from services.scanner.findings import Findings
    from services.scanner.moments import Moment
    from services.scanner.news import NewsRules
    from services.scanner.opportunity import Opportunity

# The kernel slews a clock by half a millisecond a second; more between two looks is a step.
_MIN_STEP = timedelta(seconds=1)


class Board:
    """Holds what scans found and what is published of it, and tells the hub of every change.

    `freshen` brings a finding of the last scan up to date, or returns None while it does not
    qualify. Revisions grow with every change, and across restarts too: they start from the clock,
    because a consumer ignores a revision older than one it has seen.
    """

    def __init__(
        self,
        hub: WatchHub[Opportunity],
        *,
        max_opportunities: int,
        news: NewsRules,
        clock: Clock,
        freshen: Callable[[Held], Held | None] = lambda held: held,
    ) -> None:
        self._hub = hub
        self._max_opportunities = max_opportunities
        self._news = news
        self._clock = clock
        self._freshen = freshen
        self._found: dict[str, Held] = {}
        self._published: dict[str, Held] = {}
        self._ranked: tuple[Held, ...] = ()
        self._anchor = moment_of(clock)
        self._revision = 0

    def ranked(self) -> tuple[Opportunity, ...]:
        """Return what stands and has not expired, best first."""
        now = self._clock.monotonic()
        return tuple(held.opportunity for held in self._ranked if held.deadline > now)

    def best_found(self, count: int) -> tuple[Opportunity, ...]:
        """Return the best findings of scans, those included that do not qualify for the moment."""
        found = sorted(
            (held.opportunity for held in self._found.values()), key=lambda each: each.rank_key
        )
        return tuple(found[:count])

    def oldest_age(self) -> float:
        """Return the seconds since the oldest figure of all that is published came; 0 for none."""
        # A copy: the exporter asks from a thread of its own.
        observed = [held.observed for held in tuple(self._ranked)]
        return self._clock.monotonic() - min(observed) if observed else 0.0

    def publish(self, findings: Findings, began: Moment) -> None:
        """Replace what stands by the findings of a scan that began at `began`.

        A pair the scan could not look at keeps what was published until it expires; every other
        pair without an opportunity is removed.
        """
        ranked = sorted(findings.opportunities, key=lambda each: each.rank_key)
        fresh = {
            each.opportunity_id: self._held(each, findings.evidence, began)
            for each in ranked[: self._max_opportunities]
        }
        for name, old in list(self._found.items()):
            # Not looked at is not the same as no longer there; its own expiry bounds the doubt.
            if name not in fresh and not findings.is_unevaluated(old.opportunity.pair):
                self._forget(name)
        self._found |= fresh
        for name in fresh:
            self._show(name, from_scan=True)
        self.expire()

    def refresh(self, opportunity_ids: Iterable[str]) -> None:
        """Bring findings up to date; one that is not known (any more) is passed over."""
        for name in opportunity_ids:
            if name in self._found:
                self._show(name, from_scan=False)
        self._rank()

    def expire(self) -> None:
        """Remove what has expired, and after a step of the wall clock tell all times anew."""
        now = moment_of(self._clock)
        if abs(wall_step(self._anchor, now)) >= _MIN_STEP:
            self._found = {name: held.timed(now) for name, held in self._found.items()}
            for name, held in list(self._published.items()):
                self._upsert(name, held.timed(now))
        self._anchor = now
        for name, held in list(self._published.items()):
            if held.deadline <= now.monotonic:
                self._remove(name)
        for name, held in list(self._found.items()):
            # What is kept fresh stands longer than the finding it came from.
            if held.deadline <= now.monotonic and name not in self._published:
                del self._found[name]
        self._rank()

    def _held(self, opportunity: Opportunity, evidence: Evidence | None, began: Moment) -> Held:
        """Return a finding with its times by the wall clock as it is now set."""
        now = moment_of(self._clock)
        # Stamped since the scan began, by the clock as it was then; never in the future.
        observed = min(began.monotonic_at(opportunity.observe_time), now.monotonic)
        held = Held(opportunity, observed, evidence)
        return held.timed(now) if abs(wall_step(began, now)) >= _MIN_STEP else held

    def _show(self, name: str, *, from_scan: bool) -> None:
        fresh = self._freshen(self._found[name])
        if fresh is None or fresh.deadline <= self._clock.monotonic():
            if name in self._published:
                self._remove(name)
            return
        old = self._published.get(name)
        if old is None or is_news(
            old.opportunity, fresh.opportunity, self._news, from_scan=from_scan
        ):
            self._upsert(name, fresh)

    def _upsert(self, name: str, held: Held) -> None:
        # The clock lifts revisions over those of a former process; the addition keeps them growing
        # when the clock stands or steps back, also of what was removed and comes again.
        self._revision = max(to_millis(self._clock.now()), self._revision + 1)
        opportunity = replace(held.opportunity, revision=self._revision)
        published = replace(held, opportunity=opportunity)
        self._published[name] = published
        self._hub.upsert(name, published.opportunity)

    def _forget(self, name: str) -> None:
        del self._found[name]
        if name in self._published:
            self._remove(name)

    def _remove(self, name: str) -> None:
        del self._published[name]
        self._hub.remove(name)

    def _rank(self) -> None:
        self._ranked = tuple(
            sorted(self._published.values(), key=lambda each: each.opportunity.rank_key)
        )
