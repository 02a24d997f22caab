"""A new order's reply as the venue wrote it: ccxt's own reading of it is left out.

`create_order` ends with ccxt's `parse_order`, a third of a millisecond whose result nobody reads:
the profile reads the raw row. Only there, since lists of orders are sorted by what was parsed.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

_PLACING: Final[ContextVar[bool]] = ContextVar("placing", default=False)


class LeanReplyMixin:
    """Mixed in before a ccxt.pro class."""

    async def create_order(self, *args: Any, **named: Any) -> Any:
        """Send an order as ccxt does; of the answer `info` alone is filled."""
        token = _PLACING.set(True)
        try:
            # The class that ccxt made comes after this one.
            return await super().create_order(*args, **named)  # type: ignore[misc]  # ccxt's class
        finally:
            _PLACING.reset(token)

    def parse_order(self, order: Any, market: Any = None) -> Any:
        """Return the raw row of a new order, and what ccxt makes of any other."""
        if _PLACING.get():
            # Hyperliquid's reply is one of a list, which ccxt sorts by these.
            return {"info": order, "symbol": None, "timestamp": None}
        return super().parse_order(order, market)  # type: ignore[misc]  # ccxt's class
