"""User stream messages of Binance USD-M futures."""

from __future__ import annotations

from decimal import Decimal

from services.simulator.core.clock import millis
from services.simulator.core.events import Event, OrderEvent, Reason, WalletEvent
from services.simulator.core.exchange import Exchange
from services.simulator.core.money import fixed, plain, text8
from services.simulator.core.orders import PositionSide
from services.simulator.market.source import Kind


def message(exchange: Exchange, event: Event) -> dict[str, object]:
    """Return the message of one event: ORDER_TRADE_UPDATE or ACCOUNT_UPDATE."""
    if isinstance(event, OrderEvent):
        return order_update(exchange, event)
    return account_update(exchange, event)


def order_update(exchange: Exchange, event: OrderEvent) -> dict[str, object]:
    """Return an ORDER_TRADE_UPDATE."""
    order, fill = event.order, event.fill
    request = order.request
    spec = exchange.market.spec(Kind.PERPETUAL, request.symbol)
    places, price = spec.quantity_precision, spec.price_precision
    time = millis(event.time)
    row: dict[str, object] = {
        "s": request.symbol,
        "c": request.client_order_id,
        "S": request.side.value,
        "o": request.type.value,
        "f": request.time_in_force.value,
        "q": fixed(order.quantity, places),
        "p": plain(request.price) if request.price else "0",
        "ap": fixed(order.average_price, price + 3) if order.executed else "0",
        "sp": "0",
        "x": event.execution.value,
        "X": order.status.value,
        "i": order.order_id,
        "l": fixed(fill.quantity, places) if fill else "0",
        "z": fixed(order.executed, places),
        "L": fixed(fill.price, price) if fill else "0",
        "T": time,
        "t": fill.trade_id if fill else 0,
        "b": "0",
        "a": "0",
        "m": fill.is_maker if fill else False,
        "R": request.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": request.type.value,
        "ps": request.position_side.value,
        "cp": False,
        "pP": False,
        "si": 0,
        "ss": 0,
        "rp": text8(fill.realized_pnl) if fill else "0",
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": 0,
    }
    # the venue pushes no commission where there is none
    if fill:
        row |= {"N": fill.fee_asset, "n": text8(fill.fee)}
    return {"e": "ORDER_TRADE_UPDATE", "E": time, "T": time, "o": row}


def account_update(exchange: Exchange, event: WalletEvent) -> dict[str, object]:
    """Return an ACCOUNT_UPDATE; funding of a cross position comes with balances only."""
    account = exchange.accounts.by_name(event.account)
    time = millis(event.time)
    balances = [
        {
            "a": asset,
            "wb": text8(account.futures.balance(asset)),
            "cw": text8(account.futures.balance(asset)),
            # an order changes the balance too, but the venue puts only other causes here
            "bc": text8(event.change) if event.reason is not Reason.ORDER else "0",
        }
        for asset in event.assets
    ]
    positions = [_position(exchange, event.account, *key) for key in event.positions]
    return {
        "e": "ACCOUNT_UPDATE",
        "E": time,
        "T": time,
        "a": {"m": event.reason.value, "B": balances, "P": positions},
    }


def _position(
    exchange: Exchange, account_name: str, symbol: str, side: PositionSide
) -> dict[str, object]:
    futures = exchange.accounts.by_name(account_name).futures
    position = futures.position(symbol, side)
    spec = exchange.market.spec(Kind.PERPETUAL, symbol)
    entry = plain(position.entry_price.quantize(Decimal("1e-12")))
    return {
        "s": symbol,
        "pa": fixed(position.quantity, spec.quantity_precision),
        "ep": entry,
        "bep": entry,
        "cr": text8(position.realized),
        "up": text8(position.unrealized(exchange.market.mark(symbol))),
        "mt": "isolated" if symbol in futures.isolated else "cross",
        "iw": "0",
        "ps": side.value,
    }


def listen_key_expired(listen_key: str, time: int) -> dict[str, object]:
    """Return the message that says a listen key has run out."""
    return {"e": "listenKeyExpired", "E": time, "listenKey": listen_key}
