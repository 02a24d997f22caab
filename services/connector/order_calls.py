"""The order calls of a venue through ccxt, one request each, rows returned as the venue wrote them.

`UnifiedOrderCalls` uses ccxt's unified methods; a venue where one of them is wrong (it ignores the
client id, or raises) overrides that one in its own file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from services.common.errors import UnimplementedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.instruments import Instrument

_LONG_LIST: Final = 1_000
"""Rows of Binance's list of all orders; other venues with such a list give what they have."""

_SHORT_LIST: Final = 50
"""Rows that every venue gives at once of the orders that have ended (Bybit: at most 50)."""

_ENDED_ORDERS: Final = (
    ("fetchClosedOrders", "fetch_closed_orders"),
    ("fetchCanceledOrders", "fetch_canceled_orders"),
)


@dataclass(frozen=True, slots=True)
class OrderKey:
    """How to name an order to the venue: by its own id when known, else by the client id there."""

    instrument: Instrument
    venue_client_id: str = ""
    exchange_order_id: str = ""
    use_margin: bool = False

    @property
    def by_client_id(self) -> bool:
        """Whether the client id names the order: the venue's own goes first when it is known.

        A client id may meanwhile name a younger order.
        """
        return bool(self.venue_client_id) and not self.exchange_order_id


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order in the venue's units, as text, with ccxt's params for the rest."""

    unified: str
    type: str
    side: str
    amount: str
    price: str | None
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FillsRange:
    """Executions on one symbol: from `first_trade_id`, or between two instants in ms.

    `use_margin` asks for those of the margin account, where that has a list of its own.
    """

    since: int | None
    until: int | None
    limit: int
    first_trade_id: str = ""
    use_margin: bool = False


@dataclass(frozen=True, slots=True)
class RecentOrders:
    """The latest orders on a symbol, live and closed; `whole` when the venue remembers no more."""

    rows: list[Mapping[str, Any]]
    whole: bool


@dataclass(frozen=True, slots=True)
class TradedSymbols:
    """The venue's symbols that had executions of ours; `whole` when there were no others."""

    names: frozenset[str]
    whole: bool


