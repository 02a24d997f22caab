"""The audit makes a journal's decisions again, and says which do not follow from their inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.engine import events as ev
from services.engine.decision_audit import main
from services.engine.sqlite_journal import SqliteJournal
from services.engine.strategy_plan import decide
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_replay import inputs_of, policy_id_of
from services.engine.strategy_words import DecisionAction, StrategyMode
from tests.support.strategy_cases import make_offer, situation
from tests.support.virtual_clock import START

POLICY = StrategyPolicy()
RULES = ev.StrategyRulesTaken(START, policy_id_of(POLICY), POLICY)
(_DECIDED,) = decide(situation(make_offer()), POLICY)
ENTER = _DECIDED.event(START, StrategyMode.AUTO, inputs_of(_DECIDED, RULES.policy_id))
REFUSAL = replace(
    ENTER, action=DecisionAction.PASS, reason="ENTRY_CHECKS_FAILED", text="why", inputs=None
)


@pytest.mark.parametrize(
    ("events", "code", "line"),
    [
        ((RULES, ENTER, REFUSAL), 0, "enter   TARGET                        1 follow, 0 differ"),
        ((RULES, replace(ENTER, reason="CAPACITY")), 1, "0 follow, 1 differ"),
        ((ENTER,), 1, "0 follow, 1 differ"),
    ],
    ids=["sound", "altered", "rules missing"],
)
async def test_audit_tells_what_follows(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    events: tuple[ev.Event, ...],
    code: int,
    line: str,
) -> None:
    """Each kind of decision has a line; one that does not follow makes the exit code 1."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    await journal.open()
    await journal.append(events)
    await journal.close()
    assert main(["--journal", str(path)]) == code
    assert line in capsys.readouterr().out


def test_unreadable_journal_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is missing or no journal ends with 2 and its name."""
    damaged = tmp_path / "other.db"
    damaged.write_text("no journal")
    for path in (tmp_path / "missing.db", damaged):
        assert main(["--journal", str(path)]) == 2
        assert path.name in capsys.readouterr().err
