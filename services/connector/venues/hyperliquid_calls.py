"""Hyperliquid's order calls, built from ccxt's request makers and sent without its preliminaries.

ccxt's own `create_order` and `cancel_order` first sign a builder's fee and a referral in the
account's name and then put the builder on each order. Nothing of that is ever sent from here.
"""

from __future__ import annotations

import asyncio
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import format_decimal
from services.common.errors import InvalidFieldError, UnreachableError
from services.connector.order_calls import (
    FillsRange,
    NewOrder,
    OrderKey,
    RecentOrders,
    UnifiedOrderCalls,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.instruments import Instrument

SIGNIFICANT_DIGITS: Final = 5
"""Of a price, unless it is a whole number (API, "Tick and lot size")."""

_HISTORY_LIMIT: Final = 2_000
_FILLS_PAGE: Final = 2_000
# The venue keeps ten thousand.
_MOST_PAGES: Final = 8


def fit_price(price: Decimal, *, buys: bool) -> Decimal:
    """Return the nearest price of five significant digits that is not worse for the order."""
    if price == price.to_integral_value():
        return price
    step = Decimal(1).scaleb(price.adjusted() - SIGNIFICANT_DIGITS + 1)
    # Above 99999 whole numbers are taken, however many digits they have.
    step = min(step, Decimal(1))
    return price.quantize(step, rounding=ROUND_FLOOR if buys else ROUND_CEILING)


class HyperliquidOrderCalls(UnifiedOrderCalls):
    """The venue's own actions and questions, one request each."""

    async def place(self, exchange: Any, order: NewOrder) -> Mapping[str, Any]:
        """Sign and send a new order, once, valid for the receive window only."""
        _check(order)
        price = _price(order)
        request = exchange.create_order_request(
            order.unified, order.type, order.side, order.amount, price, order.params
        )
        # ccxt rounds to the nearest: an order it changed is not the order that was asked.
        if Decimal(request["p"]) != Decimal(price) or Decimal(request["s"]) != Decimal(
            order.amount
        ):
            raise InvalidFieldError("price", "does not fit the venue's grid")
        action = {"type": "order", "orders": [request], "grouping": "na"}
        reply = await _act(exchange, action)
        asked = {
            "coin": exchange.market(order.unified)["baseName"],
            "side": "B" if request["b"] else "A",
            "limitPx": request["p"],
            "origSz": request["s"],
            "cloid": request.get("c"),
            "reduceOnly": request["r"],
            "tif": request["t"]["limit"]["tif"],
        }
        return {**reply, "asked": asked}

    async def query(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Return the row of one order, live or closed."""
        named = key.venue_client_id if key.by_client_id else int(key.exchange_order_id)
        reply = await _ask(exchange, "orderStatus", oid=named)
        found: Mapping[str, Any] = reply["order"]
        return found

    async def cancel(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Cancel one order; the reply tells no state."""
        asset = _asset(exchange, key.instrument)
        if key.by_client_id:
            one = {"asset": asset, "cloid": key.venue_client_id}
            await _act(exchange, {"type": "cancelByCloid", "cancels": [one]})
        else:
            await _cancel(exchange, asset, [int(key.exchange_order_id)])
        return None

    async def cancel_all(self, exchange: Any, instrument: Instrument, *, use_margin: bool) -> None:
        """Cancel the orders of a symbol that live now: the venue has no call for all."""
        rows = await self.open_orders(exchange, instrument, use_margin=use_margin)
        if rows:
            await _cancel(exchange, _asset(exchange, instrument), [int(row["oid"]) for row in rows])

    async def open_orders(
        self, exchange: Any, instrument: Instrument | None, *, use_margin: bool
    ) -> list[Mapping[str, Any]]:
        """Return all live orders of one symbol, or of all."""
        del use_margin
        rows = await _ask(exchange, "frontendOpenOrders")
        coin = None if instrument is None else instrument.exchange_symbol
        return [row for row in rows if coin in (None, row["coin"])]

    async def order_fills(self, exchange: Any, key: OrderKey) -> list[Mapping[str, Any]]:
        """Return the executions of one order, out of the account's last two thousand."""
        rows = await _ask(exchange, "userFills")
        return [row for row in rows if str(row["oid"]) == key.exchange_order_id]

    async def fills(
        self, exchange: Any, instrument: Instrument, wanted: FillsRange
    ) -> list[Mapping[str, Any]]:
        """Return executions on a symbol, oldest first."""
        if wanted.since is None:
            # By time the venue begins with the oldest; this list has the newest.
            rows = await _ask(exchange, "userFills")
        else:
            rows = await _fills_between(exchange, wanted.since, wanted.until)
        own = [row for row in rows if row["coin"] == instrument.exchange_symbol]
        own.sort(key=_stamp)
        if wanted.since is not None:
            return own[: wanted.limit]
        until = wanted.until
        return [row for row in own if until is None or _stamp(row) <= until][-wanted.limit :]

    async def recent_orders(
        self, exchange: Any, instrument: Instrument, *, use_margin: bool
    ) -> RecentOrders:
        """Return the latest orders of a symbol, live and closed."""
        live = await self.open_orders(exchange, instrument, use_margin=use_margin)
        past = await _ask(exchange, "historicalOrders")
        coin = instrument.exchange_symbol
        own = [row for row in past if row["order"]["coin"] == coin]
        # The list is the account's, of all symbols.
        return RecentOrders([*live, *own], len(past) < _HISTORY_LIMIT)

    async def watch(self, exchange: Any) -> None:
        """Subscribe to our orders and fills: a forced fill shows among the latter only."""
        await asyncio.gather(exchange.watch_orders(), exchange.watch_my_trades())


async def _fills_between(exchange: Any, since: int, until: int | None) -> list[Any]:
    """Return the account's fills of a time, of all coins; two thousand come in one answer.

    Raises UnreachableError when there are more than can be read: what is missing may be ours.
    """
    end = {} if until is None else {"endTime": until}
    found: dict[tuple[str, str], Any] = {}
    start = since
    for _ in range(_MOST_PAGES):
        rows = await _ask(exchange, "userFillsByTime", startTime=start, **end)
        # Pages meet at an instant, which both have.
        found.update(((str(row["oid"]), str(row["tid"])), row) for row in rows)
        if len(rows) < _FILLS_PAGE:
            return list(found.values())
        newest = max(_stamp(row) for row in rows)
        if newest <= start:
            break
        start = newest
    raise UnreachableError("more fills in that time than can be read at once")


def _stamp(row: Mapping[str, Any]) -> int:
    return int(row["time"])


def _check(order: NewOrder) -> None:
    if order.price is None:
        # The venue knows limit orders alone; ccxt would put a price of its own.
        raise InvalidFieldError("worst_price", "is required for a market order on this venue")
    if order.params.get("timeInForce") == "FOK":
        raise InvalidFieldError("time_in_force", "this venue has no fill-or-kill")


def _price(order: NewOrder) -> str:
    price = Decimal(order.price or "0")
    fitted = fit_price(price, buys=order.side == "buy")
    # A bound may be made tighter; a limit price is the caller's word.
    if fitted != price and order.params.get("timeInForce") != "IOC":
        raise InvalidFieldError("price", f"has more than {SIGNIFICANT_DIGITS} significant digits")
    return format_decimal(fitted)


async def _act(exchange: Any, action: dict[str, Any]) -> Any:
    nonce = exchange.incrementing_nonce()
    expires = _now(exchange) + int(exchange.options["recvWindow"])
    request = {
        "action": action,
        "nonce": nonce,
        "signature": exchange.sign_l1_action(action, nonce, None, expires),
        "expiresAfter": expires,
    }
    return await exchange.privatePostExchange(request)


async def _cancel(exchange: Any, asset: int, ids: list[int]) -> None:
    cancels = [{"a": asset, "o": one} for one in ids]
    await _act(exchange, {"type": "cancel", "cancels": cancels})


async def _ask(exchange: Any, question: str, **details: Any) -> Any:
    return await exchange.publicPostInfo(
        {"type": question, "user": exchange.walletAddress, **details}
    )


def _asset(exchange: Any, instrument: Instrument) -> int:
    return int(exchange.market(instrument.unified)["baseId"])


def _now(exchange: Any) -> int:
    # ccxt's own clock is ours; the offset is what was measured against the venue's.
    return int(exchange.milliseconds()) - int(exchange.options.get("timeDifference") or 0)
