"""Keep a venue's markets and clock offset fresh, off the path of orders."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from services.common.codec import from_millis
from services.common.errors import OpensqtError
from services.common.logs import get_logger

if TYPE_CHECKING:
    from services.connector.market_loader import MarketLoader
    from services.connector.venue import Venue

_logger = get_logger(__name__)
# A clock set to the wrong zone is a whole hour off, and a little more.
_MAX_SKEW = timedelta(hours=2)
_JUMP_LOOK_SECONDS = 0.5
_MOST_DOUBT = timedelta(milliseconds=400)
"""Venues take stamps up to a second ahead of their clock."""

_JUMP_SECONDS = 0.05


async def measure_skew(venue: Venue) -> tuple[timedelta, timedelta]:
    """Return the venue's clock less ours, and by how much that may be off: half the round trip.

    Raises RetryableError and its branches when the venue cannot be asked.
    """

    async def read() -> tuple[datetime, int, datetime]:
        # Inside the read: waiting for the rate limit first would count as a difference of clocks.
        before = venue.clock.now()
        stamp = int(await venue.exchange.fetch_time())
        return before, stamp, venue.clock.now()

    before, stamp, after = await venue.read(
        venue.profile.endpoint("time"), venue.profile.weight("time"), read
    )
    # The answer is taken to be stamped half way between question and answer.
    half = (after - before) / 2
    return from_millis(stamp) - (before + half), half


class VenueUpkeep:
    """Loads markets into both ccxt instances and measures how far the venue's clock is ahead."""

    def __init__(
        self,
        venue: Venue,
        loader: MarketLoader,
        *,
        reload_seconds: float,
        clock_seconds: float,
    ) -> None:
        self._venue = venue
        self._loader = loader
        self._reload_seconds = reload_seconds
        self._clock_seconds = clock_seconds
        self._doubt = timedelta(0)

    async def load_markets(self) -> int:
        """Read the venue's markets and return how many instruments there are.

        Raises RetryableError and its branches when they cannot be read.
        """
        venue = self._venue
        loaded = await venue.read(
            venue.profile.endpoint("exchange_info"),
            venue.profile.weight("exchange_info"),
            self._loader.load,
        )
        # One copy for both instances, taken over without a wait in between.
        for exchange in (venue.exchange, venue.trading):
            exchange.set_markets_from_exchange(loaded.source)
        # Last: an instrument must not be found before both instances can send it.
        venue.instruments.replace(loaded.instruments)
        return len(loaded.instruments)

    async def measure_clock(self) -> timedelta:
        """Measure the venue's clock less ours and have requests stamped by it.

        An offset of more than two hours is not believed. Raises RetryableError when the venue
        cannot be asked.
        """
        venue = self._venue
        skew, doubt = await measure_skew(venue)
        # The fence counts on the clock bound: a vaguer figure does not replace one that is held.
        bound = None if venue.fence is None else venue.fence.clock_bound
        is_vague = bound is not None and doubt > bound and doubt >= self._doubt
        if venue.clock_skew is not None and is_vague:
            _logger.warning("clock_answer_slow", seconds=doubt.total_seconds())
        # Stamps that far off would be refused anyway; a broken answer must not cause that.
        elif abs(skew) <= _MAX_SKEW:
            venue.clock_skew, self._doubt = skew, doubt
            # ccxt subtracts this from our time, so it is ours less the venue's.
            difference = -round(skew.total_seconds() * 1000)
            for exchange in (venue.exchange, venue.trading):
                exchange.options["timeDifference"] = difference
        else:
            _logger.error("clock_skew_unbelievable", seconds=skew.total_seconds())
        return skew

    async def keep_clock(self) -> None:
        """Measure the clock again and again until cancelled, soon where it is hardly known.

        A first answer that was read after a pause may be off by half of it, and the venue would
        refuse every signed request until the next.
        """
        while True:
            is_known = self._doubt <= _MOST_DOUBT
            wait = self._clock_seconds if is_known else _JUMP_LOOK_SECONDS
            await self._venue.clock.sleep(min(wait, self._clock_seconds))
            await self._is_taken()

    async def watch_clock(self) -> None:
        """Measure the clock as soon as ours has jumped, until cancelled.

        The venue refuses every signed request whose stamp is off, and exits are among them.
        """
        clock = self._venue.clock
        held = self._wall_seconds()
        while True:
            await clock.sleep(_JUMP_LOOK_SECONDS)
            found = self._wall_seconds()
            jump = found - held
            if abs(jump) > _JUMP_SECONDS:
                _logger.warning("clock_jumped", seconds=round(jump, 3))
                # Not taken for what it is now until it was measured: looked at again in a moment.
                if not await self._is_taken():
                    continue
            held = found

    def _wall_seconds(self) -> float:
        clock = self._venue.clock
        return clock.now().timestamp() - clock.monotonic()

    async def _is_taken(self) -> bool:
        """Measure the clock; false where it is to be measured once more in a moment."""
        try:
            skew = await self.measure_clock()
        except OpensqtError as error:
            _logger.warning("clock_not_measured", reason=error.reason)
            return False
        return skew == self._venue.clock_skew or abs(skew) > _MAX_SKEW

    async def keep_markets(self) -> None:
        """Reload the markets again and again until cancelled; a failure keeps the old ones."""
        while True:
            await self._venue.clock.sleep(self._reload_seconds)
            try:
                await self.load_markets()
            except OpensqtError as error:
                _logger.warning("markets_not_reloaded", reason=error.reason)
