"""Intents and states of orders as JSON text for the ledger, exact to the last digit."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from services.connector.order_types import (
    Fill,
    OrderClass,
    OrderIntent,
    OrderState,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)

_ENUMS: dict[str, type[Side | OrderType | TimeInForce | OrderStatus | OrderClass]] = {
    "side": Side,
    "type": OrderType,
    "asked_type": OrderType,
    "time_in_force": TimeInForce,
    "status": OrderStatus,
    "order_class": OrderClass,
}
_DECIMALS = frozenset(
    ("quantity", "price", "executed", "average_price", "cumulative_quote", "fee", "realized_pnl")
)
_TIMES = frozenset(("create_time", "update_time", "time"))


def write_intent(intent: OrderIntent) -> str:
    """Return the intent as JSON."""
    return orjson.dumps(intent, default=_to_text).decode()


def read_intent(text: str) -> OrderIntent:
    """Return the intent that `write_intent` wrote; raise ValueError when the text is broken."""
    return OrderIntent(**_from_plain(_load(text)))


def write_state(state: OrderState) -> str:
    """Return the state as JSON, fills and fees included."""
    return orjson.dumps(state, default=_to_text).decode()


def read_state(text: str) -> OrderState:
    """Return the state that `write_state` wrote; raise ValueError when the text is broken."""
    plain = _load(text)
    fills = tuple(Fill(**_from_plain(fill)) for fill in plain.pop("fills"))
    fees = plain.pop("fees")
    if fees is not None:
        fees = tuple((asset, Decimal(amount)) for asset, amount in fees)
    return OrderState(**_from_plain(plain), fills=fills, fees=fees)


def _load(text: str) -> dict[str, Any]:
    plain = json.loads(text)
    if not isinstance(plain, dict):
        raise ValueError("not an object")
    return plain


def _to_text(value: object) -> str:
    # Of all that these rows hold, orjson knows but decimals not.
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a row")


def _from_plain(plain: dict[str, Any]) -> dict[str, Any]:
    row = dict(plain)
    for name, value in plain.items():
        if value is None:
            continue
        if name in _ENUMS:
            row[name] = _ENUMS[name](value)
        elif name in _DECIMALS:
            row[name] = Decimal(value)
        elif name in _TIMES:
            row[name] = datetime.fromisoformat(value)
    return row
