"""One allowance of a venue and what was spent of it: a window that slides over the last seconds.

The venue's own counts come with its replies. Binance counts up, per address
(`X-MBX-USED-WEIGHT-1M`, `X-MBX-ORDER-COUNT-10S`; rest-api.md, LIMITS). Bybit counts down, per
endpoint (`X-Bapi-Limit-Status` is what is left of `X-Bapi-Limit`; v5 documents, Rate Limit Rules).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Allowance:
    """At most `limit` units in any `window_seconds`.

    `used_header` is the venue's count of what was used; a venue that counts down tells in
    `remaining_header` what is left to the endpoint, and in `limit_header` of how much. Header names
    are lower-case. `reserve` says whether a part is kept for orders and exits: of an endpoint that
    neither asks there is nothing to keep.
    """

    limit: int
    window_seconds: float
    used_header: str | None = None
    remaining_header: str | None = None
    limit_header: str | None = None
    reserve: bool = True


def scale_allowances(
    allowances: Mapping[str, tuple[Allowance, ...]], scale: float
) -> dict[str, tuple[Allowance, ...]]:
    """Return the allowances times `scale`, none below one unit."""
    return {
        name: tuple(replace(one, limit=max(1, int(one.limit * scale))) for one in group)
        for name, group in allowances.items()
    }


class RateWindow:
    """Units spent in the last `window_seconds`, oldest first; times are monotonic seconds."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self._spent: deque[tuple[float, int]] = deque()
        self._total = 0

    def spend(self, now: float, units: int) -> None:
        """Note that so many units leave now."""
        self._spent.append((now, units))
        self._total += units

    def total(self, now: float) -> int:
        """Return what is spent within the window that ends now."""
        oldest = now - self.allowance.window_seconds
        while self._spent and self._spent[0][0] <= oldest:
            self._total -= self._spent.popleft()[1]
        return self._total

    def used_ratio(self, now: float) -> float:
        """Return the share of the allowance that is spent now; may be asked from any thread."""
        oldest = now - self.allowance.window_seconds
        # A copy, and nothing pruned: the exporter's thread asks while the event loop spends.
        return sum(units for when, units in tuple(self._spent) if when > oldest) / (
            self.allowance.limit
        )

    def correct(self, now: float, used: int) -> None:
        """Take the venue's own count where it is higher than ours."""
        # Upwards only: the venue counts by its own minute, ours slides.
        missing = used - self.total(now)
        if missing > 0:
            self.spend(now, missing)

    def wait(self, now: float, units: int, share: int) -> float:
        """Return the seconds until `units` fit under `share` percent of the allowance."""
        # A call heavier than its share passes when the window is empty enough.
        limit = max(self._share(share), min(units, self.allowance.limit))
        excess = self.total(now) + units - limit
        if excess <= 0:
            return 0.0
        for when, spent in self._spent:
            excess -= spent
            if excess <= 0:
                return when + self.allowance.window_seconds - now
        return self.allowance.window_seconds

    def backlog_wait(self, now: float, units: int, share: int) -> float:
        """Return the seconds until the last of `units`, spent by many calls, may leave."""
        limit = self._share(share)
        # A unit leaves a window after the one that stands a whole share before it.
        windows, before = divmod(units - 1, limit)
        return windows * self.allowance.window_seconds + self.wait(now, before + 1, share)

    def _share(self, share: int) -> int:
        if not self.allowance.reserve:
            return self.allowance.limit
        return max(self.allowance.limit * share // 100, 1)


def read_used(headers: Mapping[str, str], allowance: Allowance, *, own_reply: bool) -> int | None:
    """Return the units used by the venue's count, None when the headers do not tell.

    Names in `headers` are lower-case. A count of what is left is the endpoint's own: it is read
    only from replies to calls of the allowance's class (`own_reply`).
    """
    if allowance.used_header is not None:
        return _count(headers.get(allowance.used_header))
    if allowance.remaining_header is None or not own_reply:
        return None
    left = _count(headers.get(allowance.remaining_header))
    most = _count(headers.get(allowance.limit_header or ""))
    if left is None:
        return None
    # The venue's own limit: a raised one is told beside what is left of it.
    return max((allowance.limit if most is None else most) - left, 0)


def _count(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return int(text[:9])
