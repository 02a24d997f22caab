"""Generated prices: an index that wanders, a perpetual that stands off it by its funding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from services.simulator.market.generated_funding import basis_of
from services.simulator.market.instants import HOUR_MS, MINUTE_MS, SECOND_MS
from services.simulator.market.noise import Waves, between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.simulator.market.generated_funding import FundingCurve

# Amplitudes grow with the root of the period, as the spread of a random walk does.
_PERIODS_HOURS: Final = (1, 8, 64, 512)
_BASIS_NOISE: Final = 0.00004


class IndexPath:
    """The price of one coin: a sum of waves from five seconds to two months long."""

    __slots__ = ("_base", "_coarse", "_fine", "_last")

    def __init__(self, base: float, hour_spread: float, key: int) -> None:
        self._base = base
        self._coarse = Waves(
            key, [(hours * HOUR_MS, hour_spread * math.sqrt(hours)) for hours in _PERIODS_HOURS]
        )
        self._fine = Waves(
            ~key, [(MINUTE_MS, 0.06 * hour_spread), (5 * SECOND_MS, 0.02 * hour_spread)]
        )

        # Mark and index price of one instant are asked for together, spot and perpetual too.
        self._last = (-1, 0.0)

    def price(self, at: int) -> float:
        """Return the price at ``at`` milliseconds."""
        return self.smooth(at) * (1.0 + self._fine.at(at))

    def prices(self, times: Sequence[int]) -> list[float]:
        """Return ``price`` of each of ``times``."""
        return [
            smooth * (1.0 + fine)
            for smooth, fine in zip(self.many_smooth(times), self._fine.many(times), strict=True)
        ]

    def smooth(self, at: int) -> float:
        """Return the price without the noise of seconds, what an index is made of."""
        known, price = self._last
        if known != at:
            # exp keeps the price above zero, however the waves add up.
            price = self._base * math.exp(self._coarse.at(at))
            self._last = (at, price)
        return price

    def many_smooth(self, times: Sequence[int]) -> list[float]:
        """Return ``smooth`` of each of ``times``."""
        # math.exp and not an array's: libraries differ in the last bit of it.
        base, exp = self._base, math.exp
        return [base * exp(value) for value in self._coarse.many(times)]


class PerpetualPath:
    """The price of a perpetual on ``multiplier`` coins: index times one plus basis."""

    __slots__ = ("_curve", "_index", "_multiplier", "_noise")

    def __init__(self, index: IndexPath, multiplier: int, curve: FundingCurve, key: int) -> None:
        self._index = index
        self._multiplier = multiplier
        self._curve = curve
        self._noise = Waves(key, [(20 * SECOND_MS, _BASIS_NOISE)])

    def price(self, at: int) -> float:
        """Return the price of trades at ``at`` milliseconds."""
        basis = basis_of(self._curve.rate(at)) + self._noise.at(at)
        return self._index.price(at) * self._multiplier * (1.0 + basis)

    def prices(self, times: Sequence[int]) -> list[float]:
        """Return ``price`` of each of ``times``."""
        rates, noises = self._curve.many_rates(times), self._noise.many(times)
        indexes, multiplier = self._index.prices(times), self._multiplier
        return [
            index * multiplier * (1.0 + (basis_of(rate) + noise))
            for index, rate, noise in zip(indexes, rates, noises, strict=True)
        ]

    def index(self, at: int) -> float:
        """Return the index price per unit of the perpetual's symbol."""
        return self._index.smooth(at) * self._multiplier

    def mark(self, at: int) -> float:
        """Return the mark price, which leaves out the noise of seconds."""
        return self.index(at) * (1.0 + basis_of(self._curve.rate(at)))

    def many_marks(self, times: Sequence[int], rates: Sequence[float]) -> list[float]:
        """Return the mark price at each of ``times``, given the eight-hour rates there."""
        indexes = self._index.many_smooth(times)
        return [
            index * self._multiplier * (1.0 + basis_of(rate))
            for index, rate in zip(indexes, rates, strict=True)
        ]


def hour_spread(day_turnover: float, key: int) -> float:
    """Return how far a price moves in an hour, as a fraction; small markets move more."""
    calm = min(max(math.pow(1e7 / day_turnover, 0.15), 0.35), 1.3)
    return 0.006 * calm * between(key, 0, 0.7, 1.4)
