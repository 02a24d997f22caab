"""Reads through ccxt's unified methods: says what a venue lacks, counts what a call costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.common.codec import to_millis
from services.common.errors import UnimplementedError
from services.connector.profile import EndpointClass
from services.connector.unified_traits import TRAITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.connector.instruments import Instrument
    from services.connector.unified_traits import DataTraits
    from services.connector.venue import Venue

T = TypeVar("T")

_TIME_SECONDS: Final = 1.0
# Past the minute that runs, whatever the venue rounds its stamps to.
_SLACK_MILLIS: Final = 3_600_000


class UnifiedReads:
    """Asks one venue; keeps nothing but the venue's time, for a second."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.traits: DataTraits = TRAITS[venue.code]
        self._time = 0
        self._time_at: float | None = None

    def offers(self, capability: str) -> bool:
        """Whether ccxt knows the venue to have it (`fetchOpenInterest`)."""
        return bool(self.venue.exchange.has.get(capability))

    def not_offered(self, what: str) -> UnimplementedError:
        """Return the error of a question that the venue has no answer to."""
        return UnimplementedError(
            f"{self.venue.code} has no {what}",
            reason="NOT_SUPPORTED_BY_VENUE",
            metadata={"exchange": self.venue.name},
        )

    def require(self, capability: str, what: str) -> None:
        """Raise UnimplementedError (NOT_SUPPORTED_BY_VENUE) unless ccxt knows the venue to."""
        if not self.offers(capability):
            raise self.not_offered(what)

    async def ask(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """Return what `call` brings, at the documented weight of `name`; raises as `Venue.read`."""
        venue = self.venue
        profile = venue.profile
        # Where the venue counts histories of rates apart, each is one of so many.
        if name == "funding_history" and EndpointClass.FUNDING_HISTORY in profile.allowances:
            return await venue.read(EndpointClass.FUNDING_HISTORY, 1, call)
        return await venue.read(profile.endpoint(name), profile.weight(name), call)

    async def market_time(self, instrument: Instrument) -> int:
        """Return when the newest minute candle opened (ms): the market's time to the minute.

        Candles are whole minutes long, so it tells which of them are closed; and market data is
        stamped by the matching engine, whose clock need not be the gateway's.
        """
        now = self.venue.clock.monotonic()
        if self._time_at is None or now - self._time_at >= _TIME_SECONDS:
            exchange = self.venue.exchange
            rows: Any = await self.ask(
                "klines", lambda: exchange.fetch_ohlcv(instrument.unified, "1m", None, 2)
            )
            told = [row[0] for row in rows if isinstance(row, list) and isinstance(row[0], int)]
            # A coin that never traded has no candle; the venue's clock is then all there is. Never
            # back: a candle that was closed once must not open again.
            newest = max(told) if told else to_millis(self.venue.clock.now())
            self._time = max(self._time, newest)
            self._time_at = now
        return self._time

    async def last_instant(self, instrument: Instrument, end: int | None) -> int:
        """Return where a history that is read up to `end` (ms, None: now) may stop."""
        latest = await self.market_time(instrument) + _SLACK_MILLIS
        return latest if end is None else min(end, latest)
