"""The first histories of a venue, begun as soon as its listing and its rates are told.

A first scan reads a month of settlements of every perpetual. Waiting for the tickers of all venues
before that would leave a venue with history in bulk idle for as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from services.scanner.instruments import InstrumentKind
from services.scanner.market import VenueView
from services.scanner.tasks import ReadHistory, ReadRates, ReadSymbols, VenueTask

if TYPE_CHECKING:
    from datetime import datetime

    from services.scanner.early_readings import EarlyReadings
    from services.scanner.histories import HistoryLoader
    from services.scanner.instruments import RateRow, SymbolRow
    from services.scanner.task_runner import TaskEnd
    from services.scanner.venue_codec import Read, Reading

_WANTED = frozenset({ReadSymbols, ReadRates, ReadHistory})


class FirstHistories:
    """Watches the bulk readings of one scan. Mutable: what was told is kept until it suffices."""

    def __init__(self, loader: HistoryLoader, early: EarlyReadings, now: datetime) -> None:
        self._loader = loader
        self._early = early
        self._now = now
        self._told: dict[str, dict[type[VenueTask], Reading | None]] = {}

    def note(self, end: TaskEnd[VenueTask, Reading]) -> None:
        """Take how a bulk reading ended; begin histories with the last of those they hang on.

        A reading of history among them is the probe that shows that the venue has it in bulk.
        """
        kind = type(end.task)
        if end.error is not None or kind not in _WANTED:
            return
        told = self._told.setdefault(end.task.venue, {})
        told[kind] = end.value
        if told.keys() == _WANTED:
            symbols = cast("Read[SymbolRow]", told[ReadSymbols]).rows
            rates = cast("Read[RateRow]", told[ReadRates]).rows
            view = VenueView(
                end.task.venue, InstrumentKind.PERPETUAL, symbols, {}, self._now, rates
            )
            self._early.begin(self._loader.first_tasks(view, self._now))
