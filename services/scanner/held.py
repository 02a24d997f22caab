"""A finding with what it stands on and how old that is, by a clock nobody sets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.scanner.evaluate import Evidence
    from services.scanner.moments import Moment
    from services.scanner.opportunity import Opportunity


@dataclass(frozen=True, slots=True)
class Held:
    """An opportunity, the monotonic second at which the oldest of its figures came, and the
    evidence of the scan that found it.
    """

    opportunity: Opportunity
    observed: float
    evidence: Evidence | None = None

    @property
    def deadline(self) -> float:
        """Monotonic second of its expiry: what decides, whatever the wall clock is set to."""
        opportunity = self.opportunity
        return self.observed + (opportunity.expire_time - opportunity.observe_time).total_seconds()

    def timed(self, now: Moment) -> Held:
        """Return the same with its times by the wall clock as it is set at `now`."""
        opportunity = self.opportunity
        observe_time = now.at(self.observed)
        life = opportunity.expire_time - opportunity.observe_time
        times = replace(opportunity, observe_time=observe_time, expire_time=observe_time + life)
        return replace(self, opportunity=times)
