"""What a venue's reply headers say was used of an allowance. Pure.

Binance counts up, per address (`X-MBX-USED-WEIGHT-1M`, `X-MBX-ORDER-COUNT-10S`; rest-api.md,
LIMITS). Bybit counts down, per endpoint (`X-Bapi-Limit-Status` is what is left of `X-Bapi-Limit`;
v5 documents, Rate Limit Rules).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.profile import Allowance


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
