"""Write `build/sbom.cdx.json`: every package of the environment, in CycloneDX.

`python -m scripts.sbom` lets cyclonedx-py read what is installed and marks what goes into an image
(`required`, with the images' names) and what is there for development alone (`excluded`). Paths of
this machine are left out. The library writes to its own schema; checking that anew takes it half a
minute, so it is not asked to.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from scripts.locked import LOCK, ROOT, locked_names

SBOM: Final = ROOT / "build" / "sbom.cdx.json"
SECONDS: Final = 120
_IMAGES: Final = "opensqt:images"
_COMMAND: Final = (
    *("environment", "--pyproject", "pyproject.toml", "--mc-type", "application"),
    *("--output-reproducible", "--no-validate", "--output-format", "JSON", "-o", "-"),
)


class IncompleteError(Exception):
    """Locked packages are missing in the list; the text names them."""


def _listed() -> dict[str, Any]:
    """Return what cyclonedx-py reads of this environment."""
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), *_COMMAND, sys.executable]
    done = subprocess.run(  # noqa: S603 - the environment's own program, no word from outside
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=SECONDS
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def marked(document: Mapping[str, Any], images: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the list with each component's scope and images, and without addresses of files."""
    components = []
    for component in document["components"]:
        name = canonicalize_name(component["name"])
        users = sorted(image for image, names in images.items() if name in names)
        links = [
            link
            for link in component.get("externalReferences", [])
            if not link["url"].startswith("file:")
        ]
        kept = {key: value for key, value in component.items() if key != "externalReferences"}
        kept["scope"] = "required" if users else "excluded"
        if links:
            kept["externalReferences"] = links
        if users:
            kept["properties"] = [
                *component.get("properties", []),
                {"name": _IMAGES, "value": ",".join(users)},
            ]
        components.append(kept)
    return {**document, "components": components}


def check_complete(document: Mapping[str, Any], locked: Sequence[str]) -> None:
    """Raise IncompleteError for a locked package that the list does not hold."""
    listed = {canonicalize_name(component["name"]) for component in document["components"]}
    if missing := [name for name in locked if name not in listed]:
        raise IncompleteError(f"not in the list: {', '.join(missing)}")


def main() -> int:
    """Write the file and print how much it holds; return the exit code."""
    images = tomllib.loads((ROOT / "deploy" / "packages.toml").read_text(encoding="utf-8"))
    document = marked(_listed(), images)
    try:
        check_complete(document, locked_names(LOCK.read_text(encoding="utf-8")))
    except IncompleteError as error:
        sys.stderr.write(f"sbom: {error}: make setup\n")
        return 1
    SBOM.parent.mkdir(exist_ok=True)
    SBOM.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    components = document["components"]
    shipped = sum(component["scope"] == "required" for component in components)
    sys.stdout.write(
        f"sbom: {SBOM.relative_to(ROOT)}: {len(components)} packages, {shipped} of them in images\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
