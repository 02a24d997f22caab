"""Fees of the account where a venue tells them one symbol at a time: asked for a shortlist, kept
a day.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from services.common.errors import UnimplementedError
from services.scanner.tasks import ReadFees, VenueTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from services.scanner.instruments import InstrumentKey
    from services.scanner.market import VenueView
    from services.scanner.task_runner import TaskEnd
    from services.scanner.venue_codec import Reading

# Fee tiers follow the volume of a month, so they move once a day at most.
_KEPT = timedelta(days=1)


class FeeBook:
    """Remembers which venues have no fees in bulk, and the fees of symbols they told instead."""

    def __init__(self) -> None:
        self._without_bulk: set[str] = set()
        self._told: dict[tuple[str, str], tuple[Decimal | None, datetime]] = {}

    def worth_asking(self, tasks: Iterable[VenueTask]) -> list[VenueTask]:
        """Return the tasks without bulk readings of fees that were refused before."""
        return [
            task
            for task in tasks
            if not (isinstance(task, ReadFees) and task.venue in self._without_bulk)
        ]

    def note_refusals(self, ends: Iterable[TaskEnd[VenueTask, Reading]]) -> None:
        """Remember the venues that said they have no fees in bulk."""
        for end in ends:
            if isinstance(end.task, ReadFees) and isinstance(end.error, UnimplementedError):
                self._without_bulk.add(end.task.venue)

    def forget_old(self, now: datetime) -> None:
        """Drop the fees told by symbol more than a day ago, so that they are asked again."""
        self._told = {key: told for key, told in self._told.items() if now - told[1] < _KEPT}

    def tasks(
        self, legs: Iterable[InstrumentKey], views: Mapping[str, VenueView]
    ) -> list[VenueTask]:
        """Return one reading for each leg whose fee nobody told."""
        return [
            ReadFees(leg.venue, leg.symbol)
            for leg in legs
            # What came in bulk is never asked again by symbol.
            if views[leg.venue].taker_fee(leg.symbol) is None
            and (leg.venue, leg.symbol) not in self._told
        ]

    def learn(self, task: ReadFees, fees: Mapping[str, Decimal], now: datetime) -> None:
        """Keep what a venue told of one symbol, nothing included."""
        fee = fees.get(task.symbol, fees.get(""))
        self._told[task.venue, task.symbol] = (fee, now)

    def completed(self, views: Mapping[str, VenueView]) -> Mapping[str, VenueView]:
        """Return the views with fees told by symbol put in; the same object when there are none."""
        added: dict[str, dict[str, Decimal]] = {}
        for (venue, symbol), (fee, _) in self._told.items():
            if fee is not None and venue in views and views[venue].taker_fee(symbol) is None:
                added.setdefault(venue, {})[symbol] = fee
        if not added:
            return views
        return {
            venue: replace(view, fees={**view.fees, **added[venue]}) if venue in added else view
            for venue, view in views.items()
        }
