"""What is published: the opportunities that stand, their revisions, and what a scan changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from services.common.codec import to_millis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from services.common.watch_hub import WatchHub
    from services.scanner.opportunity import Opportunity
    from services.scanner.pairs import PairOfLegs


class Board:
    """Holds published opportunities and tells the hub of every change.

    Revisions grow with every change, and across restarts too: they start from the clock, because a
    consumer ignores a revision older than one it has seen.
    """

    def __init__(self, hub: WatchHub[Opportunity], *, max_opportunities: int) -> None:
        self._hub = hub
        self._max_opportunities = max_opportunities
        self._by_id: dict[str, Opportunity] = {}
        self._ranked: tuple[Opportunity, ...] = ()

    def ranked(self, now: datetime) -> tuple[Opportunity, ...]:
        """Return what stands and has not expired, best first."""
        return tuple(opportunity for opportunity in self._ranked if opportunity.expire_time > now)

    def publish(
        self,
        opportunities: Iterable[Opportunity],
        is_unevaluated: Callable[[PairOfLegs], bool],
        now: datetime,
    ) -> None:
        """Replace what stands by the findings of a scan.

        A pair the scan could not look at (`is_unevaluated`) keeps what was published until it
        expires; every other pair without an opportunity is removed.
        """
        found = sorted(opportunities, key=lambda each: each.rank_key)[: self._max_opportunities]
        fresh = {opportunity.opportunity_id: opportunity for opportunity in found}
        for name, old in list(self._by_id.items()):
            # Not looked at is not the same as no longer there; its own expiry bounds the doubt.
            kept = is_unevaluated(old.pair) and old.expire_time > now
            if name not in fresh and not kept:
                self._remove(name)
        for name, opportunity in fresh.items():
            self._upsert(name, opportunity, now)
        self._rank()

    def expire(self, now: datetime) -> None:
        """Remove what has expired."""
        for name, opportunity in list(self._by_id.items()):
            if opportunity.expire_time <= now:
                self._remove(name)
        self._rank()

    def _upsert(self, name: str, opportunity: Opportunity, now: datetime) -> None:
        old = self._by_id.get(name)
        # The clock lifts revisions over those of a former process; the addition keeps them growing
        # when the clock stands or steps back.
        revision = max(to_millis(now), old.revision + 1 if old is not None else 0)
        published = replace(opportunity, revision=revision)
        self._by_id[name] = published
        self._hub.upsert(name, published)

    def _remove(self, name: str) -> None:
        del self._by_id[name]
        self._hub.remove(name)

    def _rank(self) -> None:
        self._ranked = tuple(sorted(self._by_id.values(), key=lambda each: each.rank_key))
