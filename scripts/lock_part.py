"""Print the part of `requirements.lock` that images need: `lock_part.py IMAGE ...`.

Runs in the image's build with the standard library alone, beside the lock and `packages.toml`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Collection
from pathlib import Path

_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==")


def select(lock: str, names: Collection[str]) -> str:
    """Return the lines of these packages, hashes included; ValueError for one that has none."""
    wanted, found, kept = {_normal(name) for name in names}, set(), []
    keeping = False
    for line in lock.splitlines():
        if pin := _PIN.match(line):
            name = _normal(pin["name"])
            keeping = name in wanted
            found |= {name} & wanted
        if keeping:
            kept.append(line)
    if missing := sorted(wanted - found):
        raise ValueError(f"not in the lock: {', '.join(missing)}")
    return "\n".join(kept) + "\n"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Print the part of the images that the command line names."""
    images = tomllib.loads(Path("packages.toml").read_text(encoding="utf-8"))
    names = {name for image in sys.argv[1:] for name in images[image]}
    sys.stdout.write(select(Path("requirements.lock").read_text(encoding="utf-8"), names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
