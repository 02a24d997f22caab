"""What time it is by the venue's own stamps on orders and trades.

Live that is our clock plus the skew. A simulated market has a time of its own, so instants that
rows are compared with are reckoned from the stamps that rows have carried.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from services.common.codec import from_millis
from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.connector.instruments import TradingStatus

if TYPE_CHECKING:
    from services.connector.venue import Venue

_logger = get_logger(__name__)
_LIVE_CANDLE: Final = timedelta(minutes=10)
"""A candle of a minute that opened this long ago: nothing trades, or the market's time differs."""


class VenueStamps:
    """Keeps the latest stamp that a row of ours has carried, and when it was received."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._latest: datetime | None = None
        self._received = 0.0

    @property
    def latest(self) -> datetime | None:
        """Return the latest stamp seen, None when none was."""
        return self._latest

    def observe(self, stamp: datetime | None) -> None:
        """Take the stamp of a row; older ones, of rows that were asked for, change nothing."""
        if stamp is not None and (self._latest is None or stamp > self._latest):
            self._latest = stamp
            self._received = self._venue.clock.monotonic()

    async def learn(self) -> None:
        """Find out whether the market keeps another time than the venue's clock, by a candle.

        Matters before the first row of ours only; when it cannot be read the clock is believed.
        """
        venue = self._venue
        trading = (one for one in venue.instruments if one.status is TradingStatus.TRADING)
        instrument = next(trading, None)
        if self._latest is not None or instrument is None:
            return
        name = instrument.unified
        try:
            rows = await venue.read(
                venue.profile.endpoint("klines"),
                venue.profile.weight("klines"),
                lambda: venue.exchange.fetch_ohlcv(name, "1m", None, 1),
            )
            opened = from_millis(int(rows[-1][0]))
        except (OpensqtError, ValueError, LookupError, TypeError) as error:
            _logger.warning("market_time_unread", problem=repr(error))
            return
        if abs(self.now() - opened) > _LIVE_CANDLE:
            self.observe(opened)

    def now(self) -> datetime:
        """Return what a row stamped now would carry, at the least."""
        venue = self._venue
        if self._latest is None:
            return venue.clock.now() + (venue.clock_skew or timedelta(0))
        return self._latest + timedelta(seconds=venue.clock.monotonic() - self._received)
