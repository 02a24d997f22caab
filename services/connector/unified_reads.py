"""Reads through ccxt's unified methods: says what a venue lacks, counts what a call costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.common.codec import to_millis
from services.common.errors import UnimplementedError
from services.connector.profile import EndpointClass
from services.connector.row_numbers import milliseconds
from services.connector.unified_traits import TRAITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.connector.instruments import Instrument
    from services.connector.unified_traits import DataTraits
    from services.connector.venue import Venue

T = TypeVar("T")

_TIME_SECONDS: Final = 1.0


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
        return await venue.read(EndpointClass.WEIGHT, venue.profile.weight(name), call)

    async def market_time(self, instrument: Instrument) -> int:
        """Return a lower bound of the venue's time in ms, at most a second behind it.

        The stamp of a ticker where it has one, else the venue's clock: market data is stamped by
        the matching engine, whose clock need not be the gateway's.
        """
        now = self.venue.clock.monotonic()
        if self._time_at is None or now - self._time_at >= _TIME_SECONDS:
            exchange = self.venue.exchange
            row: Any = await self.ask("ticker", lambda: exchange.fetch_ticker(instrument.unified))
            told = milliseconds(row.get("timestamp")) if isinstance(row, dict) else 0
            if not told and self.offers("fetchTime"):
                now_there: Any = await self.ask("time", exchange.fetch_time)
                told = milliseconds(now_there)
            # Never back: a candle that was closed once must not open again.
            self._time = max(self._time, told or to_millis(self.venue.clock.now()))
            self._time_at = now
        return self._time
