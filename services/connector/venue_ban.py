"""The venue's ban of our address: no WebSocket is opened while it lasts, and a restart keeps it.

HTTP calls are held back by the rate budget. WebSockets are opened by ccxt or by us past it, and a
handshake counts at the venue as any request does: going on during a ban prolongs it (Binance: from
two minutes up to three days; rest-api.md, LIMITS).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import aiohttp

from services.common.logs import get_logger
from services.connector.profile import EndpointClass
from services.connector.rate_budget import BANNED, TOO_MANY
from services.connector.venue_http import read_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from services.common.clock import Clock
    from services.connector.rate_budget import RateBudget

_logger = get_logger(__name__)
LONGEST_BAN: Final = timedelta(days=3)
"""The longest that Binance bans for; a file that says more is believed up to this from now."""

_MAX_BYTES: Final = 1_024


class BanFile:
    """Keeps until when the venue bans us in a file beside the ledger, for the next process."""

    def __init__(self, ledger_path: Path, clock: Clock) -> None:
        self._path = ledger_path.with_name(f"{ledger_path.name}.ban")
        self._clock = clock

    def keep(self, end: datetime) -> None:
        """Write the end of a ban; that it cannot be written is logged, and costs one more 418."""
        draft = self._path.with_name(f"{self._path.name}.new")
        try:
            draft.write_text(json.dumps({"until": end.astimezone(UTC).isoformat()}))
            draft.replace(self._path)
        except OSError as error:
            _logger.error("ban_not_kept", problem=error.strerror)

    def left(self) -> timedelta | None:
        """Return how long the ban still lasts, None when there is none or it cannot be read."""
        try:
            with self._path.open("rb") as file:
                until = datetime.fromisoformat(json.loads(file.read(_MAX_BYTES))["until"])
            left = until - self._clock.now()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError) as error:
            # Nothing is lost that the venue would not say again.
            _logger.warning("ban_unreadable", problem=type(error).__name__)
            return None
        return min(left, LONGEST_BAN) if left > timedelta(0) else None

    def restore(self, budget: RateBudget) -> None:
        """Have a new process keep the silence that was asked of the one before."""
        left = self.left()
        if left is not None:
            _logger.warning("ban_goes_on", seconds=round(left.total_seconds()))
            budget.observe_refusal(BANNED, left, EndpointClass.WEIGHT)


class ConnectGate:
    """A middleware of the HTTP session: no WebSocket is opened while the venue bans us.

    `bans` are the profile's: statuses beside 418 that shut the address out, with how long.
    """

    def __init__(self, budget: RateBudget, bans: Mapping[int, timedelta]) -> None:
        self._budget = budget
        self._bans = bans

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Pass the request on, and learn of a ban or a limit from the answer to a handshake.

        Raises ClientConnectionError for a WebSocket during a ban; nothing is sent then.
        """
        if request.headers.get("Upgrade", "").lower() != "websocket":
            # Judged before, by the budget, and after, by ccxt's class.
            return await handler(request)
        end = self._budget.ban_end
        if end is not None:
            raise aiohttp.ClientConnectionError(
                f"the venue has banned this address until {end:%Y-%m-%dT%H:%M:%SZ}"
            )
        response = await handler(request)
        ban = self._bans.get(response.status)
        if response.status in (BANNED, TOO_MANY) or ban is not None:
            pause = read_retry_after(response.headers)
            self._budget.observe_refusal(response.status, pause, EndpointClass.WEIGHT, ban=ban)
        return response
