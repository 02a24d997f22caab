"""Messages of Bybit's private stream: orders, executions, positions, wallet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.simulator.core.clock import millis
from services.simulator.core.events import Event, OrderEvent, WalletEvent
from services.simulator.core.exchange import Exchange
from services.simulator.dialects.bybit_account import wallet_row
from services.simulator.dialects.bybit_common import CATEGORIES
from services.simulator.dialects.bybit_rows import fill_row, order_row, position_row

Message = dict[str, object]


def write_event(exchange: Exchange, event: Event) -> Sequence[Message]:
    """Return the messages that tell of an event, each under its topic."""
    if isinstance(event, OrderEvent):
        return _order_messages(exchange, event)
    return _wallet_messages(exchange, event)


def _order_messages(exchange: Exchange, event: OrderEvent) -> list[Message]:
    order, fill = event.order, event.fill
    product = order.request.product
    spec = exchange.market.spec(product.kind, order.request.symbol)
    row = {"category": CATEGORIES[product], **order_row(order, spec)}
    messages = [_message("order", event.time, row)]
    # The order first: a client must know it by the time its execution comes.
    if fill is not None:
        messages.append(_message("execution", event.time, fill_row(fill, order, spec)))
    return messages


def _wallet_messages(exchange: Exchange, event: WalletEvent) -> list[Message]:
    account = exchange.accounts.by_name(event.account)
    messages = [_message("wallet", event.time, wallet_row(exchange, account))]
    if event.positions:
        rows = [
            position_row(exchange, account, account.futures.position(*key))
            for key in event.positions
        ]
        messages.append(_message("position", event.time, *rows))
    return messages


def _message(topic: str, time: datetime, *rows: Message) -> Message:
    now = millis(time)
    return {"id": f"{topic}-{now}", "topic": topic, "creationTime": now, "data": list(rows)}
