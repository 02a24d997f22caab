"""The words of the configuration reference: types, bounds and defaults as people write them."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from services.common.secrets_files import SecretFile
from services.common.server_settings import TokenFile

_NAMES: Final[dict[Any, str]] = {
    bool: "true, false",
    datetime: "time with its zone",
    Decimal: "decimal",
    float: "number",
    int: "integer",
    Path: "path",
    SecretStr: "secret",
    str: "text",
    timedelta: "duration",
}
_SIGNS: Final = {
    annotated_types.Ge: ("ge", "≥"),
    annotated_types.Gt: ("gt", ">"),
    annotated_types.Le: ("le", "≤"),
    annotated_types.Lt: ("lt", "<"),
}


def _is_secret(metadata: Iterable[Any]) -> bool:
    known = [*SecretFile.__metadata__, *TokenFile.__metadata__]  # type: ignore[attr-defined]  # aliases of Annotated
    return any(one in known for one in metadata)


def type_of(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return what a setting takes; KeyError for a type nobody gave a word."""
    if hasattr(annotation, "__metadata__"):
        return type_of(annotation.__origin__, annotation.__metadata__)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return next(type_of(one, metadata) for one in inner if one is not type(None))
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin in (tuple, frozenset):
        return f"list of {type_of(inner[0])}"
    if origin in (dict, Mapping):
        return f"table of {type_of(inner[1])} by name"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{one.value}`" for one in annotation)
    if annotation is Path and _is_secret(metadata):
        return "secret file"
    return _NAMES[annotation]


def bounds_of(info: FieldInfo) -> str:
    """Return the bounds of a setting, "" for none."""
    metadata = [*info.metadata, *_inner_metadata(info.annotation)]
    told = []
    for one in metadata:
        for kind, (name, sign) in _SIGNS.items():
            if isinstance(one, kind):
                told.append(f"{sign} {_value(getattr(one, name))}")
    return ", ".join(dict.fromkeys(told))


def _inner_metadata(annotation: Any) -> list[Any]:
    """Return what stands inside an optional annotation; bounds of list items are not the list's."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return []
    found: list[Any] = []
    for one in get_args(annotation):
        for item in getattr(one, "__metadata__", ()):
            found += getattr(item, "metadata", None) or [item]
    return found


def default_of(info: FieldInfo) -> str:
    """Return the default of a setting as it is written in a file."""
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True, validated_data={})
    return "none" if default is None else _value(default)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, Mapping):
        return ", ".join(f"`{key}` {_value(one)}" for key, one in value.items()) or "empty"
    if isinstance(value, tuple | frozenset):
        items = sorted(value) if isinstance(value, frozenset) else value
        return ", ".join(_value(one) for one in items) or "empty"
    if isinstance(value, int | float | Decimal):
        return f"{Decimal(str(value)).normalize():,f}"
    return f"`{value}`" if str(value) else "empty"


def _duration(value: timedelta) -> str:
    seconds = Decimal(str(value.total_seconds())).normalize()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds / size:f} {unit}"
    return f"{seconds:f} s" if seconds >= 1 or not seconds else f"{seconds * 1000:.0f} ms"
