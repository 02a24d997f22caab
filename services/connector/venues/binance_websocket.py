"""Order entry over Binance's WebSocket API, spot and USD-M: `order.place`, signed by ccxt.

Sources: binance-spot-api-docs web-socket-api.md; USD-M WebSocket API general info and New-Order.
A reply carries the status that HTTP would have, and the same codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.common.masking import mask_text
from services.connector.profile import WebSocketForm
from services.connector.venue_errors import VenueAnswerError
from services.connector.venues.binance_answers import read_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.order_calls import NewOrder


def websocket_form(product: str) -> WebSocketForm:
    """Return the form for ccxt's `spot` or `linear`."""

    def url(exchange: Any) -> str:
        return str(exchange.urls["api"]["ws"]["ws-api"][product])

    return WebSocketForm(url, _takes, _encode, _decode)


def _takes(order: NewOrder) -> bool:
    # Margin orders have no WebSocket method.
    return "marginMode" not in order.params


def _encode(exchange: Any, order: NewOrder, entry_id: str) -> Mapping[str, Any]:
    request = exchange.create_order_request(
        order.unified, order.type, order.side, order.amount, order.price, order.params
    )
    return {"id": entry_id, "method": "order.place", "params": exchange.sign_params(request)}


def _decode(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    status = reply.get("status")
    result = reply.get("result")
    if status == 200 and isinstance(result, dict) and "error" not in reply:
        return result
    refusal = read_refusal(reply.get("error"))
    # Without a status of its own a reply proves nothing: as a server error does not.
    raise VenueAnswerError(
        status if isinstance(status, int) else 500,
        None if refusal is None else refusal.code,
        "refused" if refusal is None else mask_text(refusal.message),
    )
