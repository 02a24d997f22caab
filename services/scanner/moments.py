"""Instants by both clocks, so that a step of the wall clock makes nothing older or fresher."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from services.common.clock import Clock


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant: by the wall clock, and in seconds of the monotonic clock."""

    wall: datetime
    monotonic: float

    def at(self, monotonic: float) -> datetime:
        """Return what the wall clock, as it stands at this moment, calls another instant."""
        return self.wall + timedelta(seconds=monotonic - self.monotonic)

    def monotonic_at(self, wall: datetime) -> float:
        """Return the monotonic seconds of an instant the wall clock stamped as it now stands."""
        return self.monotonic + (wall - self.wall).total_seconds()


def moment_of(clock: Clock) -> Moment:
    """Return the present."""
    return Moment(clock.now(), clock.monotonic())


def wall_step(before: Moment, after: Moment) -> timedelta:
    """Return by how much the wall clock was set ahead (below zero: back) between two moments."""
    return after.wall - before.wall - timedelta(seconds=after.monotonic - before.monotonic)
