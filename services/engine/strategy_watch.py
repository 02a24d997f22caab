"""How long something has been so for a position: flips and absences count only once they last."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from services.engine.strategy_facts import Held, Situation
from services.engine.strategy_policy import StrategyPolicy


class Persistence:
    """Remembers since when each key holds; `of` tells how long, by the monotonic clock."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def note(self, holding: Iterable[str], unknown: Iterable[str], now: float) -> None:
        """Take what holds now; what is unknown keeps its start, everything else is forgotten."""
        starts = {key: self._since.get(key, now) for key in holding}
        kept = {key: self._since[key] for key in unknown if key in self._since}
        self._since = {**kept, **starts}

    def of(self, now: float) -> dict[str, timedelta]:
        """Return how long each key has held."""
        return {key: timedelta(seconds=now - since) for key, since in self._since.items()}


def flipped(situation: Situation) -> tuple[list[str], list[str]]:
    """Return the positions whose coming settlements cost, and those of which nobody knows.

    Where no offer stands that tells, the venues' own word counts: a flip needs no scanner.
    """
    costing, unknown = [], []
    for held in situation.held:
        quoted = situation.quote_of(held)
        known = situation.is_whole and quoted is not None and not quoted.problem
        current = quoted.offer.current_apr if known and quoted is not None else None
        current = held.carry_apr if current is None else current
        if current is None:
            unknown.append(held.position_id)
        elif current < 0:
            costing.append(held.position_id)
    return costing, unknown


def missing(situation: Situation, policy: StrategyPolicy) -> tuple[list[str], list[str]]:
    """Return the positions whose pair is not offered, and those of which nobody knows."""
    absent: list[Held] = []
    unknown: list[Held] = []
    for held in situation.held:
        if situation.knows_absence(held, policy.exit_gross_apr):
            absent += [held] if situation.quote_of(held) is None else []
        else:
            unknown.append(held)
    return [h.position_id for h in absent], [h.position_id for h in unknown]
