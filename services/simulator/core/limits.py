"""Request limits of the venues: used weight, order counts, the funding history's own limit.

Windows are aligned to the wire clock, as the venue's are. Over a limit the answer is 429 with
Retry-After; whoever goes on after that is banned with 418.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Family(StrEnum):
    """Endpoint families with a weight budget of their own per address."""

    SPOT = "SPOT"
    SAPI = "SAPI"
    USDM = "USDM"
    FUNDING_HISTORY = "FUNDING_HISTORY"


@dataclass(frozen=True, slots=True)
class Window:
    """A budget per window of time; `header` carries what is used."""

    limit: int
    seconds: int
    header: str


WEIGHT_WINDOWS = {
    Family.SPOT: Window(6000, 60, "X-MBX-USED-WEIGHT-1M"),
    Family.SAPI: Window(12000, 60, "X-SAPI-USED-IP-WEIGHT-1M"),
    Family.USDM: Window(2400, 60, "X-MBX-USED-WEIGHT-1M"),
    # shared by fundingRate and fundingInfo and told in no header
    Family.FUNDING_HISTORY: Window(500, 300, ""),
}
ORDER_WINDOWS = {
    Family.SPOT: (
        Window(100, 10, "X-MBX-ORDER-COUNT-10S"),
        Window(200_000, 86_400, "X-MBX-ORDER-COUNT-1D"),
    ),
    Family.SAPI: (
        Window(100, 10, "X-MBX-ORDER-COUNT-10S"),
        Window(200_000, 86_400, "X-MBX-ORDER-COUNT-1D"),
    ),
    Family.USDM: (
        Window(300, 10, "X-MBX-ORDER-COUNT-10S"),
        Window(1200, 60, "X-MBX-ORDER-COUNT-1M"),
    ),
}
BAN_AFTER = 20
BAN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call may pass; a refusal has a status and the seconds to wait."""

    status: int
    retry_after: int
    message: str
    headers: dict[str, str]
    code: int = -1003

    @property
    def is_allowed(self) -> bool:
        """Tell whether the call may pass."""
        return self.status == 200


# Not frozen: counts within one window.
@dataclass(slots=True)
class WindowCounter:
    """What was used in the present window, of windows aligned to the clock."""

    window_start: int = -1
    used: int = 0

    def add(self, now: float, seconds: int, amount: int = 1) -> int:
        """Count at `now` (Unix seconds); return what is used of this window of `seconds`."""
        start = int(now // seconds)
        if start != self.window_start:
            self.window_start, self.used = start, 0
        self.used += amount
        return self.used


class Limits:
    """Counts weight per address and orders per account; `scale` stretches every limit.

    With `tells_weight` off the used weight stands in no header: where another venue answers in
    part, its own count is the one that a client must hear.
    """

    def __init__(
        self, *, is_enabled: bool = True, scale: float = 1.0, tells_weight: bool = True
    ) -> None:
        self.is_enabled = is_enabled
        self.scale = scale
        self._tells_weight = tells_weight
        self._counters: dict[tuple[str, str], WindowCounter] = {}
        self._refusals: dict[str, int] = {}
        self._banned_until: dict[str, datetime] = {}

    def charge(
        self,
        now: datetime,
        address: str,
        account: str | None,
        family: Family,
        weight: int,
        orders: int,
    ) -> Verdict:
        """Count one call and say whether it may pass, with the headers of its answer."""
        banned = self._ban(now, address)
        if banned is not None:
            return banned
        headers: dict[str, str] = {}
        seconds = now.timestamp()
        window = WEIGHT_WINDOWS[family]
        told = headers if self._tells_weight else {}
        over_weight = self._count(seconds, f"{family}:{address}", window, weight, told)
        over_orders: int | None = None
        for row in ORDER_WINDOWS.get(family, ()) if orders else ():
            # orders are counted per account, weight per address
            key = f"orders:{family}:{account or address}"
            over_orders = self._count(seconds, key, row, orders, headers) or over_orders
        wait = over_weight or over_orders
        if wait is None or not self.is_enabled:
            self._refusals.pop(address, None)
            return Verdict(200, 0, "", headers)
        return self._refuse(now, address, wait, headers, is_order_limit=over_weight is None)

    def _count(
        self, now: float, key: str, window: Window, amount: int, headers: dict[str, str]
    ) -> int | None:
        counter = self._counters.setdefault((key, f"{window.seconds}"), WindowCounter())
        # refused calls count as well, as on the venue
        used = counter.add(now, window.seconds, amount)
        if window.header:
            headers[window.header] = str(used)
        if used <= window.limit * self.scale:
            return None
        return max(1, int((counter.window_start + 1) * window.seconds - now) + 1)

    def _ban(self, now: datetime, address: str) -> Verdict | None:
        until = self._banned_until.get(address)
        if until is None or not self.is_enabled:
            return None
        if now >= until:
            del self._banned_until[address]
            return None
        left = int((until - now).total_seconds()) + 1
        message = f"Way too many requests; IP({address}) banned until {_millis(until)}."
        return Verdict(418, left, message, {})

    def _refuse(
        self,
        now: datetime,
        address: str,
        wait: int,
        headers: dict[str, str],
        *,
        is_order_limit: bool,
    ) -> Verdict:
        refusals = self._refusals.get(address, 0) + 1
        self._refusals[address] = refusals
        # the venue bans whoever goes on after 429; how soon it does not say
        if refusals > BAN_AFTER:
            self._banned_until[address] = now + BAN
            self._refusals.pop(address)
        if is_order_limit:
            return Verdict(429, wait, "Too many new orders.", headers, -1015)
        message = f"Too much request weight used; IP({address}) must wait for {wait} seconds."
        return Verdict(429, wait, message, headers)


def _millis(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
