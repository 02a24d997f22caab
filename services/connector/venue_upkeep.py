"""Keep a venue's markets and clock offset fresh, off the path of orders."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.connector.profile import EndpointClass
from services.connector.symbols import build_instruments

if TYPE_CHECKING:
    from services.connector.venue import Venue

_logger = get_logger(__name__)
_MAX_SKEW = timedelta(hours=1)


class VenueUpkeep:
    """Loads markets into both ccxt instances and measures how far the venue's clock is ahead."""

    def __init__(
        self,
        venue: Venue,
        *,
        allowed: frozenset[str],
        reload_seconds: float,
        clock_seconds: float,
    ) -> None:
        self._venue = venue
        self._allowed = allowed or None
        self._reload_seconds = reload_seconds
        self._clock_seconds = clock_seconds

    async def load_markets(self) -> int:
        """Read the venue's markets and return how many instruments there are.

        Raises RetryableError and its branches when they cannot be read.
        """
        venue = self._venue
        markets = await venue.read(
            EndpointClass.WEIGHT,
            venue.profile.weight("exchange_info"),
            lambda: venue.exchange.load_markets(True),
        )
        # One copy for both instances; orders never wait for a reload.
        venue.trading.set_markets_from_exchange(venue.exchange)
        found = build_instruments(markets.values(), venue.profile, self._allowed)
        venue.instruments.replace(found)
        return len(found)

    async def measure_clock(self) -> timedelta:
        """Measure the venue's clock less ours and have requests stamped by it.

        The answer is taken to be stamped half way between question and answer; an offset of more
        than an hour is not believed. Raises RetryableError when the venue cannot be asked.
        """
        venue = self._venue
        before = venue.clock.now()
        stamp: Any = await venue.read(
            EndpointClass.WEIGHT, venue.profile.weight("time"), venue.exchange.fetch_time
        )
        after = venue.clock.now()
        # Half the round trip is the best guess at when the venue looked at its clock.
        middle = before + (after - before) / 2
        skew = timedelta(milliseconds=int(stamp) - round(middle.timestamp() * 1000))
        if abs(skew) <= _MAX_SKEW:
            venue.clock_skew = skew
            # ccxt subtracts this from our time, so it is ours less the venue's.
            difference = -round(skew.total_seconds() * 1000)
            for exchange in (venue.exchange, venue.trading):
                exchange.options["timeDifference"] = difference
        else:
            _logger.error("clock_skew_unbelievable", seconds=skew.total_seconds())
        return skew

    async def keep_clock(self) -> None:
        """Measure the clock again and again until cancelled."""
        while True:
            await self._venue.clock.sleep(self._clock_seconds)
            try:
                await self.measure_clock()
            except OpensqtError as error:
                _logger.warning("clock_not_measured", reason=error.reason)

    async def keep_markets(self) -> None:
        """Reload the markets again and again until cancelled; a failure keeps the old ones."""
        while True:
            await self._venue.clock.sleep(self._reload_seconds)
            try:
                await self.load_markets()
            except OpensqtError as error:
                _logger.warning("markets_not_reloaded", reason=error.reason)
