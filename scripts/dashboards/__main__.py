"""`python -m scripts.dashboards write|check`: the files Grafana reads, from the plans.

`write` rewrites them; `check` fails where a committed file is not what the plans make, or where
one does not hold to the schema of the Grafana that the SDK is pinned to.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from scripts.dashboards.connectors import CONNECTORS
from scripts.dashboards.draw import draw
from scripts.dashboards.execution import EXECUTION
from scripts.dashboards.overview import OVERVIEW
from scripts.dashboards.risk import RISK
from scripts.dashboards.scanner import SCANNER
from scripts.dashboards.schema import problems_of

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards"
PLANS = (OVERVIEW, EXECUTION, SCANNER, CONNECTORS, RISK)


def drawn() -> dict[str, str]:
    """Return the text of every file by its name."""
    return {f"{plan.slug}.json": draw(plan) for plan in PLANS}


def write(folder: Path = FOLDER) -> None:
    """Rewrite the files, and drop those whose plan is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    files = drawn()
    for stale in set(folder.glob("*.json")) - {folder / name for name in files}:
        stale.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def findings(folder: Path = FOLDER) -> list[str]:
    """Return what is wrong with the committed files; empty when nothing is."""
    files = drawn()
    held = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    found = [
        f"{name}: run `make dashboards`, it is not what the plans make"
        for name in sorted(files.keys() | held.keys())
        if files.get(name) != held.get(name)
    ]
    for name, text in sorted(held.items()):
        found += [f"{name}: {problem}" for problem in problems_of(json.loads(text))]
    return found


def main() -> int:
    """Run the chore named on the command line; 1 when it found something."""
    parser = argparse.ArgumentParser(prog="dashboards", description=__doc__)
    parser.add_argument("chore", choices=("write", "check"))
    if parser.parse_args().chore == "write":
        write()
        return 0
    found = findings()
    sys.stderr.write("".join(f"dashboards: {finding}\n" for finding in found))
    if not found:
        sys.stdout.write(f"dashboards: {len(PLANS)} are current and hold to Grafana's schema\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
