"""What a scan found, what it left out, and what it could not look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.scanner.instruments import Exclusion, ExclusionReason, InstrumentKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from services.scanner.evaluate import Evidence, Rejection
    from services.scanner.market import VenueView
    from services.scanner.opportunity import Opportunity
    from services.scanner.pairs import PairOfLegs


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a scan. `is_blind`: readings failed and no pair at all could be looked at.

    `evidence` is all that the opportunities were made from.
    """

    opportunities: Sequence[Opportunity]
    exclusions: tuple[Exclusion, ...]
    missing_parts: tuple[str, ...]
    blind_venues: frozenset[str]
    unread: frozenset[InstrumentKey]
    is_blind: bool
    evidence: Evidence

    def is_unevaluated(self, pair: PairOfLegs) -> bool:
        """Tell whether a failed reading kept the scan from looking at a pair."""
        legs = (pair.long_leg, pair.short_leg)
        return any(leg.venue in self.blind_venues or leg in self.unread for leg in legs)


class ReasonBook:
    """Collects why instruments were left out; of carries too low it keeps the best of each
    perpetual.
    """

    def __init__(self) -> None:
        self._exclusions: dict[tuple[InstrumentKey, ExclusionReason], Exclusion] = {}
        self._best: dict[InstrumentKey, tuple[Decimal, Exclusion]] = {}

    def add(self, exclusions: Iterable[Exclusion]) -> None:
        """Note exclusions."""
        for exclusion in exclusions:
            self._exclusions[exclusion.instrument, exclusion.reason] = exclusion

    def reject(self, rejection: Rejection) -> None:
        """Note why a pair is no opportunity."""
        for key in rejection.instruments:
            exclusion = Exclusion(key, rejection.reason, rejection.detail)
            if rejection.net_apr is None:
                self.add([exclusion])
            elif key not in self._best or rejection.net_apr > self._best[key][0]:
                self._best[key] = (rejection.net_apr, exclusion)

    def exclusions(self, opportunities: Iterable[Opportunity]) -> tuple[Exclusion, ...]:
        """Return what was left out, by name; a perpetual with any opportunity has no carry too
        low.
        """
        used = {leg for each in opportunities for leg in each.pair.perpetuals}
        low = [exclusion for key, (_, exclusion) in self._best.items() if key not in used]
        everything = (*self._exclusions.values(), *low)
        return tuple(sorted(everything, key=lambda each: (each.instrument, each.reason)))


def lone_perpetuals(view: VenueView, symbols: Iterable[str]) -> tuple[Exclusion, ...]:
    """Return the exclusions of tradable perpetuals that are in no pair of legs."""
    detail = "no tradable twin on any venue that answered"
    return tuple(
        Exclusion(view.key(symbol), ExclusionReason.LEG_MISSING, detail) for symbol in symbols
    )
