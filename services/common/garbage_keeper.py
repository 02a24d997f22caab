"""Collect garbage between orders, never in one: a full collection stands the event loop still.

What the start has made (modules, markets) is frozen: no collection looks at it again. Automatic
collection is off; instead the young are collected often while no order is under way, and
everything rarely. A process that is never idle is collected all the same, late rather than never.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.common.clock import Clock

YOUNG: Final = 1
"""Generation of what was made since the last few collections; takes well under a millisecond."""

EVERYTHING: Final = 2


@dataclass(frozen=True, slots=True)
class GarbagePace:
    """How often to look, and when to collect although orders are under way.

    `most_young`: so many new containers are collected whatever goes on (they are 100 bytes and
    more each). `full_seconds`: a full collection falls due, in the next idle moment or after
    `most_full_seconds`.
    """

    look_seconds: float = 0.25
    most_young: int = 50_000
    full_seconds: float = 60.0
    most_full_seconds: float = 1_800.0


def choose_generation(
    pace: GarbagePace, *, is_idle: bool, young_count: int, full_age_seconds: float
) -> int | None:
    """Return the generation to collect now, None for nothing."""
    if full_age_seconds >= pace.most_full_seconds:
        return EVERYTHING
    if is_idle:
        return EVERYTHING if full_age_seconds >= pace.full_seconds else YOUNG
    return YOUNG if young_count >= pace.most_young else None


class GarbageKeeper:
    """Takes the collector over from the interpreter while it runs, and gives it back.

    `longest_seconds` is the longest collection so far.
    """

    def __init__(
        self, is_idle: Callable[[], bool], clock: Clock, pace: GarbagePace | None = None
    ) -> None:
        self._is_idle = is_idle
        self._clock = clock
        self._pace = pace or GarbagePace()
        self._begun = 0.0
        self.longest_seconds = 0.0

    async def measure(self) -> None:
        """Leave collecting to the interpreter and measure its pauses until cancelled."""
        gc.callbacks.append(self._note)
        try:
            while True:
                await self._clock.sleep(self._pace.full_seconds)
        finally:
            gc.callbacks.remove(self._note)

    async def run(self) -> None:
        """Collect in idle moments until cancelled."""
        # Collected first: what is frozen as garbage would stay for ever.
        gc.collect()
        gc.freeze()
        gc.disable()
        gc.callbacks.append(self._note)
        full_at = self._clock.monotonic()
        try:
            while True:
                await self._clock.sleep(self._pace.look_seconds)
                now = self._clock.monotonic()
                generation = choose_generation(
                    self._pace,
                    is_idle=self._is_idle(),
                    young_count=gc.get_count()[0],
                    full_age_seconds=now - full_at,
                )
                if generation is not None:
                    gc.collect(generation)
                if generation == EVERYTHING:
                    full_at = now
        finally:
            gc.callbacks.remove(self._note)
            gc.enable()
            gc.unfreeze()

    def _note(self, phase: str, _information: dict[str, Any]) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
        else:
            # No metric here: a collection may come while this thread holds that metric's lock.
            self.longest_seconds = max(self.longest_seconds, time.perf_counter() - self._begun)
