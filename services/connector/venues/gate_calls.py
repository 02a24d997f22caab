"""Gate's order calls: the client id where the order id goes, pages, fills by order.

ccxt ignores the client id elsewhere, reads one page of each list, and asks for the fills of an
order by a range of time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import to_millis
from services.common.errors import InvalidFieldError, UnreachableError
from services.connector.order_calls import (
    FillsRange,
    NewOrder,
    OrderKey,
    UnifiedOrderCalls,
)
from services.connector.outcome import AnswerClass, classify_answer
from services.connector.venue_errors import VenueAnswerError
from services.connector.venues.gate_answers import ANSWERS
from services.connector.venues.gate_rows import ID_PREFIX, fill_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from services.connector.instruments import Instrument

_PAGE: Final = 100
_FILLS_PAGE: Final = 1_000
_MOST_PAGES: Final = 10


class GateOrderCalls(UnifiedOrderCalls):
    """ccxt's calls; the client id goes where the order id goes, because ccxt ignores it elsewhere.

    `product` is the path's first part, `settle` the coin that contracts are settled in.
    """

    def __init__(self, product: str, settle: str) -> None:
        self._product = product
        self._settle = settle

    async def place(self, exchange: Any, order: NewOrder) -> Mapping[str, Any]:
        """Send a new order, once; a spot market buy without a bound is refused, unsent."""
        spot = self._product == "Spot"
        if spot and (order.type, order.side) == ("market", "buy"):
            # Its amount would be in the quote: another order than asked.
            raise InvalidFieldError("worst_price", "is required to buy at market on this venue")
        return await super().place(exchange, order)

    async def query(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Return the row of one order, live or closed."""
        try:
            return await super().query(exchange, self._named(key))
        except VenueAnswerError as error:
            answer = classify_answer(error.status, error.code, error.message, ANSWERS, {})
            gone = answer is AnswerClass.CANCEL_RACE_CHECK_FILL
            if not gone or not key.by_client_id:
                raise
        # A closed order answers to a client id for 60 s (contracts) or an hour (spot) only.
        return await self._find_closed(exchange, key)

    async def cancel(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Cancel one order."""
        return await super().cancel(exchange, self._named(key))

    async def open_orders(
        self, exchange: Any, instrument: Instrument | None, *, use_margin: bool
    ) -> list[Mapping[str, Any]]:
        """Return all live orders of one symbol, or of all."""
        del use_margin
        found: list[Mapping[str, Any]] = []
        symbol = None if instrument is None else instrument.exchange_symbol
        for page in range(_MOST_PAGES):
            rows, last = await self._open_page(exchange, symbol, page)
            found.extend(rows)
            if last:
                return found
        # A live order that is left out would be believed to be gone.
        raise UnreachableError("more live orders than can be read at once")

    async def order_fills(self, exchange: Any, key: OrderKey) -> list[Mapping[str, Any]]:
        """Return the executions of one order, named by the venue's id."""
        contract = key.instrument.exchange_symbol
        params: dict[str, Any] = {"limit": 1000}
        if self._product == "Spot":
            params |= {"currency_pair": contract, "order_id": key.exchange_order_id}
            rows = await exchange.privateSpotGetMyTrades(params)
        else:
            # ccxt asks by time range, where the venue knows no filter by order.
            params |= {"settle": self._settle, "contract": contract, "order": key.exchange_order_id}
            rows = await exchange.privateFuturesGetSettleMyTrades(params)
        return list(rows)

    async def fills(
        self, exchange: Any, instrument: Instrument, wanted: FillsRange
    ) -> list[Mapping[str, Any]]:
        """Return executions on a symbol, oldest first."""
        since, until = wanted.since, wanted.until
        # The venue counts in seconds, gives the newest first and cuts the oldest off.
        span: dict[str, Any] = {"limit": wanted.limit if since is None else _FILLS_PAGE}
        if since is not None:
            span["from"] = since // 1000
        if until is not None:
            span["to"] = until // 1000 + 1
        found: list[Mapping[str, Any]] = []
        for page in range(_MOST_PAGES if since is not None else 1):
            rows = await self._fills_page(exchange, instrument.exchange_symbol, span, page)
            found.extend(row for row in rows if _is_within(fill_row(row).time, since, until))
            if len(rows) < _FILLS_PAGE:
                break
        else:
            if since is not None:
                raise UnreachableError("more fills in that time than can be read at once")
        return found[::-1][: wanted.limit]

    async def _open_page(
        self, exchange: Any, symbol: str | None, page: int
    ) -> tuple[list[Any], bool]:
        if self._product != "Spot":
            named = {} if symbol is None else {"contract": symbol}
            params = {"status": "open", "limit": _PAGE, "offset": page * _PAGE, **named}
            rows = list(
                await exchange.privateFuturesGetSettleOrders({"settle": self._settle, **params})
            )
            return rows, len(rows) < _PAGE
        if symbol is not None:
            # Pages of orders: the list of all pairs below would have to be read whole.
            rows = list(
                await exchange.privateSpotGetOrders(
                    {"status": "open", "currency_pair": symbol, "limit": _PAGE, "page": page + 1}
                )
            )
            return rows, len(rows) < _PAGE
        groups = list(await exchange.privateSpotGetOpenOrders({"limit": _PAGE, "page": page + 1}))
        # The limit is each pair's own.
        parts = [list(group["orders"]) for group in groups]
        return [row for part in parts for row in part], all(len(part) < _PAGE for part in parts)

    async def _fills_page(
        self, exchange: Any, symbol: str, span: dict[str, Any], page: int
    ) -> list[Any]:
        if self._product == "Spot":
            params = {**span, "currency_pair": symbol, "page": page + 1}
            return list(await exchange.privateSpotGetMyTrades(params))
        params = {**span, "contract": symbol, "settle": self._settle, "offset": page * _FILLS_PAGE}
        return list(await exchange.privateFuturesGetSettleMyTradesTimerange(params))

    async def _find_closed(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        wanted = f"{ID_PREFIX}{key.venue_client_id}"
        for page in range(_MOST_PAGES):
            rows = await self._closed_page(exchange, key.instrument.exchange_symbol, page)
            for row in rows:
                if row.get("text") == wanted:
                    found: Mapping[str, Any] = row
                    return found
            if len(rows) < _PAGE:
                return None
        # Not in the part that was read is no proof that it is nowhere.
        raise UnreachableError(f"the order is not among the last {_PAGE * _MOST_PAGES} closed ones")

    async def _closed_page(self, exchange: Any, symbol: str, page: int) -> list[Any]:
        params: dict[str, Any] = {"status": "finished", "limit": _PAGE}
        if self._product == "Spot":
            params |= {"currency_pair": symbol, "page": page + 1}
            return list(await exchange.privateSpotGetOrders(params))
        params |= {"settle": self._settle, "contract": symbol, "offset": page * _PAGE}
        return list(await exchange.privateFuturesGetSettleOrders(params))

    def _named(self, key: OrderKey) -> OrderKey:
        if not key.by_client_id:
            return key
        return replace(key, exchange_order_id=f"{ID_PREFIX}{key.venue_client_id}")


def _is_within(time: datetime | None, since: int | None, until: int | None) -> bool:
    if time is None:
        return True
    millis = to_millis(time)
    return (since is None or millis >= since) and (until is None or millis <= until)
