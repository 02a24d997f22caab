"""The swarm: what a seed draws, how its life goes, and what counts as its end.

Each seed turns whole kinds of fault off at random and draws a share for each that is left, so that
rare mixtures come up that no list of cases names. A life has two phases: faults on, then none at
all, in which everything must settle within the fence and five seconds.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import Final, Protocol

from services.engine.instruments import LegSide
from simulation.evidence import Violation
from simulation.swarm_faults import BY_NAME, KINDS, FaultKind, Target

ROOM_SECONDS: Final = 5.0
"""What a position may take beyond the fence once the last fault is over."""

_MOST_WORK_SECONDS: Final = 5.0
"""A life takes a small part of it; what takes so much makes no progress in virtual time."""

_ON_SHARES: Final = (0.0, 0.15, 0.35, 0.6)
_FAULT_SHARES: Final = (0.05, 0.15, 0.3, 0.6)
_NOTIONALS: Final = (Decimal(400), Decimal(1_500), Decimal(6_000))
_FAULTY_SECONDS: Final = (0.05, 0.5, 2.0, 5.0)
_MOST_DEEDS: Final = 7
_PAUSES: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.3, 2.0)
_SLICES: Final = (None, None, Decimal(1_000))


class Deed(StrEnum):
    """What may be done to a world in the middle of a life."""

    CLOSE = "close"
    REDUCE = "reduce"
    HALT = "halt"
    CRASH_ENGINE = "crash_engine"
    CRASH_CONNECTOR = "crash_connector"
    REPEAT = "repeat"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class DrawnFault:
    """One fault as it strikes: its kind and its figure."""

    kind: FaultKind
    figure: float


@dataclass(frozen=True, slots=True)
class DeedAt:
    """A deed, and how long after the last one it is done (virtual seconds)."""

    deed: Deed
    after: float


# Mutable: it draws, and counts what it drew.
@dataclass(slots=True)
class FaultMix:
    """Which kinds a seed has on, how often each strikes, and how often each did."""

    random: Random
    shares: Mapping[str, float]
    counts: Counter[str] = field(default_factory=Counter)
    is_healed: bool = False

    def strike(self, target: Target) -> DrawnFault | None:
        """Return the fault that this call meets; None mostly, and always once healed."""
        if self.is_healed:
            return None
        for name, share in self.shares.items():
            kind = BY_NAME[name]
            if kind.target is target and self.random.random() < share:
                self.counts[name] += 1
                return DrawnFault(kind, self.draw(name))
        return None

    def draw(self, name: str) -> float:
        """Return a figure for a kind, within its bounds."""
        kind = BY_NAME[name]
        return self.random.uniform(kind.low, kind.high)

    def heal(self) -> None:
        """End all faults for good."""
        self.is_healed = True


@dataclass(frozen=True, slots=True)
class Plan:
    """A life as its seed draws it, whole before it begins: a replay needs the seed alone.

    Faults go on for `faulty_seconds` after the last deed.
    """

    seed: int
    notional: Decimal
    lead_leg: LegSide | None
    deeds: tuple[DeedAt, ...]
    shares: Mapping[str, float]
    slice_notional: Decimal | None = None
    faulty_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LifeReport:
    """What came of one seed."""

    seed: int
    violations: tuple[Violation, ...]
    faults: Mapping[str, int]
    order_count: int
    crash_count: int
    event_count: int
    trace_hash: str = ""
    error: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.violations and not self.error


class Life(Protocol):
    """A world with a plan and a mix of faults, made anew for each seed."""

    def run(self) -> LifeReport:
        """Live the plan to its end; violations are told and never raised."""
        ...


LifeMaker = Callable[[Plan, FaultMix], Life]


def draw_plan(seed: int, kinds: Collection[str] = frozenset(BY_NAME)) -> Plan:
    """Return the life of a seed among the kinds of fault its world can do."""
    random = _random_of(seed, "plan")
    on_share = random.choice(_ON_SHARES)
    shares = {}
    # Every kind draws, on or off: a world that learns a new kind keeps its old seeds' draws.
    for kind in KINDS:
        is_on, share = random.random() < on_share, random.choice(_FAULT_SHARES)
        if is_on and kind.name in kinds:
            shares[kind.name] = share
    return Plan(
        seed=seed,
        notional=random.choice(_NOTIONALS),
        lead_leg=random.choice((None, LegSide.LONG, LegSide.SHORT)),
        deeds=_draw_deeds(random),
        shares=shares,
        slice_notional=random.choice(_SLICES),
        faulty_seconds=random.choice(_FAULTY_SECONDS),
    )


def mix_of(plan: Plan) -> FaultMix:
    """Return the faults of a plan, with a generator of their own."""
    return FaultMix(_random_of(plan.seed, "faults"), plan.shares)


class SpinningError(KeyboardInterrupt):
    """A life has computed for so long that it must go round in circles.

    A KeyboardInterrupt, because a task hands on no other error at once, and `except Exception`
    would take it for one of a venue.
    """


def live(seed: int, make: LifeMaker, kinds: Collection[str] = frozenset(BY_NAME)) -> LifeReport:
    """Live one seed; an error of the world itself is reported like a violation."""
    plan = draw_plan(seed, kinds)
    mix = mix_of(plan)
    try:
        with _bounded_work():
            return make(plan, mix).run()
    except (Exception, SpinningError) as error:
        text = f"{type(error).__name__}: {error}"
        return LifeReport(seed, (), dict(mix.counts), 0, 0, 0, error=text)


def settle_bound(fence_seconds: float) -> float:
    """Return how long after healing everything must be at rest."""
    return fence_seconds + ROOM_SECONDS


@contextlib.contextmanager
def _bounded_work() -> Iterator[None]:
    """Raise SpinningError in the middle of what takes too much of the processor's time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: object) -> None:
        raise SpinningError(f"no end after {_MOST_WORK_SECONDS} s of work")

    # The processor's time and not the wall's: a loaded machine must not change a finding.
    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, _MOST_WORK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def _random_of(seed: int, purpose: str) -> Random:
    # Text seeds hash by SHA-512, the same under every PYTHONHASHSEED.
    return Random(f"{purpose} {seed}")  # noqa: S311 - a seed must repeat


def _draw_deeds(random: Random) -> tuple[DeedAt, ...]:
    deeds = []
    weights = {
        Deed.CLOSE: 3,
        Deed.REDUCE: 2,
        Deed.HALT: 1,
        Deed.CRASH_ENGINE: 4,
        Deed.CRASH_CONNECTOR: 2,
        Deed.REPEAT: 1,
        Deed.OPEN: 4,
    }
    for _ in range(random.randrange(_MOST_DEEDS)):
        deed = random.choices(list(weights), list(weights.values()))[0]
        deeds.append(DeedAt(deed, random.choice(_PAUSES)))
    return tuple(deeds)
