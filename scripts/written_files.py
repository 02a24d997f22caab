"""Files that are written from the code: made anew, or held against what the code says."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


class UnwritableError(Exception):
    """The code says less than its page needs, or contradicts itself; the text says where."""


def run(
    about: str, target: str, make: Callable[[], Mapping[Path, str]], folder: Path | None = None
) -> int:
    """Write what was made, or with `check` name what differs from it; return the exit code.

    `target` of the Makefile writes it; of the pages in `folder` only those that were made stay.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("what", choices=["generate", "check"])
    wanted = parser.parse_args().what
    try:
        made = make()
    except UnwritableError as error:
        sys.stderr.write(f"make {target}: {error}\n")
        return 1
    left_over = set(folder.glob("*.md") if folder else ()) - set(made)
    if wanted == "check":
        stale = sorted(left_over | {path for path, text in made.items() if _held(path) != text})
        for path in stale:
            name = path.relative_to(ROOT)
            sys.stderr.write(f"{name} is not what the code says: make {target}\n")
        return 1 if stale else 0
    for path in left_over:
        path.unlink()
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _held(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
