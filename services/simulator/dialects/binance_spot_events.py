"""User stream messages of Binance spot and cross margin."""

from __future__ import annotations

from services.simulator.core.clock import millis
from services.simulator.core.events import Event, Execution, OrderEvent, WalletEvent
from services.simulator.core.exchange import Exchange
from services.simulator.core.money import ZERO, text8


def message(exchange: Exchange, event: Event) -> dict[str, object]:
    """Return the message of one event: executionReport or outboundAccountPosition."""
    if isinstance(event, OrderEvent):
        return execution_report(event)
    return account_position(exchange, event)


def execution_report(event: OrderEvent) -> dict[str, object]:
    """Return an executionReport; on a cancel `c` is the cancel's own id and `C` the order's."""
    order, fill = event.order, event.fill
    request = order.request
    is_cancel = event.execution is Execution.CANCELED
    last = fill.quantity if fill else ZERO
    # a cancel or an expiry comes after the last fill and must not share its number
    is_end = fill is None and event.execution is not Execution.NEW
    return {
        "e": "executionReport",
        "E": millis(event.time),
        "s": request.symbol,
        "c": f"cancel{order.order_id}" if is_cancel else request.client_order_id,
        "S": request.side.value,
        "o": request.type.value,
        "f": request.time_in_force.value,
        "q": text8(order.quantity),
        "p": text8(request.price or ZERO),
        "P": "0.00000000",
        "F": "0.00000000",
        "g": -1,
        "C": request.client_order_id if is_cancel else "",
        "x": event.execution.value,
        "X": order.status.value,
        "r": "NONE",
        "i": order.order_id,
        "l": text8(last),
        "z": text8(order.executed),
        "L": text8(fill.price if fill else ZERO),
        "n": text8(fill.fee) if fill else "0",
        # null, not absent, on spot
        "N": fill.fee_asset if fill else None,
        "T": millis(event.time),
        "t": fill.trade_id if fill else -1,
        # room for every fill a book can give one order, so that no two orders share a number
        "I": order.order_id * 10_000 + len(order.fills) + is_end,
        "w": order.status.is_open,
        "m": fill.is_maker if fill else False,
        "M": False,
        "O": millis(order.create_time),
        "Z": text8(order.quote),
        "Y": text8(fill.quote if fill else ZERO),
        "Q": text8(request.quote_quantity or ZERO),
        "W": millis(order.create_time),
        "V": "EXPIRE_MAKER",
    }


def account_position(exchange: Exchange, event: WalletEvent) -> dict[str, object]:
    """Return an outboundAccountPosition with the assets that changed."""
    account = exchange.accounts.by_name(event.account)
    wallet = exchange.spot.wallet(account, event.product)
    return {
        "e": "outboundAccountPosition",
        "E": millis(event.time),
        "u": millis(event.time),
        "B": [
            {
                "a": asset,
                "f": text8(wallet.get(asset).free),
                "l": text8(wallet.get(asset).locked),
            }
            for asset in event.assets
        ],
    }
