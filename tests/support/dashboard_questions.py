"""Every question that the committed dashboards ask, as Grafana would send it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards"


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a panel, a mark or a variable; `expr` has Grafana's own names filled in.

    For a variable `label` is the label whose values it lists, else empty.
    """

    dashboard: str
    panel: str
    expr: str
    instant: bool = False
    label: str = ""


def questions(names: Mapping[str, str]) -> Iterator[Question]:
    """Yield the questions of all files; `names` are Grafana's variables with their values."""
    for path in sorted(FOLDER.glob("*.json")):
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        yield from _of_document(path.stem, document, names)


def _of_document(
    dashboard: str, document: dict[str, Any], names: Mapping[str, str]
) -> Iterator[Question]:
    for panel in document["panels"]:
        for target in panel.get("targets", ()):
            yield Question(
                dashboard,
                panel["title"],
                _filled(target["expr"], names),
                instant=bool(target.get("instant")),
            )
    for mark in document["annotations"]["list"]:
        yield Question(dashboard, f"mark: {mark['name']}", _filled(mark["expr"], names))
    for variable in document["templating"]["list"]:
        if variable["type"] == "query":
            inside = variable["query"]["query"].removeprefix("label_values(").removesuffix(")")
            metric, _, label = inside.rpartition(",")
            yield Question(dashboard, f"variable: {variable['name']}", metric, label=label)


def _filled(expr: str, names: Mapping[str, str]) -> str:
    # The longest first: one name may begin with another.
    for name in sorted(names, key=len, reverse=True):
        expr = expr.replace(f"${name}", names[name])
    return expr
