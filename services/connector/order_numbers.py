"""The int64 form of a venue's order id, for callers who know orders by number."""

from __future__ import annotations

import hashlib
from typing import Final

_LIMIT: Final = 2**63


def to_order_number(exchange_order_id: str) -> int:
    """Return the id itself where it is a number, else a stable 63-bit hash of it; 0 for none."""
    if not exchange_order_id:
        return 0
    is_number = exchange_order_id.isascii() and exchange_order_id.isdigit()
    # A leading zero would be lost, and with it the way back; so would a number past int64.
    if is_number and len(exchange_order_id) <= 19 and exchange_order_id[0] != "0":
        number = int(exchange_order_id)
        if number < _LIMIT:
            return number
    digest = hashlib.sha256(exchange_order_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
