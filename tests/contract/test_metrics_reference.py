"""Metrics, rules, their tests and the runbook say the same of each other."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from cli.main import app
from scripts import metrics_reference
from services.common.errors import Code
from services.connector.venue import RequestOutcome
from services.engine import guard_delta
from services.engine.risk_limits import RiskLimits
from services.engine.views import EngineMode

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


def series_of(name: str) -> dict[str, set[str]]:
    """Return the series a test of a rule is given, each with its labels."""
    case = RULE_TESTS.split(f"- name: {name}\n")[1].split("\n- name: ")[0]
    found = re.findall(r"- series: (\w+)\{(.*)\}$", case, re.MULTILINE)
    return {series: set(re.findall(r'(\w+)="', labels)) for series, labels in found}


def test_tests_of_rules_are_given_what_the_services_tell() -> None:
    """Name and labels: a rule tried on a series that nobody tells would prove nothing."""
    target = {"job", "instance"}
    told = {"up": target, "process_start_time_seconds": target}
    metrics = metrics_reference.find_metrics()
    for service in ("connector", "engine", "scanner"):
        venue = {"exchange"} if service == "connector" else set()
        for metric in metrics:
            full = metric.name.replace("<service>", service)
            if full.startswith(f"opensqt_{service}_"):
                told[full] = target | venue | set(metric.labels)
    for name in re.findall(r"^- name: (.+)$", RULE_TESTS, re.MULTILINE):
        found = series_of(name)
        assert found, name
        assert {series: told.get(series) for series in found} == found, name


@pytest.mark.parametrize("name", [row[0] for row in ALERTS])
def test_an_alert_stays_silent_over_all_that_makes_it_fire(name: str) -> None:
    """Silent for want of a series is no proof."""
    assert series_of(f"{name} fires").keys() <= series_of(f"{name} does not fire").keys()


def test_rules_choose_by_values_that_the_services_tell() -> None:
    """A renamed mode, guard or outcome would silence its alert as a renamed metric would."""
    prometheus = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    told = {
        "code": {code.value for code in Code},
        "guard": {guard_delta.NAME},
        "job": set(re.findall(r"job_name: (\w+)", prometheus)),
        "limit": {field.name for field in fields(RiskLimits)},
        "mode": {mode.value for mode in EngineMode},
        "outcome": {outcome.value for outcome in RequestOutcome},
    }
    chosen = re.findall(r'(?<!_)\b(\w+)=~?"([^"]+)"', re.sub(r"__name__[^,}]*", "", RULES))
    assert {label for label, _ in chosen} == told.keys()
    wrong = [(label, one) for label, few in chosen for one in few.split("|")]
    assert [(label, one) for label, one in wrong if one not in told[label]] == []


def test_the_runbook_has_no_entry_without_an_alert() -> None:
    """An entry that nothing leads to is out of date."""
    assert set(re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)) == {row[0] for row in ALERTS}


def test_the_runbook_names_what_there_is() -> None:
    """At night nobody looks for a metric, a log line or a command that is called otherwise."""
    known = {metric.name for metric in metrics_reference.find_metrics()}
    assert set(re.findall(r"opensqt_\w+", RUNBOOK)) - known == set()
    lines = "".join(re.findall(r"log lines? (`\w+`(?:,? (?:and )?`\w+`)*)", RUNBOOK))
    source = "".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))
    told = set(re.findall(r'_log(?:ger)?\.\w+\(\s*"(\w+)"', source))
    named = set(re.findall(r"`(\w+)`", lines))
    assert named - told == set()
    assert "order_stream_down" in named
    commands = typer.main.get_command(app)
    assert isinstance(commands, TyperGroup)
    for name, rest in re.findall(r"`arb ([\w-]+)([^`]*)`", RUNBOOK):
        options = {flag for option in commands.commands[name].params for flag in option.opts}
        assert set(re.findall(r"--[\w-]+", rest)) - options == set(), name


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
