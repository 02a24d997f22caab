"""Messages of OKX's private stream: orders, account, positions.

A message names its channel and kind of instrument; the connection puts the subscription's own words
(`arg`) in their place. Source: OKX API v5, "Order channel", "Account channel", "Positions channel".
"""

from __future__ import annotations

from collections.abc import Sequence

from services.simulator.core.events import Event, OrderEvent, WalletEvent
from services.simulator.core.exchange import Exchange
from services.simulator.dialects.okx_account import balance_row
from services.simulator.dialects.okx_common import TYPES, Row
from services.simulator.dialects.okx_rows import order_row, position_row


def write_event(exchange: Exchange, event: Event) -> Sequence[Row]:
    """Return the messages that tell of an event, each with its channel."""
    if isinstance(event, OrderEvent):
        request = event.order.request
        spec = exchange.market.spec(request.product.kind, request.symbol)
        row = order_row(event.order, spec, event.fill)
        told = {"amendResult": "", "reqId": "", "code": "0", "msg": ""}
        return (message("orders", TYPES[spec.kind], {**row, **told}),)
    return _wallet_messages(exchange, event)


def _wallet_messages(exchange: Exchange, event: WalletEvent) -> list[Row]:
    account = exchange.accounts.by_name(event.account)
    messages = [message("account", "", balance_row(exchange, account))]
    if event.positions:
        rows = [
            position_row(exchange, account, account.futures.position(*key))
            for key in event.positions
        ]
        messages.append(message("positions", "SWAP", *rows))
    return messages


def message(channel: str, kind: str, *rows: Row) -> Row:
    """Return a message of a channel, about instruments of a kind."""
    return {"channel": channel, "instType": kind, "data": list(rows)}
