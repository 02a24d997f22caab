"""The lock pins every package by hash, names no address, and covers what pyproject asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ENTRIES = re.split(r"\n(?=\S)", LOCK.replace("\\\n", "").strip())


def requirement_of(entry: str) -> Requirement:
    """Read the requirement of one entry of the lock, its hashes left out."""
    return Requirement(entry.split("--hash")[0].strip())


def declared(path: str) -> list[Requirement]:
    """List every requirement that a pyproject declares, extras and development included."""
    document = tomllib.loads((ROOT / path).read_text(encoding="utf-8"))
    project = document["project"]
    groups = [
        project["dependencies"],
        *project.get("optional-dependencies", {}).values(),
        *document.get("dependency-groups", {}).values(),
    ]
    return [Requirement(text) for group in groups for text in group]


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.split("=")[0] for entry in ENTRIES])
def test_each_package_is_pinned_with_hashes(entry: str) -> None:
    """An entry names one version and at least one sha256."""
    assert [spec.operator for spec in requirement_of(entry).specifier] == ["=="]
    assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)


def test_lock_names_no_address() -> None:
    """Where packages come from is the machine's business."""
    assert not re.findall(r"\w+://.*|^-.*", LOCK, flags=re.MULTILINE)


@pytest.mark.parametrize("path", ["pyproject.toml", "proto/pyproject.toml"])
def test_lock_covers_what_is_declared(path: str) -> None:
    """A declared package is locked at a version that its bounds allow; our own is not locked."""
    locked: dict[str, list[Requirement]] = {}
    for entry in ENTRIES:
        requirement = requirement_of(entry)
        locked.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    wanted = [requirement for requirement in declared(path) if requirement.name != "opensqt-protos"]
    for requirement in wanted:
        pins = locked[canonicalize_name(requirement.name)]
        versions = [next(iter(pin.specifier)).version for pin in pins]
        assert all(requirement.specifier.contains(version) for version in versions), requirement
