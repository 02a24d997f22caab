"""Bodies of answers about orders in each venue's own words, for answers that a test makes up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def canceled_reply(venue: str, name: str, book: Mapping[str, Any], price: Decimal) -> str:
    """Return the answer to a cancel: canceled and unfilled, or acknowledged where that is all."""
    if venue.startswith("okx"):
        row = {"ordId": str(book["order_id"]), "clOrdId": name, "sCode": "0", "sMsg": ""}
        return json.dumps({"code": "0", "msg": "", "data": [row]})
    if venue.startswith("bybit"):
        return _bybit({"orderId": str(book["order_id"]), "orderLinkId": name})
    return order_reply(
        venue, name, order_id=book["order_id"], price=price, status="CANCELED", executed="0"
    )


def order_reply(venue: str, name: str, *, executed: str = "0.01", **changes: Any) -> str:
    """Return an answer that tells of one order to buy 0.01 BTC under a client order id."""
    order_id = str(changes.get("order_id", 987654321))
    status = str(changes.get("status", "FILLED"))
    price = str(changes.get("price", "60000"))
    if venue.startswith("okx"):
        row: dict[str, Any] = {
            "instId": "BTC-USDT-SWAP",
            "ordId": order_id,
            "clOrdId": name,
            "side": "buy",
            "ordType": "market",
            "state": status.lower(),
            "sz": "1",
            "accFillSz": executed,
            "avgPx": price,
            "px": "",
            "fee": "0",
            "feeCcy": "USDT",
            "reduceOnly": "false",
            "cTime": "1774000000000",
            "uTime": "1774000000000",
            "instType": "SWAP",
        }
        return json.dumps({"code": "0", "msg": "", "data": [row]})
    if venue.startswith("bybit"):
        row = {
            "symbol": "BTCUSDT",
            "orderId": order_id,
            "orderLinkId": name,
            "side": "Buy",
            "orderType": "Market",
            "orderStatus": status.title(),
            "qty": "0.01",
            "cumExecQty": executed,
            "cumExecValue": "600",
            "avgPrice": price,
            "price": "0",
            "timeInForce": "IOC",
            "reduceOnly": False,
            "createdTime": "1774000000000",
            "updatedTime": "1774000000000",
            "cumExecFee": "0",
        }
        return _bybit({"list": [row], "category": "linear", "nextPageCursor": ""})
    row = {
        "symbol": "BTCUSDT",
        "orderId": int(order_id),
        "clientOrderId": name,
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "status": status,
        "origQty": "0.01",
        "executedQty": executed,
        "price": price,
        "avgPrice": price,
        "cumQuote": "0",
        "cummulativeQuoteQty": "0",
        "reduceOnly": False,
        "updateTime": 1774000000000,
    }
    return json.dumps(row)


def _bybit(result: Mapping[str, Any]) -> str:
    whole = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}}
    return json.dumps({**whole, "time": 1774000000000})
