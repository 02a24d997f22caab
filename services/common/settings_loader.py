"""Reading of settings from file and environment, with every problem told at once."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from services.common.settings import SettingsRoot

T = TypeVar("T", bound="SettingsRoot")
EXIT_BAD_SETTINGS = 2
CONFIG_FLAG = "--config"
_DISTRIBUTION = "opensqt-arb"
_PLAIN_WORDS = {
    "tuple_type": 'must be a list, as ["a", "b"]',
    "dict_type": 'must be a table, as { NAME = "1" }',
    "model_type": "must be a table of its own",
    "decimal_parsing": 'must be a plain number in quotes, as "0.02"',
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "too_short": "needs one entry or more",
}
"""What the library's words for a wrong type mean to somebody who writes TOML."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the settings: the key's path and what to do, free of values."""

    path: str
    text: str


class SettingsProblemsError(Exception):
    """All that is wrong with the settings; never carries a value, which might be a secret."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{problem.path}: {problem.text}" for problem in problems))
        self.problems = tuple(problems)


def load_settings(settings_class: type[T], argv: Sequence[str] | None = None) -> T:
    """Return the settings named by the command line (`--config FILE.toml`) and the environment.

    Prints all problems to stderr and exits with status 2 when there are any; `--version` prints
    and exits 0.
    """
    service = settings_class.service
    # No abbreviations: one in a unit file would break on the day a second flag begins alike.
    parser = argparse.ArgumentParser(prog=f"services.{service}", allow_abbrev=False)
    parser.add_argument(CONFIG_FLAG, type=Path, help="TOML file with the settings")
    parser.add_argument("--version", action="version", version=_version())
    config: Path | None = parser.parse_args(argv).config
    try:
        return read_settings(settings_class, config, os.environ)
    except SettingsProblemsError as error:
        _exit_with(service, config, error.problems)


def read_settings(settings_class: type[T], config: Path | None, environ: Mapping[str, str]) -> T:
    """Return the settings of a file and an environment.

    Raise SettingsProblemsError with all problems.
    """
    problems: list[Problem] = []
    values = _read_file(config, problems) if config is not None else {}
    values = _merge(values, _read_environment(settings_class, environ, problems))
    try:
        settings = settings_class(**values)
    except ValidationError as error:
        prefix = _env_prefix(settings_class)
        # Without the file every key seems missing; that would bury the one true cause.
        hidden = "missing" if problems and problems[0].path == CONFIG_FLAG else ""
        details = _told_once([one for one in error.errors() if one["type"] != hidden])
        problems += [_describe(detail, settings_class, prefix) for detail in details]
    if problems:
        raise SettingsProblemsError(problems)
    return settings


def _read_file(path: Path, problems: list[Problem]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(Problem(CONFIG_FLAG, f"cannot read {path}: {error.strerror}"))
    except UnicodeDecodeError:
        problems.append(Problem(CONFIG_FLAG, f"{path} is not UTF-8 text"))
    except tomllib.TOMLDecodeError as error:
        # The parser's text may quote the line; only its place is safe to show.
        place = str(error).rpartition("(")[2].rstrip(")")
        problems.append(Problem(CONFIG_FLAG, f"{path} is not valid TOML ({place})"))
    return {}


def _read_environment(
    settings_class: type[SettingsRoot], environ: Mapping[str, str], problems: list[Problem]
) -> dict[str, Any]:
    prefix = _env_prefix(settings_class)
    source = EnvSettingsSource(settings_class, env_prefix=prefix)
    ours = {name.lower(): text for name, text in environ.items() if name.upper().startswith(prefix)}
    # Given, not read: tests pass their own environment, and keys match in any case.
    source.env_vars = ours
    fields = settings_class.model_fields
    for name in sorted(ours):
        top = name[len(prefix) :].partition("__")[0]
        if top not in fields:
            problems.append(Problem(name.upper(), _unknown(top, list(fields))))
    try:
        return source()
    except SettingsError as error:
        problems.append(Problem(f"{prefix}*", f"{error}; tables and lists are written as JSON"))
        return {}


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        held = merged.get(key)
        both_tables = isinstance(held, dict) and isinstance(value, Mapping)
        merged[key] = _merge(held, value) if both_tables and isinstance(held, dict) else value
    return merged


def _env_prefix(settings_class: type[SettingsRoot]) -> str:
    return f"OPENSQT_{settings_class.service.upper()}__"


def _describe(detail: ErrorDetails, settings_class: type[SettingsRoot], prefix: str) -> Problem:
    path = ""
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else part)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Problem(
            path, _unknown(str(detail["loc"][-1]), _siblings(settings_class, detail["loc"]))
        )
    if kind == "missing":
        variable = prefix + "__".join(str(part) for part in detail["loc"]).upper()
        return Problem(path, f"is required; set it in the file or as {variable}")
    text = _PLAIN_WORDS.get(kind, detail["msg"].removeprefix("Value error, "))
    return Problem(path or "settings", text)


def _told_once(details: list[ErrorDetails]) -> list[ErrorDetails]:
    # A list counts as short for its wrong entries too, and those are told.
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail, place in zip(details, places, strict=True)
        if detail["type"] != "too_short"
        or not any(one != place and one[: len(place)] == place for one in places)
    ]


def _siblings(settings_class: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    model = settings_class
    # A number is a place in a list; the list's own key has told the model already.
    for part in (part for part in location[:-1] if isinstance(part, str)):
        field = model.model_fields.get(part)
        if field is None:
            return []
        options = (field.annotation, *getattr(field.annotation, "__args__", ()))
        models = [
            held for held in options if isinstance(held, type) and issubclass(held, BaseModel)
        ]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)


def _unknown(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"unknown key; did you mean {close[0]}?" if close else "unknown key; remove it"


def _version() -> str:
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


def _exit_with(service: str, config: Path | None, problems: Sequence[Problem]) -> NoReturn:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"{service}: {count} in the settings (file: {config or 'none'})"]
    lines += [f"  {problem.path}: {problem.text}" for problem in problems]
    sys.stderr.write("\n".join(lines) + "\n")
    raise SystemExit(EXIT_BAD_SETTINGS)
