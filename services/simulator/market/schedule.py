"""When a perpetual pays funding: phases of one interval each, settlements on the clock's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Phase:
    """From ``since`` (exclusive, ms) funding is paid at every multiple of ``interval`` ms."""

    since: int
    interval: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases in ascending order; the last settlement is at or before ``end``, None for no end."""

    phases: tuple[Phase, ...]
    end: int | None = None

    def interval(self, at: int) -> int:
        """Return the interval of the settlement that comes next after ``at``, in ms."""
        return self._phase(at).interval

    def following(self, at: int) -> int | None:
        """Return the first settlement after ``at``, None when there is none any more."""
        at = max(at, self.phases[0].since)
        interval = self._phase(at).interval
        # Phases begin where the grids of both intervals meet, so none is stepped over.
        time = (at // interval + 1) * interval
        return None if self.end is not None and time > self.end else time

    def times(self, after: int, upto: int) -> Iterator[tuple[int, int]]:
        """Yield (settlement, its interval) with ``after`` < settlement <= ``upto``, ascending."""
        time = self.following(after)
        while time is not None and time <= upto:
            # What is paid at the change was earned under the old interval.
            yield time, self._phase(time - 1).interval
            time = self.following(time)

    def _phase(self, at: int) -> Phase:
        current = self.phases[0]
        for phase in self.phases[1:]:
            if at < phase.since:
                break
            current = phase
        return current
