"""Two clocks. The wire clock is real time; the market clock can run faster and jump ahead.

Signatures, rate limits, listen keys and delays live on the wire clock. Prices, funding, orders
and trades are stamped by the market clock, a pure function of the wire clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WireClock(Protocol):
    """Real time, or virtual time where a test runs the core on a loop of its own."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...


class MarketClock:
    """Market time: `start` at the moment of creation, then `speed` seconds per wire second.

    With `is_real` the time is another venue's, and nobody can turn it.
    """

    def __init__(
        self,
        wire: WireClock,
        start: datetime,
        speed: Decimal = Decimal(1),
        *,
        is_real: bool = False,
    ) -> None:
        self._wire = wire
        self._is_real = is_real
        self._wire_anchor = wire.now()
        self._market_anchor = start
        self._speed = _checked_speed(speed)

    @property
    def speed(self) -> Decimal:
        """Return market seconds per wire second."""
        return self._speed

    def now(self) -> datetime:
        """Return the present market instant; it never runs backwards."""
        # the machine's clock may be set back; the market's must not follow
        elapsed = max(self._wire.now() - self._wire_anchor, timedelta())
        return self._market_anchor + elapsed * float(self._speed)

    def wire_now(self) -> datetime:
        """Return the present instant of the wire clock."""
        return self._wire.now()

    def set_speed(self, speed: Decimal) -> None:
        """Run at `speed` from this moment on. Raises ValueError when it is negative or over 1e6."""
        self._check_turnable()
        checked = _checked_speed(speed)
        self._rebase()
        self._speed = checked

    def jump(self, forward: timedelta) -> None:
        """Move market time ahead at once. Raises ValueError for a move backwards."""
        self._check_turnable()
        if forward < timedelta():
            raise ValueError("the market clock only moves forward")
        self._rebase()
        self._market_anchor += forward

    def _check_turnable(self) -> None:
        if self._is_real:
            raise ValueError("a mirrored market keeps the time of its venue")

    def _rebase(self) -> None:
        self._market_anchor = self.now()
        self._wire_anchor = self._wire.now()


def _checked_speed(speed: Decimal) -> Decimal:
    # zero stops the market, which lets a test look at a book that does not move
    if not Decimal(0) <= speed <= Decimal(1_000_000):
        raise ValueError("speed must be from 0 to 1000000 market seconds per second")
    return speed


def millis(instant: datetime) -> int:
    """Return whole milliseconds since 1970 of an aware instant."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def from_millis(value: int) -> datetime:
    """Return the aware instant of milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=value)
