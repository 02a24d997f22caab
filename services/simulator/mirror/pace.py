"""How often a mirror reads what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MirrorPace:
    """Seconds between two readings: books of what rests, prices, instruments."""

    follow_seconds: float = 1.0
    price_seconds: float = 3.0
    reload_seconds: float = 900.0
