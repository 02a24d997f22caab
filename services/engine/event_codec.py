"""Journal events as text: one JSON object per event, decoded strictly by the field types.

Decimals travel as plain text, instants as ISO 8601 in UTC, durations as microseconds. A new version
of a kind needs its own decoder beside the old one: journals outlive releases.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any

from services.engine import events as ev

VERSION = 1
_KINDS: Mapping[str, type[ev.Event]] = {kind.__name__: kind for kind in typing.get_args(ev.Event)}
# Wider than the wire's pattern: products of quantity and price have more digits than either.
_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
_MICROSECOND = timedelta(microseconds=1)


def encode_event(event: ev.Event) -> tuple[str, str]:
    """Return the kind and the JSON text of an event."""
    return type(event).__name__, json.dumps(_to_plain(event), separators=(",", ":"))


def decode_event(kind: str, version: int, body: str) -> ev.Event:
    """Return the event of a row; raises ValueError for a kind, version or body we do not know."""
    known = _KINDS.get(kind)
    # Skipping a row of a newer release would forget an order it sent.
    if known is None or version != VERSION:
        raise ValueError(f"unknown journal row: {kind} version {version}")
    return typing.cast("ev.Event", _from_plain(known, json.loads(body)))


def _to_plain(value: object) -> object:
    match value:
        case Decimal():
            return _decimal_text(value)
        case StrEnum():
            return value.value
        case datetime():
            return value.astimezone(UTC).isoformat()
        case timedelta():
            return value // _MICROSECOND
        case tuple():
            return [_to_plain(item) for item in value]
        case frozenset():
            # In one order: a row's digest must not hang on the hash seed.
            return sorted(_to_plain(item) for item in value)  # type: ignore[type-var]  # texts
        case None | bool() | int() | str():
            return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise TypeError(f"cannot be journaled: {type(value).__name__}")


def _from_plain(kind: Any, plain: Any) -> object:
    return _reader(kind)(plain)


# One reader per type, made once: a start reads every row of the journal before it serves exits.
@cache
def _reader(kind: Any) -> Callable[[Any], object]:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        inner = _reader(next(arg for arg in typing.get_args(kind) if arg is not type(None)))
        return lambda plain: None if plain is None else inner(plain)
    if origin is tuple:
        item = _reader(typing.get_args(kind)[0])
        return lambda plain: tuple(item(one) for one in plain)
    if origin is frozenset:
        item = _reader(typing.get_args(kind)[0])
        return lambda plain: frozenset(item(one) for one in plain)
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(typing.cast("type", kind))
    if kind in _READERS:
        return _READERS[kind]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind
    return functools.partial(_plain_reader, kind)


def _plain_reader(kind: Any, plain: Any) -> object:
    # The type itself: true is an int to isinstance, and 1 would pass for a flag.
    if isinstance(kind, type) and type(plain) is kind:
        return plain
    raise ValueError(f"not a {kind}: {plain!r}")


def _dataclass_reader(kind: type) -> Callable[[Any], object]:
    readers = {name: _reader(hint) for name, hint in typing.get_type_hints(kind).items()}

    def read(plain: Any) -> object:
        # Fields may be missing where they have a default, as in rows of older releases; never more.
        if not isinstance(plain, dict) or not plain.keys() <= readers.keys():
            raise ValueError(f"not a {kind.__name__}")
        return kind(**{name: readers[name](value) for name, value in plain.items()})

    return read


def _decimal_text(value: Decimal) -> str:
    text = format(value, "f")
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"cannot be journaled: {value}")
    return text


def _read_decimal(plain: str) -> Decimal:
    if not _DECIMAL.fullmatch(plain):
        raise ValueError(f"not a decimal: {plain!r}")
    return Decimal(plain)


def _read_instant(plain: str) -> datetime:
    at = datetime.fromisoformat(plain)
    if at.tzinfo is None:
        raise ValueError(f"instant without a zone: {plain}")
    return at


_READERS: Mapping[object, Callable[[Any], object]] = {
    Decimal: _read_decimal,
    datetime: _read_instant,
    timedelta: lambda plain: plain * _MICROSECOND,
}
