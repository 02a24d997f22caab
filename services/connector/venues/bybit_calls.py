"""Bybit's order calls: the venue's own endpoints where ccxt's unified way is wrong.

ccxt's `fetch_order` sends `orderId=None` for an order named by its client id, its cancel ignores
the unified client id, its lists stop at twenty rows, and its trades leave out liquidations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.connector.instruments import InstrumentKind
from services.connector.order_calls import RecentOrders, TradedSymbols, UnifiedOrderCalls
from services.connector.venues.bybit_rows import is_fill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.instruments import Instrument
    from services.connector.order_calls import FillsRange, OrderKey

_ORDER_PAGE: Final = 50
_FILL_PAGE: Final = 100
_WEEK_MILLIS: Final = 7 * 86_400_000
_MOST_PAGES: Final = 100
_HISTORY_PAGES: Final = 10
# The coins that linear perpetuals settle in: a list of open orders must name a symbol or one.
_SETTLE_COINS: Final = ("USDT", "USDC")


class BybitOrderCalls(UnifiedOrderCalls):
    """Order calls of one category, `spot` or `linear`, of a unified trading account."""

    def __init__(self, kind: InstrumentKind) -> None:
        self.category = "spot" if kind is InstrumentKind.SPOT else "linear"

    async def query(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Return the row of one order: live or lately closed, else from the history."""
        request = self._named(key)
        # Lately closed orders are forgotten when the venue restarts; the history has them all.
        for call in (exchange.privateGetV5OrderRealtime, exchange.privateGetV5OrderHistory):
            for row in _rows(await call(request)):
                if _is_asked(row, key):
                    return row
        return None

    async def cancel(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Cancel one order; the venue only acknowledges, so no state comes back."""
        await exchange.privatePostV5OrderCancel(self._named(key))
        return None

    async def cancel_all(self, exchange: Any, instrument: Instrument, *, use_margin: bool) -> None:
        """Cancel all live orders of a symbol; spot and margin orders are one list here."""
        del use_margin
        # Without the filter, conditional orders that somebody placed by hand would go too.
        await exchange.privatePostV5OrderCancelAll(
            {**self._market(instrument), "orderFilter": "Order"}
        )

    async def open_orders(
        self, exchange: Any, instrument: Instrument | None, *, use_margin: bool
    ) -> list[Mapping[str, Any]]:
        """Return all live orders of one symbol, or of all."""
        del use_margin
        base = {"category": self.category, "orderFilter": "Order", "limit": _ORDER_PAGE}
        if instrument is not None:
            selections = [{"symbol": instrument.exchange_symbol}]
        elif self.category == "spot":
            selections = [{}]
        else:
            selections = [{"settleCoin": coin} for coin in _SETTLE_COINS]
        found: list[Mapping[str, Any]] = []
        for selection in selections:
            found += await _pages(exchange.privateGetV5OrderRealtime, {**base, **selection})
        return found

    async def order_fills(self, exchange: Any, key: OrderKey) -> list[Mapping[str, Any]]:
        """Return the executions of one order, named by the venue's id, oldest first."""
        request = {
            **self._market(key.instrument),
            "orderId": key.exchange_order_id,
            "limit": _FILL_PAGE,
        }
        return _oldest_first(await _pages(exchange.privateGetV5ExecutionList, request))

    async def fills(
        self, exchange: Any, instrument: Instrument, wanted: FillsRange
    ) -> list[Mapping[str, Any]]:
        """Return executions on a symbol, oldest first: all of a range, else the newest page."""
        request = {**self._market(instrument), "limit": _FILL_PAGE}
        if wanted.since is None:
            rows = _rows(await exchange.privateGetV5ExecutionList(request))
            return _oldest_first(rows)[-wanted.limit :]
        request["startTime"] = wanted.since
        if wanted.until is not None:
            request["endTime"] = wanted.until
        return _oldest_first(await _pages(exchange.privateGetV5ExecutionList, request))

    async def recent_orders(
        self, exchange: Any, instrument: Instrument, *, use_margin: bool
    ) -> RecentOrders:
        """Return the live orders of a symbol, those closed lately, and the history's last pages.

        The history goes back seven days unless it is told otherwise, and lags behind; the lately
        closed orders bridge that.
        """
        request = {**self._market(instrument), "limit": _ORDER_PAGE}
        live = await self.open_orders(exchange, instrument, use_margin=use_margin)
        past, whole = await _some_pages(exchange.privateGetV5OrderHistory, request, _HISTORY_PAGES)
        # Read last, so that an order that closes meanwhile is in one of the lists.
        closed = _rows(await exchange.privateGetV5OrderRealtime({**request, "openOnly": 1}))
        rows = {str(row["orderId"]): row for row in (*live, *past, *closed)}
        return RecentOrders(list(rows.values()), whole)

    async def traded_symbols(self, exchange: Any, since: int) -> TradedSymbols:
        """Return the symbols of all executions of seven days from an instant in ms."""
        request = {"category": self.category, "startTime": since, "limit": _FILL_PAGE}
        rows = await _pages(exchange.privateGetV5ExecutionList, request)
        names = frozenset(str(row["symbol"]) for row in rows if is_fill(row))
        # Without an end the venue answers for seven days only.
        return TradedSymbols(names, whole=exchange.milliseconds() - since < _WEEK_MILLIS)

    async def watch(self, exchange: Any) -> None:
        """Watch orders and executions: the order's rows tell no single fill and no fee asset."""
        url = await exchange.get_url_by_market_type(None, True, "watchOrders", {})
        await exchange.authenticate(url)
        await exchange.watch_topics(url, ["orders"], ["order", "execution"], {})

    def _market(self, instrument: Instrument) -> dict[str, Any]:
        return {"category": self.category, "symbol": instrument.exchange_symbol}

    def _named(self, key: OrderKey) -> dict[str, Any]:
        name = (
            {"orderLinkId": key.venue_client_id}
            if key.by_client_id
            else {"orderId": key.exchange_order_id}
        )
        return {**self._market(key.instrument), **name}


def _is_asked(row: Mapping[str, Any], key: OrderKey) -> bool:
    if row.get("symbol") != key.instrument.exchange_symbol:
        return False
    if key.by_client_id:
        return row.get("orderLinkId") == key.venue_client_id
    return row.get("orderId") == key.exchange_order_id


def _rows(reply: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = reply["result"]["list"]
    if not isinstance(rows, list):
        raise TypeError("the venue's list is none")
    return rows


def _oldest_first(rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    # The venue lists the newest first; reversed before sorting, so that equal times keep order.
    kept = [row for row in reversed(rows) if is_fill(row)]
    return sorted(kept, key=lambda row: int(row["execTime"]))


async def _pages(call: Any, request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows of all pages; ValueError when they do not end."""
    found, whole = await _some_pages(call, request, _MOST_PAGES)
    if not whole:
        raise ValueError("the venue's pages do not end")
    return found


async def _some_pages(
    call: Any, request: Mapping[str, Any], most: int
) -> tuple[list[Mapping[str, Any]], bool]:
    """Return the rows of at most so many pages, and whether there are no more."""
    found: list[Mapping[str, Any]] = []
    cursor = ""
    for _ in range(most):
        reply = await call({**request, "cursor": cursor} if cursor else request)
        rows = _rows(reply)
        found += rows
        cursor = str(reply["result"].get("nextPageCursor") or "")
        if not cursor or not rows:
            return found, True
    return found, False
