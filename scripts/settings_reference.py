"""Write docs/configuration.md from the settings classes, or fail where it is not what they say.

What a setting is stands as a docstring under its field or, where the class has none, in
`settings_meanings.toml` beside this script; one that stands in neither, in both, or is of no
setting, is refused.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cli.settings import ArbSettings
from scripts.settings_words import bounds_of, default_of, type_of
from scripts.written_files import ROOT, UnwritableError, run
from services.common.settings import ServiceSettings, SettingsRoot
from services.connector.settings import ConnectorSettings
from services.engine.settings import EngineSettings
from services.scanner.settings import ScannerSettings
from services.simulator.settings import SimulatorSettings

PAGE: Final = ROOT / "docs" / "configuration.md"
MEANINGS: Final = Path(__file__).with_name("settings_meanings.toml")
ROOTS: Final[tuple[type[SettingsRoot], ...]] = (
    ConnectorSettings,
    ScannerSettings,
    EngineSettings,
    SimulatorSettings,
    ArbSettings,
)
SHARED: Final = (*ServiceSettings.model_fields, "tracing")
"""Tables that every service has; told once."""

_INTRODUCTION = """# Configuration reference

Written by `make reference` from the settings classes; do not edit. [Running it](running.md) shows
whole files and says how settings work together.

Each program reads one TOML file (`--config FILE`). Any key can come from the environment instead,
which wins: `OPENSQT_<PROGRAM>__<TABLE>__<KEY>`, as `OPENSQT_ENGINE__LIMITS__MAX_LEG_NOTIONAL=500`.
An unknown key stops the start, with the nearest known one named, and so does a value out of its
bounds; all problems are told at once. A *decimal* is written as text (`"0.002"`), so that no digit
is lost; a *duration* as seconds or in ISO 8601 (`"PT1H"`; in the environment only so). A *secret
file* may not be readable by everybody."""


class UnexplainedError(UnwritableError):
    """A setting without a meaning, with two, or a meaning of no setting; the text names it."""


# Not frozen: `used` grows while the page is made.
@dataclass(slots=True)
class Meanings:
    """Meanings by class and field, and which of them were `used`."""

    texts: dict[str, dict[str, str]]
    used: set[tuple[str, str]] = field(default_factory=set)

    def find(self, owner: type[BaseModel], name: str) -> str:
        """Return what a field is; UnexplainedError where that is unclear."""
        held = next(one for one in owner.__mro__ if name in inspect.get_annotations(one))
        told = attribute_docstrings(held).get(name)
        listed = self.texts.get(held.__name__, {}).get(name)
        if told and listed:
            raise UnexplainedError(
                f"{held.__name__}.{name} is explained in its class: drop it here"
            )
        if listed:
            self.used.add((held.__name__, name))
        text = told or listed
        if not text:
            raise UnexplainedError(f"{held.__name__}.{name} has no meaning in {MEANINGS.name}")
        return " ".join(text.split()).removesuffix(".")

    def check_all_used(self) -> None:
        """Raise UnexplainedError for a meaning that no setting has."""
        listed = {(owner, name) for owner, names in self.texts.items() for name in names}
        if left := sorted(listed - self.used):
            raise UnexplainedError(f"{'.'.join(left[0])} in {MEANINGS.name} is no setting")


def attribute_docstrings(owner: type) -> dict[str, str]:
    """Return the texts that stand under the fields of a class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 - the source of a class is a class
    found = {}
    for statement, after in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if is_text and isinstance(statement, ast.AnnAssign):
            found[ast.unparse(statement.target)] = str(after.value.value)  # type: ignore[attr-defined]  # is_text says so
    return found


def part_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the settings class inside an annotation, and whether it is a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    inner = [part_of(one)[0] for one in get_args(annotation)]
    part = next((one for one in inner if one is not None), None)
    return part, part is not None and getattr(annotation, "__origin__", None) is tuple


def table(
    owner: type[BaseModel], path: str, meanings: Meanings, skip: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield the lines of a table and of the tables inside it."""
    plain, inner = [], []
    for name, info in owner.model_fields.items():
        if name in skip:
            continue
        part, is_list = part_of(info.annotation)
        if part is None:
            plain.append(_row(owner, name, info, meanings))
        else:
            inner.append((name, info, part, is_list))
    if plain:
        yield from ["", "| key | takes | default | is |", "|---|---|---|---|", *plain]
    for name, info, part, is_list in inner:
        below = f"{path}.{name}" if path else name
        title = f"[[{below}]]" if is_list else f"[{below}]"
        yield from ["", f"### `{title}`", "", _about(part, info)]
        yield from table(part, below, meanings)


def _about(part: type[BaseModel], info: FieldInfo) -> str:
    text = " ".join(inspect.cleandoc(part.__doc__ or "").split())
    return f"{text} Required." if info.is_required() else text


def _row(owner: type[BaseModel], name: str, info: FieldInfo, meanings: Meanings) -> str:
    takes = " ".join(
        one for one in (type_of(info.annotation, info.metadata), bounds_of(info)) if one
    )
    cells = (f"`{name}`", takes, default_of(info), meanings.find(owner, name))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page() -> str:
    """Return the whole page; UnexplainedError for a setting nobody explained."""
    meanings = Meanings(tomllib.loads(MEANINGS.read_text(encoding="utf-8")))
    lines = _INTRODUCTION.splitlines()
    lines += ["", "## Every service"]
    lines += table(
        EngineSettings, "", meanings, tuple(set(EngineSettings.model_fields) - set(SHARED))
    )
    for root in ROOTS:
        lines += ["", f"## {root.service.capitalize()}"]
        lines += table(root, "", meanings, SHARED)
    meanings.check_all_used()
    return "\n".join(_plain_anchors(lines)) + "\n"


def _plain_anchors(lines: list[str]) -> list[str]:
    """Tell tables of one name in two programs apart, so that each can be linked to."""
    program, named = "", []
    for line in lines:
        if line.startswith("## "):
            program = line.removeprefix("## ").lower()
        is_table = line.startswith("### ") and program != "every service"
        named.append(f"{line} of the {program}" if is_table else line)
    return named


if __name__ == "__main__":
    sys.exit(run(__doc__, "reference", lambda: {PAGE: page()}))
