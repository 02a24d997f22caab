"""Rules of the services (I23 to I29): limits of venues, bounds, readiness, liveness, secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.engine.views import PositionStatus
from simulation.evidence import Arrival, Violation
from simulation.invariants_identity import Found

_MOVING = frozenset(
    {
        PositionStatus.OPENING,
        PositionStatus.UNWINDING,
        PositionStatus.REDUCING,
        PositionStatus.CLOSING,
    }
)


@dataclass(frozen=True, slots=True)
class Ban:
    """A time in which a venue wants to hear nothing, told to the caller at `start`."""

    exchange: str
    start: float
    end: float


def silent_while_banned(arrival: Arrival, bans: Iterable[Ban]) -> Found:
    """I23: nothing that left after a ban was told comes before it ends."""
    left = arrival.at if arrival.sent_at is None else arrival.sent_at
    return [
        Violation("I23", f"sent within a ban until {ban.end}: {arrival}", arrival.at)
        for ban in bans
        if ban.exchange == arrival.exchange and ban.start < left < ban.end
    ]


def counts_are_bounded(counts: Mapping[str, int], maxima: Mapping[str, int]) -> Found:
    """I24: whatever has a declared maximum stays under it."""
    return [
        Violation("I24", f"{name}: {count} above {maxima[name]}")
        for name, count in counts.items()
        if name in maxima and count > maxima[name]
    ]


def entry_after_reconciliation(accepted_at: float, *, is_reconciled: bool) -> Found:
    """I25: no entry is accepted before this run of the engine has reconciled."""
    if is_reconciled:
        return []
    return [Violation("I25", "an entry was accepted before reconciliation", accepted_at)]


def settles_in_time(
    statuses: Mapping[str, PositionStatus], healed_for: float, bound: float
) -> Found:
    """I26: so long after the last fault no position moves any more."""
    if healed_for < bound:
        return []
    return [
        Violation("I26", f"{key} still {status.value} {healed_for} s after healing")
        for key, status in statuses.items()
        if status in _MOVING
    ]


def runs_are_equal(traces: Sequence[str]) -> Found:
    """I28: the same seed gives the same trace hash in every process."""
    if len(set(traces)) <= 1:
        return []
    return [Violation("I28", f"traces differ: {', '.join(sorted(set(traces)))}")]


def canaries_stay_inside(texts: Iterable[str], canaries: Sequence[str]) -> Found:
    """I29: no text that left a process holds a secret; the secret itself is not told again."""
    return [
        Violation("I29", f"secret number {number} in a text of {len(text)} characters")
        for text in texts
        for number, canary in enumerate(canaries)
        if canary in text
    ]
