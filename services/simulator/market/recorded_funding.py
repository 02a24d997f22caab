"""Recorded funding of one perpetual, continued beyond the record by its last rates."""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from services.simulator.market.instants import HOUR_MS, instant
from services.simulator.market.recordings import RecordingsError, decimal_of, millis_of
from services.simulator.market.rounding import eight_digits
from services.simulator.market.schedule import Phase, Schedule
from services.simulator.market.source import FundingSettlement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.simulator.market.listing import PricePath

REPEATED_RATES: Final = 12

# One row has no gap to measure; 8 h is what Binance means where it says nothing.
_LONE_RECORD_INTERVAL_MS: Final = 8 * HOUR_MS


class RecordedFunding:
    """The settlements of one symbol as recorded, then its last twelve rates again and again.

    ``rows`` are (time in ms, rate) texts. A recorded time keeps its jitter; the settlement it
    belongs to is the nearest hour, and the interval is the gap between those.
    Raises RecordingsError when there are no rows, or two of one hour.
    """

    def __init__(
        self, symbol: str, rows: Sequence[Sequence[str]], path: PricePath, end: int | None
    ) -> None:
        if not rows:
            raise RecordingsError(f"no funding of {symbol}")
        records = sorted((millis_of(time), decimal_of(rate)) for time, rate in rows)
        self._symbol = symbol
        self._path = path
        self._times = [time for time, _ in records]
        # Adding zero makes a recorded -0 a plain 0.
        self._rates = [rate + Decimal(0) for _, rate in records]
        self.nominals = [(time + HOUR_MS // 2) // HOUR_MS * HOUR_MS for time in self._times]
        self._intervals = _gaps(symbol, self.nominals)
        self._beyond = Schedule((Phase(self.nominals[-1], self._intervals[-1]),), end)

    @property
    def begin(self) -> int:
        """Return an instant before the first settlement."""
        return self._times[0] - 1

    @property
    def first_unrecorded(self) -> int | None:
        """Return the first settlement that is not in the record, in ms."""
        return self._beyond.following(self.nominals[-1])

    @property
    def last_rate(self) -> Decimal:
        """Return the last recorded rate."""
        return self._rates[-1]

    def rows(self, after: int, upto: int) -> list[FundingSettlement]:
        """Return the settlements with ``after`` < time <= ``upto``, ascending."""
        known = self._recorded[bisect_right(self._times, after) : bisect_right(self._times, upto)]
        last = self.nominals[-1]
        if upto <= last:
            return known
        beyond = self._beyond.times(max(after, last), upto)
        return known + [
            self._row(time, time, self._repeated(time), interval) for time, interval in beyond
        ]

    def upcoming(self, at: int) -> tuple[int | None, Decimal, timedelta]:
        """Return the next settlement after ``at``, its rate and its interval."""
        place = bisect_right(self.nominals, at)
        if place < len(self.nominals):
            interval = self._intervals[place]
            return self.nominals[place], self._rates[place], timedelta(milliseconds=interval)
        interval = self._intervals[-1]
        time = self._beyond.following(at)
        known = self._beyond.end if time is None else time
        rate = self._repeated((known or at) // interval * interval)
        return time, rate, timedelta(milliseconds=interval)

    def _repeated(self, time: int) -> Decimal:
        # Repeats what was seen: a model would invent a regime that the symbol never had.
        rates = self._rates[-REPEATED_RATES:]
        number = (time - self.nominals[-1]) // self._intervals[-1]
        return rates[(number - 1) % len(rates)]

    @cached_property
    def _recorded(self) -> list[FundingSettlement]:
        rows = zip(self._times, self.nominals, self._rates, self._intervals, strict=True)
        return [self._row(time, nominal, rate, gap) for time, nominal, rate, gap in rows]

    def _row(self, time: int, nominal: int, rate: Decimal, interval: int) -> FundingSettlement:
        return FundingSettlement(
            symbol=self._symbol,
            time=instant(time),
            rate=rate,
            mark_price=eight_digits(self._path.price(nominal)),
            interval=timedelta(milliseconds=interval),
        )


def _gaps(symbol: str, nominals: Sequence[int]) -> list[int]:
    """Return the interval of each settlement: the gap before it, for the first the gap after."""
    gaps = [later - earlier for earlier, later in pairwise(nominals)]
    if any(gap <= 0 for gap in gaps):
        raise RecordingsError(f"two settlements of {symbol} in one hour")
    return [gaps[0], *gaps] if gaps else [_LONE_RECORD_INTERVAL_MS]
