"""Ask whether a locked package has a known hole: `python -m scripts.audit`.

pip-audit asks the package index for advisories. An index that holds none answers "not found", which
pip-audit counts as a package left out and ends well; without a network it ends with a traceback.
Neither is a good word about a package, so this says how many were looked at, and fails for holes
alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scripts.locked import LOCK

SECONDS: Final = 180
REQUEST_SECONDS: Final = 10
_OPTIONS: Final = (
    *("--disable-pip", "--require-hashes", "--progress-spinner", "off"),
    *("--timeout", str(REQUEST_SECONDS), "--format", "json"),
)


def report(answer: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return what to say of pip-audit's answer, and whether any package has a known hole."""
    packages = answer["dependencies"]
    looked_at = [one for one in packages if "skip_reason" not in one]
    lines = []
    for one in looked_at:
        for hole in one["vulns"]:
            mended = ", ".join(hole["fix_versions"]) or "no version yet"
            lines.append(f"{one['name']} {one['version']}: {hole['id']}, mended in {mended}")
    is_holed = bool(lines)
    lines.append(f"audit: {len(looked_at)} of {len(packages)} packages looked at")
    if len(looked_at) < len(packages):
        lines.append("audit: of the others this index has no advisories; nothing is said of them")
    return lines, is_holed


def ask(lock: Path) -> Mapping[str, Any] | str:
    """Return pip-audit's answer about a lock, or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "audit.json"
        command = [sys.executable, "-m", "pip_audit", *_OPTIONS, "-r", str(lock), "-o", str(answer)]
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter, no word from outside
                command, check=False, stderr=subprocess.PIPE, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"no end after {SECONDS} s"
        if answer.is_file() and (text := answer.read_text(encoding="utf-8")):
            document: dict[str, Any] = json.loads(text)
            return document
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return last[0][:300]


def main() -> int:
    """Print what was found; 1 for a known hole, 0 also where nobody could be asked."""
    answer = ask(LOCK)
    if isinstance(answer, str):
        sys.stdout.write(f"audit: nothing was looked at: {answer}\n")
        return 0
    lines, is_holed = report(answer)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if is_holed else 0


if __name__ == "__main__":
    sys.exit(main())
