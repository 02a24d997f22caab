"""Frozen dataclasses as plain JSON values and back, strictly, by their annotations.

For values that leave the process. Nothing is guessed: a missing field, one too many, a wrong type
or a number that is not finite is an InvalidFieldError. No class is ever named by the sender.
"""

from __future__ import annotations

import math
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from sys import byteorder
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from services.common.errors import InvalidFieldError
from services.scanner.spans import Span

# Names that the modules of the values import for their annotations only.
_NAMES: Mapping[str, object] = {
    each.__name__: each for each in (Decimal, Span, datetime, timedelta)
}
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PlainCodec:
    """Both ways of one type; `encode` trusts its value, `decode` raises InvalidFieldError."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def codec_of(kind: Any) -> PlainCodec:
    """Return the codec of a type; raise TypeError for one that has no plain form."""
    return _made(kind)


@cache
def _made(kind: Any) -> PlainCodec:
    if kind in _LEAVES:
        return _LEAVES[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _optional(arguments)
    if origin in (dict, Mapping):
        return _mapping(codec_of(arguments[1]))
    if origin is list:
        return _numbers(arguments[0])
    if origin is tuple:
        return _tuple(arguments)
    plain = origin or kind
    if isinstance(plain, type) and issubclass(plain, StrEnum):
        return _enum(plain)
    if is_dataclass(plain) and isinstance(plain, type):
        return _record(plain, arguments)
    raise TypeError(f"{kind} has no plain form")


def _bad(kind: object) -> InvalidFieldError:
    return InvalidFieldError("value", f"is no {getattr(kind, '__name__', kind)}")


def _typed(kind: type) -> Callable[[Any], Any]:
    def decode(plain: Any) -> Any:
        # By type and not isinstance: a boolean is an int to Python, and to nobody else.
        if type(plain) is not kind:
            raise _bad(kind)
        return plain

    return decode


def _float(plain: Any) -> float:
    if type(plain) not in (int, float) or not math.isfinite(plain):
        raise _bad(float)
    return float(plain)


def _decimal(plain: Any) -> Decimal:
    try:
        value = Decimal(_typed(str)(plain))
    except InvalidOperation:
        raise _bad(Decimal) from None
    if not value.is_finite():
        raise _bad(Decimal)
    return value


def _time(plain: Any) -> datetime:
    try:
        value = datetime.fromisoformat(_typed(str)(plain))
    except ValueError:
        raise _bad(datetime) from None
    if value.tzinfo is None:
        raise _bad(datetime)
    return value


def _length(plain: Any) -> timedelta:
    try:
        return timedelta(microseconds=_typed(int)(plain))
    except OverflowError:
        raise _bad(timedelta) from None


_LEAVES: Mapping[Any, PlainCodec] = {
    str: PlainCodec(lambda value: value, _typed(str)),
    int: PlainCodec(lambda value: value, _typed(int)),
    bool: PlainCodec(lambda value: value, _typed(bool)),
    float: PlainCodec(lambda value: value, _float),
    Decimal: PlainCodec(str, _decimal),
    datetime: PlainCodec(datetime.isoformat, _time),
    timedelta: PlainCodec(lambda value: value // _MICROSECOND, _length),
}


def _optional(arguments: tuple[Any, ...]) -> PlainCodec:
    held = [each for each in arguments if each is not NoneType]
    if len(held) != 1 or len(arguments) != 2:
        raise TypeError("only `X | None` has a plain form among unions")
    inner = codec_of(held[0])
    return PlainCodec(
        lambda value: None if value is None else inner.encode(value),
        lambda plain: None if plain is None else inner.decode(plain),
    )


def _mapping(inner: PlainCodec) -> PlainCodec:
    def decode(plain: Any) -> dict[str, Any]:
        return {key: inner.decode(each) for key, each in _typed(dict)(plain).items()}

    return PlainCodec(
        lambda value: {key: inner.encode(each) for key, each in value.items()}, decode
    )


def _tuple(arguments: tuple[Any, ...]) -> PlainCodec:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        inner = codec_of(arguments[0])
        return PlainCodec(
            lambda value: [inner.encode(each) for each in value],
            lambda plain: tuple(inner.decode(each) for each in _typed(list)(plain)),
        )
    parts = [codec_of(each) for each in arguments]

    def decode(plain: Any) -> tuple[Any, ...]:
        if len(_typed(list)(plain)) != len(parts):
            raise _bad(tuple)
        return tuple(part.decode(each) for part, each in zip(parts, plain, strict=True))

    return PlainCodec(
        lambda value: [part.encode(each) for part, each in zip(parts, value, strict=True)], decode
    )


def _numbers(kind: Any) -> PlainCodec:
    """Return the codec of a list of numbers: packed, since histories hold hundreds of thousands."""
    if kind not in (int, float):
        raise TypeError("only lists of numbers have a plain form; take a tuple")
    code = "q" if kind is int else "d"

    def encode(value: Any) -> str:
        return b64encode(_little_endian(array(code, value)).tobytes()).decode("ascii")

    def decode(plain: Any) -> list[Any]:
        packed = array(code)
        try:
            packed.frombytes(b64decode(_typed(str)(plain), validate=True))
        except ValueError:
            raise _bad(list) from None
        numbers = _little_endian(packed).tolist()
        if kind is float and not all(map(math.isfinite, numbers)):
            raise _bad(float)
        return numbers

    return PlainCodec(encode, decode)


def _little_endian(packed: array[Any]) -> array[Any]:
    if byteorder == "big":
        packed.byteswap()
    return packed


def _enum(kind: type[StrEnum]) -> PlainCodec:
    def decode(plain: Any) -> StrEnum:
        try:
            return kind(_typed(str)(plain))
        except ValueError:
            raise _bad(kind) from None

    return PlainCodec(lambda value: value.value, decode)


def _record(kind: type, arguments: tuple[Any, ...]) -> PlainCodec:
    """Return the codec of a dataclass; of a generic one with its arguments put in."""
    hints = get_type_hints(kind, localns=dict(_NAMES))
    known = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=True))
    parts = {each.name: codec_of(_filled(hints[each.name], known)) for each in fields(kind)}

    def decode(plain: Any) -> Any:
        if _typed(dict)(plain).keys() != parts.keys():
            raise _bad(kind)
        return kind(**{name: part.decode(plain[name]) for name, part in parts.items()})

    return PlainCodec(
        lambda value: {name: part.encode(getattr(value, name)) for name, part in parts.items()},
        decode,
    )


def _filled(hint: Any, known: Mapping[Any, Any]) -> Any:
    """Return an annotation with its type variables replaced by what they stand for."""
    if isinstance(hint, TypeVar):
        return known[hint]
    parameters = getattr(hint, "__parameters__", ())
    return hint[tuple(known[each] for each in parameters)] if parameters else hint
