"""Metrics, rules, their tests and the runbook say the same of each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import metrics_reference

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = "".join(path.read_text() for path in sorted((PROMETHEUS / "rules").glob("*.yml")))
RULE_TESTS = (PROMETHEUS / "tests" / "alerts.yml").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
ALERTS = metrics_reference.alerts()


def test_the_page_is_what_the_code_says() -> None:
    """A new metric shows there; `make reference` writes it."""
    assert metrics_reference.PAGE.read_text(encoding="utf-8") == metrics_reference.page()


def test_rules_ask_for_metrics_that_exist() -> None:
    """A renamed metric would silence its alert without a word."""
    metrics = metrics_reference.find_metrics()
    known = {metric.name for metric in metrics}
    known |= {f"{metric.name}_bucket" for metric in metrics if metric.kind == "histogram"}
    recorded = metrics_reference.recorded()
    text = re.sub(r"(- record: .*|__name__.*)", "", RULES)
    for name in recorded:
        text = text.replace(name, "")
    asked = set(re.findall(r"opensqt_(?:connector|engine|scanner)_[a-z0-9_]+", text))
    assert asked - known == set()
    assert len(asked) > 25


@pytest.mark.parametrize(("name", "severity", "summary"), ALERTS)
def test_an_alert_has_its_runbook_entry_and_two_tests(
    name: str, severity: str, summary: str
) -> None:
    """What it means, where to look, what to do; that it fires and that it does not."""
    assert severity in {"warning", "critical"}, summary
    entry = RUNBOOK.split(f"\n### {name}\n")[1].split("\n### ")[0]
    assert all(word in entry for word in ("**Means**", "**Look**", "**Do**"))
    assert f"runbook_url: docs/runbook.md#{name.lower()}\n" in RULES
    assert f"- name: {name} fires\n" in RULE_TESTS
    assert f"- name: {name} does not fire\n" in RULE_TESTS


def test_the_runbook_has_no_entry_without_an_alert() -> None:
    """An entry that nothing leads to is out of date."""
    assert set(re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)) == {row[0] for row in ALERTS}


def test_a_label_without_a_bound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can add a label of unbounded values in passing."""
    folder = tmp_path / "services" / "engine"
    folder.mkdir(parents=True)
    made = 'metrics.counter("orders", "Orders.", ("client_order_id",))\n'
    (folder / "metrics.py").write_text(made, encoding="utf-8")
    monkeypatch.setattr(metrics_reference, "ROOT", tmp_path)
    with pytest.raises(metrics_reference.UnknownMetricError, match="client_order_id has no bound"):
        metrics_reference.find_metrics()