class OrderCalls(Protocol):
    """What a venue must be able to answer about orders; `exchange` is its ccxt instance.

    All raise what ccxt and `VenueHttpMixin` raise. A query returns None where the venue answers
    that it has none; a cancel returns None where the reply does not tell the order's state.
    """

    async def place(self, exchange: Any, order: NewOrder) -> Mapping[str, Any]:
        """Send a new order, once."""
        ...

    async def query(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Return the row of one order, live or closed."""
        ...

    async def cancel(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Cancel one order."""
        ...

    async def cancel_all(self, exchange: Any, instrument: Instrument, *, use_margin: bool) -> None:
        """Cancel all live orders of a symbol."""
        ...

    async def open_orders(
        self, exchange: Any, instrument: Instrument | None, *, use_margin: bool
    ) -> list[Mapping[str, Any]]:
        """Return all live orders of one symbol, or of all."""
        ...

    async def order_fills(self, exchange: Any, key: OrderKey) -> list[Mapping[str, Any]]:
        """Return the executions of one order, named by the venue's id."""
        ...

    async def fills(
        self, exchange: Any, instrument: Instrument, wanted: FillsRange
    ) -> list[Mapping[str, Any]]:
        """Return executions on a symbol, oldest first."""
        ...

    async def recent_orders(
        self, exchange: Any, instrument: Instrument, *, use_margin: bool
    ) -> RecentOrders:
        """Return the latest orders of a symbol, live and closed."""
        ...

    async def traded_symbols(self, exchange: Any, since: int) -> TradedSymbols:
        """Return the venue's symbols that had executions since an instant in ms."""
        ...

    async def watch(self, exchange: Any) -> None:
        """Subscribe to what the venue tells of our orders, and wait for the next of it."""
        ...


class UnifiedOrderCalls:
    """ccxt's unified methods, as they serve most venues."""

    async def place(self, exchange: Any, order: NewOrder) -> Mapping[str, Any]:
        """Send a new order, once."""
        reply = await exchange.create_order(
            order.unified, order.type, order.side, order.amount, order.price, order.params
        )
        return _info(reply)

    async def query(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Return the row of one order, live or closed."""
        reply = await exchange.fetch_order(
            key.exchange_order_id, key.instrument.unified, self.select(key)
        )
        return _info(reply)

    async def cancel(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Cancel one order."""
        reply = await exchange.cancel_order(
            key.exchange_order_id, key.instrument.unified, self.select(key)
        )
        return _info(reply)

    async def cancel_all(self, exchange: Any, instrument: Instrument, *, use_margin: bool) -> None:
        """Cancel all live orders of a symbol."""
        await exchange.cancel_all_orders(instrument.unified, self.account(use_margin=use_margin))

    async def open_orders(
        self, exchange: Any, instrument: Instrument | None, *, use_margin: bool
    ) -> list[Mapping[str, Any]]:
        """Return all live orders of one symbol, or of all."""
        unified = None if instrument is None else instrument.unified
        rows = await exchange.fetch_open_orders(
            unified, None, None, self.account(use_margin=use_margin)
        )
        return [_info(row) for row in rows]

    async def order_fills(self, exchange: Any, key: OrderKey) -> list[Mapping[str, Any]]:
        """Return the executions of one order, named by the venue's id."""
        # Trades know no client id, so fills wait until the venue's id is known.
        params = {"orderId": key.exchange_order_id, **self.account(use_margin=key.use_margin)}
        rows = await exchange.fetch_my_trades(key.instrument.unified, None, 1000, params)
        return [_info(row) for row in rows]

    async def fills(
        self, exchange: Any, instrument: Instrument, wanted: FillsRange
    ) -> list[Mapping[str, Any]]:
        """Return executions on a symbol, oldest first."""
        params = self.account(use_margin=wanted.use_margin)
        if wanted.first_trade_id:
            params["fromId"] = wanted.first_trade_id
        elif wanted.until is not None:
            params["until"] = wanted.until
        since = None if wanted.first_trade_id else wanted.since
        rows = await exchange.fetch_my_trades(instrument.unified, since, wanted.limit, params)
        return [_info(row) for row in rows]

    async def recent_orders(
        self, exchange: Any, instrument: Instrument, *, use_margin: bool
    ) -> RecentOrders:
        """Return the latest orders of a symbol, live and closed."""
        unified, params = instrument.unified, self.account(use_margin=use_margin)
        if exchange.has.get("fetchOrders") is True:
            rows = await exchange.fetch_orders(unified, None, _LONG_LIST, params)
            return RecentOrders([_info(row) for row in rows], len(rows) < _LONG_LIST)
        # No one list: the live ones, and those that have ended, where the venue tells them.
        live = await self.open_orders(exchange, instrument, use_margin=use_margin)
        ended = [
            await getattr(exchange, method)(unified, None, _SHORT_LIST, params)
            for name, method in _ENDED_ORDERS
            if exchange.has.get(name) is True
        ]
        whole = bool(ended) and all(len(rows) < _SHORT_LIST for rows in ended)
        return RecentOrders([*live, *(_info(row) for rows in ended for row in rows)], whole)

    async def traded_symbols(self, exchange: Any, since: int) -> TradedSymbols:
        """Return no symbol: ccxt has no word for it."""
        del exchange, since
        return TradedSymbols(frozenset(), whole=False)

    async def watch(self, exchange: Any) -> None:
        """Subscribe to what the venue tells of our orders, and wait for the next of it."""
        await exchange.watch_orders()

    def select(self, key: OrderKey) -> dict[str, Any]:
        """Return ccxt's params that name the order."""
        params = self.account(use_margin=key.use_margin)
        if key.by_client_id:
            params["clientOrderId"] = key.venue_client_id
        return params

    def account(self, *, use_margin: bool) -> dict[str, Any]:
        """Return ccxt's params that select the margin account."""
        return {"marginMode": "cross"} if use_margin else {}


def _info(reply: Any) -> Mapping[str, Any]:
    # ccxt's own structure is floats and guesses; the venue's row is under "info".
    found: Mapping[str, Any] = reply["info"]
    return found


def refuse_from_id(wanted: FillsRange) -> None:
    """Raise UnimplementedError for a listing from a trade id on, where the venue knows none."""
    if wanted.first_trade_id:
        raise UnimplementedError(
            "the venue lists fills by time only; ask for a shorter time",
            reason="NOT_SUPPORTED_BY_VENUE",
        )
