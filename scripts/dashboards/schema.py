"""Holds a dashboard to the schema of the Grafana that the SDK is pinned to.

The SDK is generated from that schema: what its models do not know, or know with another type, is
not in it.
"""

from __future__ import annotations

import json
import types
import typing
from enum import Enum
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as models

from scripts.dashboards.frame import DATASOURCE_UID
from scripts.dashboards.plan import GRID_WIDTH

_SOURCE_OF_MARKS = frozenset({"step", "titleFormat"})
"""Of Grafana's Prometheus source, which reads them from the annotation beside the schema."""


def problems_of(document: dict[str, Any]) -> list[str]:
    """Return what in a dashboard does not hold; empty when it does."""
    register_default_plugins()
    try:
        board = models.Dashboard.from_json(document)
    except (KeyError, TypeError, ValueError) as error:
        return [f"no dashboard of this schema: {error}"]
    told = json.loads(json.dumps(board, cls=JSONEncoder))
    return [
        *_differences(document, told, "dashboard"),
        *_misfits(board, "dashboard"),
        *_layout_problems(document["panels"]),
        *_source_problems(document),
    ]


def _differences(held: Any, told: Any, path: str) -> list[str]:
    """Return where the models lose or change what the file says."""
    if isinstance(held, dict) and isinstance(told, dict):
        unknown = held.keys() - told.keys()
        if path.startswith("dashboard.annotations"):
            unknown -= _SOURCE_OF_MARKS
        return [f"{path}.{key} is not in the schema" for key in sorted(unknown)] + [
            problem
            for key in sorted(held.keys() & told.keys())
            for problem in _differences(held[key], told[key], f"{path}.{key}")
        ]
    if isinstance(held, list) and isinstance(told, list) and len(held) == len(told):
        return [
            problem
            for index, (one, other) in enumerate(zip(held, told, strict=True))
            for problem in _differences(one, other, f"{path}[{index}]")
        ]
    return [] if held == told else [f"{path} reads as {told!r}"]


def _misfits(value: Any, path: str) -> list[str]:
    """Return the attributes of models whose values are not of the declared type."""
    if isinstance(value, list):
        return [p for index, one in enumerate(value) for p in _misfits(one, f"{path}[{index}]")]
    if not hasattr(value, "to_json"):
        return []
    problems: list[str] = []
    for name, declared in typing.get_type_hints(type(value)).items():
        held = getattr(value, name)
        if not _fits(held, declared):
            problems.append(f"{path}.{name} is {type(held).__name__}, not {declared}")
        problems += _misfits(held, f"{path}.{name}")
    return problems


def _fits(value: Any, declared: Any) -> bool:
    origin = typing.get_origin(declared)
    arguments = typing.get_args(declared)
    if declared in (object, Any):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_fits(one, arguments[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, arguments[1]) for one in value.values())
    if declared is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool | Enum)
    if issubclass(declared, Enum):
        # Read from a file it is the plain value: the SDK makes no member of it.
        return value in {member.value for member in declared}
    if isinstance(value, dict) and hasattr(declared, "from_json"):
        # Some lists of models stay as they stood in the file.
        return bool(declared.from_json(value).to_json() == value)
    return isinstance(value, declared)


def _layout_problems(panels: list[dict[str, Any]]) -> list[str]:
    """Return panels that share an id, leave the grid or lie over each other."""
    problems: list[str] = []
    ids: set[int] = set()
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        title, place = panel["title"], panel["gridPos"]
        if panel["id"] in ids:
            problems.append(f"{title}: its id is another's")
        ids.add(panel["id"])
        if place["x"] + place["w"] > GRID_WIDTH:
            problems.append(f"{title}: it leaves the grid")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken:
                    problems.append(f"{title}: it lies over {taken[x, y]}")
                    return problems
                taken[x, y] = title
    return problems


def _source_problems(value: Any) -> list[str]:
    """Return sources other than the provisioned one: such a panel would stay empty."""
    if isinstance(value, list):
        return [problem for one in value for problem in _source_problems(one)]
    if not isinstance(value, dict):
        return []
    source = value.get("datasource")
    own = isinstance(source, dict) and source.get("uid") not in (None, DATASOURCE_UID)
    problems = [f"an unknown source {source}"] if own else []
    return problems + [p for one in value.values() for p in _source_problems(one)]
