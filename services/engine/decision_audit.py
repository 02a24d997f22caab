"""Make a journal's decisions again: `python -m services.engine.decision_audit --journal FILE`.

Reads beside a running engine. Ends with 1 when a decision does not follow from its inputs, with 2
when the journal cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.engine import events as ev
from services.engine.journal import JournalError
from services.engine.journal_file import read_events
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_replay import follows


# Mutable: it is counted up while the journal is gone through.
@dataclass(slots=True)
class Tally:
    """Decisions of one action and reason: how many follow, do not, and have no inputs."""

    follow: int = 0
    differ: list[ev.DecisionTaken] = field(default_factory=list)
    without: int = 0


def audit(events: Iterable[ev.Event]) -> dict[tuple[str, str], Tally]:
    """Return the tally of each action and reason; a decision whose rules are missing differs."""
    rules: dict[str, StrategyPolicy] = {}
    found: dict[tuple[str, str], Tally] = {}
    for event in events:
        if isinstance(event, ev.StrategyRulesTaken):
            rules[event.policy_id] = event.policy
        if not isinstance(event, ev.DecisionTaken):
            continue
        tally = found.setdefault((event.action.value, event.reason), Tally())
        if event.inputs is None:
            tally.without += 1
            continue
        policy = rules.get(event.inputs.policy_id)
        if policy is not None and follows(event, policy):
            tally.follow += 1
        else:
            tally.differ.append(event)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tallies; return the exit code."""
    parser = argparse.ArgumentParser(prog="decision_audit", description=__doc__)
    parser.add_argument("--journal", type=Path, required=True, help="the engine's journal file")
    path: Path = parser.parse_args(arguments).journal
    if not path.is_file():
        sys.stderr.write(f"decision_audit: {path} is no file\n")
        return 2
    try:
        found = audit(read_events(path))
    except JournalError as error:
        sys.stderr.write(f"decision_audit: {error.message}\n")
        return 2
    for (action, reason), tally in sorted(found.items()):
        text = f"{action:7} {reason:24} {tally.follow:6} follow, {len(tally.differ)} differ"
        sys.stdout.write(f"{text}, {tally.without} without inputs\n")
        for event in tally.differ:
            sys.stdout.write(f"  {event.at.isoformat()} {event.symbol} {event.position_id}\n")
    return 1 if any(tally.differ for tally in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
