"""How often a mirror reads what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

_FIRST_RETRY_SECONDS: Final = 1.0
_MOST_DOUBLINGS: Final = 6
_MOST_SETTLEMENT_PAUSE: Final = timedelta(minutes=1)
_SETTLEMENT_SHARE: Final = 10
_CONFIRM_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class MirrorPace:
    """Seconds between two readings: books of what rests, prices, instruments."""

    follow_seconds: float = 1.0
    price_seconds: float = 3.0
    reload_seconds: float = 900.0


def confirm_seconds(pace: MirrorPace) -> float:
    """Return the pause before instruments that a list lacked are looked for in another."""
    return min(_CONFIRM_SECONDS, pace.reload_seconds)


def retry_seconds(seconds: float, failures: int) -> float:
    """Return the pause after so many failures in a row of what is else read every `seconds`.

    A second, then twice as long each time: lists of rules are long, and weigh much at the venue.
    """
    return min(seconds, _FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))


def settlement_pause(age: timedelta) -> timedelta:
    """Return how long an owed rate is not asked for again, by the age of its settlement.

    The venue lists it some seconds after; one that it moved or skipped is never listed, and what
    an address may ask of funding rates is 500 questions in five minutes, the scanner's with it.
    """
    return min(age / _SETTLEMENT_SHARE, _MOST_SETTLEMENT_PAUSE)
