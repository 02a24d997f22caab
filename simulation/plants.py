"""Planted bugs: known mistakes, put into the running code, that the simulation must find.

A simulation that finds nothing may be blind. Each plant replaces one function of the services for
the length of a run; the swarm then has to show a violation within a bounded number of seeds.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Replacement = Callable[[Any], Any]
"""Takes the sound function and returns the one with the bug."""


class Part(StrEnum):
    """What a world must run for a plant to grow in it."""

    ENGINE = "engine"
    CONNECTOR = "connector"
    SYSTEM = "system"
    """Both, with what befalls their processes: an engine alone does not show it."""


@dataclass(frozen=True, slots=True)
class Plant:
    """One bug: where it sits (`module:function` or `module:Class.method`) and what it stands for.

    `breaks` are the rules that it may break; the first found need not be among them.
    """

    name: str
    part: Part
    place: str
    stands_for: str
    breaks: tuple[str, ...]
    replace: Replacement


@contextlib.contextmanager
def planted(plant: Plant) -> Iterator[None]:
    """Have the bug in the running code; sound again afterwards. Raises LookupError for no place."""
    module_name, _, path = plant.place.partition(":")
    module = importlib.import_module(module_name)
    owner_name, _, name = path.rpartition(".")
    owner = getattr(module, owner_name, None) if owner_name else module
    if owner is None or name not in vars(owner):
        raise LookupError(f"nothing at {plant.place} to plant {plant.name} in")
    sound = vars(owner)[name]
    bug = _like(sound, plant.replace)
    # A function is imported by name all over: each name must lead to the bug.
    places = _importers(sound) if owner is module else [(owner, name)]
    for place, attribute in places:
        setattr(place, attribute, bug)
    try:
        yield
    finally:
        for place, attribute in places:
            setattr(place, attribute, sound)


def _like(sound: Any, replace: Replacement) -> Any:
    if isinstance(sound, property):
        return property(replace(sound.fget))
    return functools.wraps(sound)(replace(sound))


def _importers(function: object) -> list[tuple[object, str]]:
    return [
        (module, attribute)
        for name, module in list(sys.modules.items())
        if name.startswith("services.") and module is not None
        for attribute, value in list(vars(module).items())
        if value is function
    ]
