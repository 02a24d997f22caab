"""OKX's order calls where ccxt's unified ones do not serve: acknowledged cancels, pages, fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.common.errors import RejectedError
from services.connector.order_calls import (
    RecentOrders,
    TradedSymbols,
    UnifiedOrderCalls,
    refuse_from_id,
)
from services.connector.venue_errors import VenueAnswerError
from services.connector.venues.okx_answers import GONE_CODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from services.connector.instruments import Instrument
    from services.connector.order_calls import FillsRange, OrderKey

_PAGE: Final = 100
_CANCEL_BATCH: Final = 20
_MOST_PAGES: Final = 50

Rows = list["Mapping[str, Any]"]


@dataclass(frozen=True, slots=True)
class OkxOrderCalls(UnifiedOrderCalls):
    """The calls of one product; `product` is OKX's instType, SPOT or SWAP."""

    product: str

    async def cancel(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Ask to cancel one order; the reply only acknowledges."""
        await exchange.cancel_order(key.exchange_order_id, key.instrument.unified, self.select(key))
        return None

    async def cancel_all(self, exchange: Any, instrument: Instrument, *, use_margin: bool) -> None:
        """Ask to cancel all live orders of a symbol, twenty in a request."""
        rows = await self.open_orders(exchange, instrument, use_margin=use_margin)
        for first in range(0, len(rows), _CANCEL_BATCH):
            batch = [
                {"instId": row["instId"], "ordId": row["ordId"]}
                for row in rows[first : first + _CANCEL_BATCH]
            ]
            try:
                await exchange.privatePostTradeCancelBatchOrders(batch)
            except VenueAnswerError as error:
                # The venue takes the rest of a batch whose first order is gone already.
                if error.code not in GONE_CODES:
                    raise

    async def open_orders(
        self, exchange: Any, instrument: Instrument | None, *, use_margin: bool
    ) -> Rows:
        """Return all live orders of one symbol, or of all of the product."""
        params = {"instType": self.product, "limit": str(_PAGE)}
        if instrument is not None:
            params["instId"] = instrument.exchange_symbol
        found: Rows = []
        while True:
            page = await _rows(exchange.privateGetTradeOrdersPending, params)
            found.extend(page)
            if len(page) < _PAGE:
                return found
            params = {**params, "after": str(page[-1]["ordId"])}

    async def recent_orders(
        self, exchange: Any, instrument: Instrument, *, use_margin: bool
    ) -> RecentOrders:
        """Return the live orders of a symbol and those that ended within seven days."""
        live = await self.open_orders(exchange, instrument, use_margin=use_margin)
        params = {
            "instType": self.product,
            "instId": instrument.exchange_symbol,
            "limit": str(_PAGE),
        }
        ended = await _rows(exchange.privateGetTradeOrdersHistory, params)
        return RecentOrders([*live, *ended], len(ended) < _PAGE)

    async def order_fills(self, exchange: Any, key: OrderKey) -> Rows:
        """Return the executions of one order, named by the venue's id."""
        params = {
            "instType": self.product,
            "instId": key.instrument.exchange_symbol,
            "ordId": key.exchange_order_id,
            "limit": str(_PAGE),
        }
        # The last three days tell at once; an order that rested for longer has more in the history.
        older = await _back(exchange.privateGetTradeFillsHistory, params)
        recent = await _back(exchange.privateGetTradeFills, params)
        known = {row["tradeId"] for row in older}
        return [*older, *(row for row in recent if row["tradeId"] not in known)]

    async def fills(self, exchange: Any, instrument: Instrument, wanted: FillsRange) -> Rows:
        """Return executions on a symbol, oldest first: all of a range, else the newest page."""
        refuse_from_id(wanted)
        params = {
            "instType": self.product,
            "instId": instrument.exchange_symbol,
            "limit": str(_PAGE),
        }
        history = exchange.privateGetTradeFillsHistory
        if wanted.since is None:
            newest = await _rows(history, {**params, "limit": str(min(wanted.limit, _PAGE))})
            return newest[::-1]
        # Both ends of the venue's range are exclusive by a millisecond's doubt: one wider.
        params["begin"] = str(max(wanted.since - 1, 0))
        if wanted.until is not None:
            params["end"] = str(wanted.until + 1)
        return [row for row in await _back(history, params) if _is_within(row, wanted)]

    async def traded_symbols(self, exchange: Any, since: int) -> TradedSymbols:
        """Return the symbols of all executions since an instant in ms, three months at most."""
        # The end is exclusive by a millisecond's doubt, as of a symbol's own history.
        params = {"instType": self.product, "begin": str(max(since - 1, 0)), "limit": str(_PAGE)}
        rows = await _back(exchange.privateGetTradeFillsHistory, params)
        return TradedSymbols(frozenset(str(row["instId"]) for row in rows), whole=True)


def _is_within(row: Mapping[str, Any], wanted: FillsRange) -> bool:
    stamp = int(row["fillTime"] if row.get("fillTime") else row["ts"])
    since, until = wanted.since, wanted.until
    return (since is None or stamp >= since) and (until is None or stamp <= until)


async def _back(call: Callable[[Any], Awaitable[Any]], params: Mapping[str, str]) -> Rows:
    """Read pages from the newest back until one is short; return the oldest rows first.

    Raises RejectedError when there are too many.
    """
    found: Rows = []
    asked = dict(params)
    for _ in range(_MOST_PAGES):
        page = await _rows(call, asked)
        found.extend(page)
        if len(page) < _PAGE:
            return found[::-1]
        asked["after"] = str(page[-1]["billId"])
    raise RejectedError(
        f"the venue has more than {_MOST_PAGES * _PAGE} executions there; give a later start",
        reason="VENUE_REJECTED",
    )


async def _rows(call: Callable[[Any], Awaitable[Any]], params: Mapping[str, str]) -> Rows:
    reply = await call(params)
    rows: Rows = reply["data"]
    return rows
