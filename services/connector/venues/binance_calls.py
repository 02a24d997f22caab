"""New orders of Binance without ccxt's way to them: the same form, put together in one step.

ccxt looks at some forty parameters of orders that are never sent from here, which takes longer than
the wire does. A test holds form and signature to those of ccxt for every kind of order we send.
Sources: spot rest-api.md, "New order" and "SIGNED endpoints"; USD-M New-Order.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from services.connector.order_calls import NewOrder, UnifiedOrderCalls

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_CCXT: Final = ("marginMode",)
"""Params of orders that go another way than the plain one."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII)
"""What `quote` would leave as it is."""


class BinanceOrderCalls(UnifiedOrderCalls):
    """ccxt's unified calls but for new orders; `section` is ccxt's name of the signed API."""

    def __init__(self, section: str) -> None:
        self._section = section

    async def place(self, exchange: Any, order: NewOrder) -> Mapping[str, Any]:
        """Send a new order, once."""
        secret = exchange.secret
        # Another key than a plain one is signed by ccxt, and a missing one told by it.
        plain = bool(exchange.apiKey and secret) and "PRIVATE KEY" not in secret
        if not plain or any(name in order.params for name in _BY_CCXT):
            return await super().place(exchange, order)
        url, headers, body = self.signed(exchange, order)
        reply: Mapping[str, Any] = await exchange.fetch(url, "POST", headers, body)
        return reply

    def signed(self, exchange: Any, order: NewOrder) -> tuple[str, dict[str, str], str]:
        """Return URL, headers and body of a signed order; raise KeyError for an unknown market."""
        form = {
            "timestamp": exchange.nonce(),
            **order_form(exchange.markets[order.unified], exchange.options, order),
            "recvWindow": exchange.options["recvWindow"],
        }
        text = "&".join(f"{name}={_encoded(str(value))}" for name, value in form.items())
        signature = hmac.digest(exchange.secret.encode(), text.encode(), "sha256").hex()
        headers = {
            "X-MBX-APIKEY": exchange.apiKey,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        url = f"{exchange.urls['api'][self._section]}/order"
        return url, headers, f"{text}&signature={signature}"


def order_form(
    market: Mapping[str, Any], options: Mapping[str, Any], order: NewOrder
) -> dict[str, str]:
    """Return what describes an order, by the venue's names, from `binance_family.order_params`."""
    params = dict(order.params)
    post_only = params.pop("postOnly", False)
    kind = order.type.upper()
    form = {"symbol": market["id"], "side": order.side.upper()}
    if market["contract"]:
        form["newOrderRespType"] = "RESULT"
        if post_only:
            params["timeInForce"] = "GTX"
    else:
        form["newOrderRespType"] = options["newOrderRespType"].get(order.type, "FULL")
        kind = "LIMIT_MAKER" if post_only else kind
    form["type"] = kind
    form["quantity"] = order.amount
    if order.price is not None and kind != "MARKET":
        form["price"] = order.price
        if kind == "LIMIT":
            form["timeInForce"] = "GTC"
    if params.pop("reduceOnly", False):
        form["reduceOnly"] = "true"
    return {**form, **params}


def _encoded(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text)
