"""Generated funding: a slowly moving premium put through the venue's own formula.

Binance: rate for 8 h = premium + clamp(interest - premium, -0.05 %, 0.05 %); a symbol paid every
n hours pays n / 8 of it, within the cap. In between settlements the next rate stands still.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from services.simulator.market.instants import DAY_MS, HOUR_MS, instant
from services.simulator.market.noise import Waves, between, mix
from services.simulator.market.roster import Regime
from services.simulator.market.rounding import eight_digits
from services.simulator.market.source import FundingSettlement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from services.simulator.market.schedule import Schedule

INTEREST_RATE: Final = 0.0001
FUNDING_CAP: Final = 0.02

_CLAMP: Final = 0.0005
_EIGHT_HOURS_MS: Final = 8 * HOUR_MS
_BASIS_PER_RATE: Final = 0.5
_MAX_BASIS: Final = 0.004
# Fixed edges: a settlement is made alike whatever was asked; 90 days stay cached.
_CHUNK_MS: Final = 6 * DAY_MS
_CACHED_CHUNKS: Final = 32
# Recorded times are a few ms late; a client that compares them unrounded must fail here.
_MAX_JITTER_MS: Final = 12


@dataclass(frozen=True, slots=True)
class _Climate:
    base: float
    swing: float


def _climate(regime: Regime, key: int) -> _Climate:
    if regime is Regime.QUIET:
        return _Climate(between(key, 1, 0.0, 0.0002), 0.0005)
    if regime is Regime.POSITIVE:
        return _Climate(between(key, 1, 0.0007, 0.0013), 0.0005)
    if regime is Regime.NEGATIVE:
        return _Climate(-between(key, 1, 0.0006, 0.0012), 0.0005)
    if regime is Regime.FLIPPING:
        return _Climate(-0.0002, 0.0024)
    if regime is Regime.HOT_POSITIVE:
        return _hot(between(key, 1, 0.003, 0.008))
    if regime is Regime.HOT_NEGATIVE:
        return _hot(-between(key, 1, 0.003, 0.008))
    return _Climate(0.0, 0.0)


def _hot(base: float) -> _Climate:
    return _Climate(base, abs(base) * 0.35)


class FundingCurve:
    """The 8-hour funding rate of one symbol at every instant, and the basis that goes with it."""

    __slots__ = ("_climate", "_is_dead", "_waves", "interest_rate")

    def __init__(self, regime: Regime, key: int) -> None:
        self._climate = _climate(regime, key)
        self._is_dead = regime is Regime.DEAD
        self._waves = Waves(key, [(3 * DAY_MS, 0.6), (12 * HOUR_MS, 0.3), (2 * HOUR_MS, 0.2)])
        # With interest the formula would pay 0.01 %; a dead market pays exact zeros.
        self.interest_rate = 0.0 if self._is_dead else INTEREST_RATE

    def rate(self, at: int) -> float:
        """Return the rate for eight hours, as a fraction."""
        if self._is_dead:
            return 0.0
        return self._from_premium(self._waves.at(at))

    def many_rates(self, times: Sequence[int]) -> list[float]:
        """Return ``rate`` of each of ``times``."""
        if self._is_dead:
            return [0.0] * len(times)
        return [self._from_premium(wave) for wave in self._waves.many(times)]

    def _from_premium(self, wave: float) -> float:
        premium = self._climate.base + self._climate.swing * wave
        return premium + min(max(self.interest_rate - premium, -_CLAMP), _CLAMP)


def basis_of(rate: float) -> float:
    """Return perpetual over index minus one for an eight-hour rate; of the same sign."""
    return min(max(_BASIS_PER_RATE * rate, -_MAX_BASIS), _MAX_BASIS)


class MarkPath(Protocol):
    """Mark prices at the instants of settlements."""

    def many_marks(self, times: Sequence[int], rates: Sequence[float]) -> list[float]:
        """Return the mark price at each of ``times``, given the eight-hour rates there."""
        ...


class GeneratedFunding:
    """The funding history of one generated perpetual, by chunks that are made when asked for.

    Settlements before ``start`` carry some milliseconds of jitter, as recorded ones do; later
    ones are on the hour.
    """

    def __init__(
        self,
        symbol: str,
        curve: FundingCurve,
        schedule: Schedule,
        marks: MarkPath,
        key: int,
        start: int,
    ) -> None:
        self._symbol = symbol
        self._curve = curve
        self._schedule = schedule
        self._marks = marks
        self._key = key
        self._start = start
        self._chunks: dict[int, tuple[list[int], list[FundingSettlement]]] = {}

    @property
    def begin(self) -> int:
        """Return an instant before the first settlement."""
        return self._schedule.phases[0].since

    def rows(self, after: int, upto: int) -> list[FundingSettlement]:
        """Return the settlements with ``after`` < time <= ``upto``, ascending."""
        after = max(after, self.begin)
        upto = upto if self._schedule.end is None else min(upto, self._schedule.end + HOUR_MS)
        found: list[FundingSettlement] = []
        # A settlement on a chunk's edge belongs to the chunk before, its jitter to the one after.
        for number in range((after - HOUR_MS) // _CHUNK_MS, upto // _CHUNK_MS + 1):
            times, rows = self._chunk(number)
            found += rows[bisect_right(times, after) : bisect_right(times, upto)]
        return found

    def upcoming(self, at: int) -> tuple[int | None, Decimal, timedelta]:
        """Return the next settlement after ``at``, its rate and its interval."""
        time = self._schedule.following(at)
        known = self._schedule.end if time is None else time
        # One ms before the end, for the interval of the last payment: it is due at the end.
        interval = self._schedule.interval(at if time is not None else (known or at) - 1)
        return time, self._rate(known or at, interval), timedelta(milliseconds=interval)

    def _rate(self, time: int, interval: int) -> Decimal:
        return _capped(self._curve.rate(time), interval)

    def _chunk(self, number: int) -> tuple[list[int], list[FundingSettlement]]:
        chunk = self._chunks.get(number)
        if chunk is None:
            if len(self._chunks) >= _CACHED_CHUNKS:
                del self._chunks[next(iter(self._chunks))]
            chunk = self._chunks[number] = self._make_chunk(number)
        return chunk

    def _make_chunk(self, number: int) -> tuple[list[int], list[FundingSettlement]]:
        first = number * _CHUNK_MS
        settlements = list(self._schedule.times(first, first + _CHUNK_MS))
        nominals = [time for time, _ in settlements]
        rates = self._curve.many_rates(nominals)
        marks = self._marks.many_marks(nominals, rates)
        times = [time + self._jitter(time) for time in nominals]
        rows = [
            FundingSettlement(
                symbol=self._symbol,
                time=instant(time),
                rate=_capped(rate, interval),
                mark_price=eight_digits(mark),
                interval=timedelta(milliseconds=interval),
            )
            for time, rate, mark, (_, interval) in zip(
                times, rates, marks, settlements, strict=True
            )
        ]
        return times, rows

    def _jitter(self, nominal: int) -> int:
        if nominal >= self._start:
            return 0
        word = mix(self._key, nominal // HOUR_MS)
        return 0 if word & 1 else (word >> 1) % (_MAX_JITTER_MS + 1)


def _capped(rate: float, interval: int) -> Decimal:
    # The cap bounds what one settlement pays, so it comes after the scaling.
    rate = rate * interval / _EIGHT_HOURS_MS
    return eight_digits(min(max(rate, -FUNDING_CAP), FUNDING_CAP))
