"""Configuration files written by the demo: plain values as TOML text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any


def to_toml(table: Mapping[str, Any]) -> str:
    """Write a table: values first, then sub-tables, then arrays of tables; None is left out."""
    return "\n".join(_table(table, ())) + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    present = {key: value for key, value in table.items() if value is not None}
    nested = {key: value for key, value in present.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {_value(v)}" for key, v in present.items() if key not in nested]
    for key, value in nested.items():
        lines += ["", f"[{'.'.join((*path, key))}]", *_table(value, (*path, key))]
    return lines


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path | Decimal):
        # A JSON string is a TOML basic string as long as it has no escaped slash.
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(str(k))} = {_value(v)}" for k, v in value.items() if v is not None)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"no TOML form for {type(value).__name__}")
