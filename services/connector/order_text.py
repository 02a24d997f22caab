"""Intents and states of orders as JSON text for the ledger, exact to the last digit."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

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
_NAMES: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (OrderIntent, OrderState, Fill)
}


def write_intent(intent: OrderIntent) -> str:
    """Return the intent as JSON."""
    return json.dumps(_to_plain(intent))


def read_intent(text: str) -> OrderIntent:
    """Return the intent that `write_intent` wrote; raise ValueError when the text is broken."""
    return OrderIntent(**_from_plain(_load(text)))


def write_state(state: OrderState) -> str:
    """Return the state as JSON, fills and fees included."""
    plain = _to_plain(state)
    plain["fills"] = [_to_plain(fill) for fill in state.fills]
    if state.fees is not None:
        plain["fees"] = [[asset, str(amount)] for asset, amount in state.fees]
    return json.dumps(plain)


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


def _to_plain(row: OrderIntent | OrderState | Fill) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name in _NAMES[type(row)]:
        value = getattr(row, name)
        if isinstance(value, Decimal):
            value = str(value)
        elif isinstance(value, datetime):
            value = value.isoformat()
        plain[name] = value
    return plain


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
