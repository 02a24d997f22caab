"""What `requirements.lock` pins, as the chores about packages ask for it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "requirements.lock"


def locked_requirements(text: str) -> list[Requirement]:
    """Return every pin of a lock with its marker, hashes left out."""
    joined = text.replace("\\\n", "")
    return [
        Requirement(re.split(r"\s+--hash=", line, maxsplit=1)[0])
        for line in joined.splitlines()
        if line.strip()
    ]


def locked_names(text: str) -> list[str]:
    """Return the normalized names of the packages that this machine takes from a lock, sorted."""
    return sorted(
        {
            canonicalize_name(one.name)
            for one in locked_requirements(text)
            if one.marker is None or one.marker.evaluate()
        }
    )


def project_table(name: str) -> dict[str, Any]:
    """Return `[tool.opensqt.NAME]` of pyproject.toml; KeyError where there is none."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table: dict[str, Any] = document["tool"]["opensqt"][name]
    return table
