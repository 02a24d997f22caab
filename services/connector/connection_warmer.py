"""Keep a connection to the venue open for the next order, which else pays for TCP and TLS anew.

A kept connection is closed after half a minute without a request, by us or by the venue. Asking for
the time, weight one, is the lightest request that goes to the host of the orders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.errors import OpensqtError
from services.common.logs import get_logger

if TYPE_CHECKING:
    from services.connector.venue import Venue

_logger = get_logger(__name__)


class ConnectionWarmer:
    """Sends a light request down the session of the orders, again and again."""

    def __init__(self, venue: Venue, seconds: float) -> None:
        self._venue = venue
        self._seconds = seconds

    async def run(self) -> None:
        """Ask at once and every so many seconds until cancelled; a failure is only logged."""
        while True:
            await self.ask()
            await self._venue.clock.sleep(self._seconds)

    async def ask(self) -> None:
        """Ask once; what comes back is of no interest, the connection is."""
        venue = self._venue
        try:
            await venue.read(
                venue.profile.endpoint("time"),
                venue.profile.weight("time"),
                lambda: venue.trading.fetch_time(),
            )
        except OpensqtError as error:
            _logger.warning("connection_not_kept", reason=error.reason)
