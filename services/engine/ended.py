"""Which of the positions that ended still count for an entry, found without a look at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from services.engine.instruments import LegSide
from services.engine.position import Position
from services.engine.risk_result import utc_day


class Ended:
    """Final positions by what is asked of them; mutable: the ledger tells it of every change."""

    def __init__(self) -> None:
        self._by_day: dict[date, dict[str, Position]] = {}
        self._holding: dict[str, Position] = {}
        self._changed: dict[str, None] = {}

    def copy(self) -> Ended:
        """Return the same as it is now; what comes later changes one of them."""
        made = Ended()
        made._by_day = {day: dict(rows) for day, rows in self._by_day.items()}
        made._holding, made._changed = dict(self._holding), dict(self._changed)
        return made

    def put(self, before: Position | None, after: Position) -> None:
        """Take a position as it is now; `before` is what it was, where it was known."""
        key = after.position_id
        if before is not None and before.status.is_final:
            self._by_day[utc_day(before.update_time)].pop(key, None)
            self._holding.pop(key, None)
            self._changed[key] = None
        if after.status.is_final:
            self._by_day.setdefault(utc_day(after.update_time), {})[key] = after
            # Dust, or what a venue would not take back: it is in the account all the same.
            if any(after.quantity(leg) != 0 for leg in LegSide):
                self._holding[key] = after
            self._changed[key] = None

    def since(self, day: date) -> Iterator[Position]:
        """Yield those whose last change was on this UTC day or later."""
        for key, rows in self._by_day.items():
            if key >= day:
                yield from rows.values()

    def holding(self) -> tuple[Position, ...]:
        """Return those of which a leg is not at zero."""
        return tuple(self._holding.values())

    def take_changed(self, most: int) -> tuple[str, ...]:
        """Return some that ended, changed or went on since they were last returned; empty: none."""
        count = min(most, len(self._changed))
        return tuple([self._changed.popitem()[0] for _ in range(count)])
