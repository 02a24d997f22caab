"""Reference prices for the limits: read off the path of orders, believed while they are fresh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.connector.venue_numbers import optional_venue_decimal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from decimal import Decimal

    from services.common.clock import Clock
    from services.connector.data_part import DataPart

_logger = get_logger(__name__)


class ReferencePrices:
    """The last reading of all prices and when its question was asked."""

    def __init__(self, clock: Clock, max_age_seconds: float) -> None:
        self._clock = clock
        self._max_age = max_age_seconds
        self._prices: Mapping[str, Decimal] = {}
        self._asked_at: float | None = None

    def find(self, symbol: str) -> Decimal | None:
        """Return the price of one coin, None when there is none or it is older than allowed."""
        asked = self._asked_at
        if asked is None or self._clock.monotonic() - asked > self._max_age:
            return None
        return self._prices.get(symbol)

    async def refresh(self, read: Callable[[], Awaitable[Mapping[str, Decimal]]]) -> None:
        """Read all prices anew; raise what the reading raises, and keep the old ones then."""
        # The age counts from the question: an answer may be as old as it was long under way.
        asked = self._clock.monotonic()
        self._prices = await read()
        self._asked_at = asked

    async def keep(self, read: Callable[[], Awaitable[Mapping[str, Decimal]]]) -> None:
        """Read again and again until cancelled; a failure lets the prices grow old."""
        while True:
            try:
                await self.refresh(read)
            except OpensqtError as error:
                _logger.warning("reference_prices_unread", reason=error.reason)
            await self._clock.sleep(self._max_age / 3)


async def read_reference_prices(data: DataPart) -> dict[str, Decimal]:
    """Return the mark prices of all perpetuals, on spot the last prices, by canonical symbol.

    Raises what the reading raises.
    """
    if data.venue.is_perpetual:
        found = [(row.symbol, row.mark_price.value) for row in await data.funding.rates()]
    else:
        found = [(row.symbol, row.last_price.value) for row in await data.market.tickers()]
    prices = ((symbol, optional_venue_decimal(text, "price")) for symbol, text in found if text)
    return {symbol: price for symbol, price in prices if price is not None and price > 0}
