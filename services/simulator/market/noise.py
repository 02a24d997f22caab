"""Counter-based noise: any value of a random series by its number, without the ones before it.

The mixing function is splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
generators", 2014). Keys come from BLAKE2b, so that they do not depend on the process.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b
from operator import add
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
# A float holds 53 bits, so the word's top 53 become a fraction without rounding.
_UNIT: Final = 2.0**-53
_TWICE_UNIT: Final = 2.0 * _UNIT
_CACHED_POINTS: Final = 512


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


def many_between(key: int, first: int, count: int, low: float, high: float) -> list[float]:
    """Return ``between`` of ``count`` points from ``first`` on."""
    width = high - low
    drawn: list[float] = []
    # mix() written out, as in _draw: a ladder takes a hundred points.
    for number in range(first, first + count):
        word = (key + number * _GOLDEN) & _MASK
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
        drawn.append(low + width * (((word ^ (word >> 31)) >> 11) * _UNIT))
    return drawn


class Waves:
    """A continuous random curve: a sum of waves, a bounded stand-in for a random walk.

    Each part (period in ms, amplitude) has random points every period, joined by lines.
    """

    __slots__ = ("_parts",)

    def __init__(self, key: int, parts: Sequence[tuple[int, float]]) -> None:
        self._parts = tuple(
            _Part(mix(key, number + 1), period, amplitude)
            for number, (period, amplitude) in enumerate(parts)
        )

    def at(self, at: int) -> float:
        """Return the sum at ``at`` milliseconds."""
        total = 0.0
        # Not sum(): its rounding differs between versions of Python.
        for part in self._parts:
            total += part.at(at)
        return total

    def many(self, times: Sequence[int]) -> list[float]:
        """Return the sum at each of ``times``, which ascend: exactly as ``at`` does, but faster."""
        totals = [0.0] * len(times)
        # Part by part in the order of ``at``: another order of adding would round otherwise.
        for part in self._parts:
            totals = list(map(add, totals, part.many(times)))
        return totals


class _Part:
    __slots__ = ("_amplitude", "_key", "_period", "_points")

    def __init__(self, key: int, period: int, amplitude: float) -> None:
        self._key = key
        self._period = period
        self._amplitude = amplitude
        self._points: dict[int, float] = {}

    def at(self, at: int) -> float:
        number, rest = divmod(at, self._period)
        points = self._points
        if len(points) > _CACHED_POINTS:
            points.clear()
        left = points.get(number)
        if left is None:
            left = self._make_point(number)
        if not rest:
            return left
        right = points.get(number + 1)
        if right is None:
            right = self._make_point(number + 1)
        return left + (right - left) * (rest / self._period)

    def many(self, times: Sequence[int]) -> list[float]:
        # Instants far apart each need a point of their own; close ones share a line.
        is_sparse = bool(times) and times[-1] - times[0] >= self._period * len(times)
        return self._each(times) if is_sparse else self._along_lines(times)

    def _each(self, times: Sequence[int]) -> list[float]:
        period = self._period
        values = self._draw([time // period for time in times])
        for place, rest in enumerate([time % period for time in times]):
            # On a grid of minutes the waves of seconds are met at their points only.
            if rest:
                right = self._draw((times[place] // period + 1,))[0]
                values[place] += (right - values[place]) * (rest / period)
        return values

    def _along_lines(self, times: Sequence[int]) -> list[float]:
        period = self._period
        values: list[float] = []
        while len(values) < len(times):
            number = times[len(values)] // period
            began = number * period
            stop = bisect_left(times, began + period, len(values))
            left, right = self._draw((number, number + 1))
            rise = right - left
            values += [
                left + rise * ((time - began) / period) for time in times[len(values) : stop]
            ]
        return values

    def _make_point(self, number: int) -> float:
        point = self._points[number] = self._draw((number,))[0]
        return point

    def _draw(self, numbers: Iterable[int]) -> list[float]:
        # mix() written out, without a call per point: most of the cost of a market's history.
        key, amplitude = self._key, self._amplitude
        drawn: list[float] = []
        for number in numbers:
            word = (key + number * _GOLDEN) & _MASK
            word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
            word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
            drawn.append(amplitude * (((word ^ (word >> 31)) >> 11) * _TWICE_UNIT - 1.0))
        return drawn
