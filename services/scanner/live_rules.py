"""The bounds that live figures are held to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class LiveRules:
    """`silence`: a leg without news for longer is stale. `max_scan_age`: how long live figures may
    keep standing what no scan has found again. `max_rate`: a rate a settlement beyond belief.
    """

    silence: timedelta = timedelta(seconds=30)
    max_scan_age: timedelta = timedelta(hours=1)
    max_backoff_seconds: float = 30.0
    max_rate: float = 0.05
