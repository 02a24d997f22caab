"""Write `deploy/packages.toml`: the names of the packages that each image needs.

`generate` follows the requirements of an image's extras through the packages that are installed
here; versions and hashes stay in `requirements.lock` alone. `check` fails when it is not current.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, Final

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.written_files import ROOT, run

PACKAGES_FILE: Final = ROOT / "deploy" / "packages.toml"
EXTRAS: Final = {
    "connector": ("connector", "tracing"),
    "scanner": ("scanner", "tracing"),
    "engine": ("engine", "tracing"),
    "simulator": ("simulator",),
    "cli": ("cli",),
}
"""Images, and the extras of each; a service that is not told to trace imports nothing of it."""

TOOLS: Final = {"secrets": ("cryptography",), "build": ("hatchling",)}
"""Images and stages that hold no service, and what they are for."""

IMAGE_PYTHON: Final = "3.13"
_OWN: Final = "opensqt-protos"
_HEAD: Final = (
    "# Written by `make image-packages`: what each image installs.\n"
    "# Versions and hashes are those of requirements.lock.\n"
)


def packages_of(requirements: Iterable[str]) -> list[str]:
    """Return the names of these packages and all they require in an image, sorted."""
    # `extra` is set by packages that are asked for with one.
    environment: dict[str, Any] = {
        **default_environment(),
        "python_version": IMAGE_PYTHON,
        "python_full_version": f"{IMAGE_PYTHON}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
    }
    seen: dict[str, set[str]] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        extras = {"", *requirement.extras}
        name = canonicalize_name(requirement.name)
        if name == _OWN or not extras - seen.get(name, set()):
            continue
        seen.setdefault(name, set()).update(extras)
        waiting += [
            needed
            for needed in map(Requirement, _requires(name))
            if needed.marker is None
            or any(needed.marker.evaluate({**environment, "extra": extra}) for extra in extras)
        ]
    return sorted(seen)


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        # Needed by the images' Python alone; what it needs would fail their build by its absence.
        return []


def images(project: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the packages of every image, from the project's own table."""
    base, extras = project["dependencies"], project["optional-dependencies"]
    services = {
        name: packages_of([*base, *(one for part in parts for one in extras[part])])
        for name, parts in EXTRAS.items()
    }
    return {**services, **{name: packages_of(roots) for name, roots in TOOLS.items()}}


def render() -> str:
    """Return what the file holds when it is current."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parts = [_HEAD]
    for image, names in images(project).items():
        lines = "".join(f'    "{name}",\n' for name in names)
        parts.append(f"{image} = [\n{lines}]\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(run(__doc__, "image-packages", lambda: {PACKAGES_FILE: render()}))
