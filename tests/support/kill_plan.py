"""When which process is killed: drawn from a seed, before anything runs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cli.demo.stack import PERPETUAL, SPOT

ENGINE: Final = "engine"
CONNECTORS: Final = (f"connector-{SPOT}", f"connector-{PERPETUAL}")
VICTIMS: Final = (ENGINE, *CONNECTORS)

_LONGEST_LIFE: Final = 1.2
_LONGEST_START: Final = 1.0
_ENGINE_SHARE: Final = 0.5
_TOGETHER_SHARE: Final = 0.15


class Moment(Enum):
    """From when on the life of a victim is counted."""

    STARTED = "started"
    SERVING = "serving"
    RECONCILED = "reconciled"


_MOMENTS: Final = {Moment.STARTED: 0.15, Moment.SERVING: 0.5, Moment.RECONCILED: 0.35}
"""In its own start, in its recovery, and in the midst of its work, with the share of each."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One SIGKILL of each of `victims`, `life_seconds` after the first of them reached `moment`.

    Only the engine reconciles: for a connector that moment is that it serves.
    """

    victims: tuple[str, ...]
    moment: Moment
    life_seconds: float


Episode = dict[str, list[Strike]]
"""Strikes by the victim that leads them; those of different leaders run beside each other."""


def draw_episode(dice: random.Random, kills: int) -> Episode:
    """Return strikes that kill `kills` processes in all."""
    episode: Episode = {name: [] for name in VICTIMS}
    left = kills
    while left > 0:
        is_engine = dice.random() < _ENGINE_SHARE
        leader = ENGINE if is_engine else dice.choice(CONNECTORS)
        victims: tuple[str, ...] = (leader,)
        if dice.random() < _TOGETHER_SHARE:
            others = [name for name in VICTIMS if name != leader]
            victims = (leader, *dice.sample(others, dice.randint(1, len(others))))
        victims = victims[:left]
        episode[leader].append(_draw_strike(dice, victims))
        left -= len(victims)
    return episode


def _draw_strike(dice: random.Random, victims: tuple[str, ...]) -> Strike:
    (moment,) = dice.choices(list(_MOMENTS), list(_MOMENTS.values()))
    longest = _LONGEST_START if moment is Moment.STARTED else _LONGEST_LIFE
    return Strike(victims, moment, dice.uniform(0.0, longest))
