"""Counter-based noise: any value of a random series by its number, without the ones before it.

The mixing function is splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
generators", 2014). Keys come from BLAKE2b, so that they do not depend on the process.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_UNIT: Final = 2.0**-53
_CACHED_POINTS: Final = 4096


def key_of(seed: int, *names: str) -> int:
    """Return the 64-bit key of a named series under ``seed``."""
    text = "/".join((str(seed), *names))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def mix(key: int, number: int) -> int:
    """Return 64 well-mixed bits for point ``number`` of the series ``key``."""
    word = (key + number * _GOLDEN) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def unit(key: int, number: int) -> float:
    """Return point ``number`` of a uniform series in [0, 1)."""
    return (mix(key, number) >> 11) * _UNIT


def between(key: int, number: int, low: float, high: float) -> float:
    """Return point ``number`` of a uniform series in [low, high)."""
    return low + (high - low) * unit(key, number)


class Wave:
    """A continuous random curve in [-1, 1]: random points every ``period`` ms, joined by lines."""

    __slots__ = ("_key", "_period", "_points")

    def __init__(self, key: int, period: int) -> None:
        self._key = key
        self._period = period
        self._points: dict[int, float] = {}

    def at(self, at: int) -> float:
        """Return the curve's value at ``at`` milliseconds."""
        number, rest = divmod(at, self._period)
        left = self._point(number)
        return left + (self._point(number + 1) - left) * (rest / self._period)

    def _point(self, number: int) -> float:
        point = self._points.get(number)
        if point is None:
            if len(self._points) >= _CACHED_POINTS:
                self._points.clear()
            point = self._points[number] = 2.0 * unit(self._key, number) - 1.0
        return point


class Waves:
    """A sum of waves with their amplitudes: a bounded stand-in for a random walk."""

    __slots__ = ("_parts",)

    def __init__(self, key: int, parts: tuple[tuple[int, float], ...]) -> None:
        self._parts = tuple(
            (Wave(mix(key, number + 1), period), amplitude)
            for number, (period, amplitude) in enumerate(parts)
        )

    def at(self, at: int) -> float:
        """Return the sum at ``at`` milliseconds."""
        return sum(amplitude * wave.at(at) for wave, amplitude in self._parts)
