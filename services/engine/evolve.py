"""Changed copies of frozen records, made without running their constructor again.

`dataclasses.replace` calls the constructor with every field, which for a position costs more than
all that is decided from it: too much between a fill and its hedge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

_T = TypeVar("_T")
_Shape = tuple[Callable[[Any], tuple[Any, ...]], dict[str, Callable[[Any, Any], None]]]
_SHAPES: dict[type[Any], _Shape] = {}


def evolved(value: _T, **changes: object) -> _T:
    """Return a copy of a frozen dataclass with slots, with these fields changed.

    Fields of `init=False` are copied too. Raises TypeError for a field it does not have.
    """
    kind: type[Any] = type(value)
    shape = _SHAPES.get(kind)
    if shape is None:
        shape = _SHAPES[kind] = _shape_of(kind)
    read, setters = shape
    copy: _T = object.__new__(kind)
    for put, held in zip(setters.values(), read(value), strict=True):
        put(copy, held)
    for name, new in changes.items():
        if name not in setters:
            raise TypeError(f"{type(value).__name__} has no field {name}")
        setters[name](copy, new)
    return copy


def _shape_of(kind: type[Any]) -> _Shape:
    names = [field.name for field in fields(kind)]
    # The slots' own setters: the frozen class refuses to set anything by name.
    return attrgetter(*names), {name: getattr(kind, name).__set__ for name in names}
