"""Prometheus' own tools take the configuration, the rules and their tests."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROMTOOL, AMTOOL = shutil.which("promtool"), shutil.which("amtool")
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(240),
    pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (Debian package prometheus)"),
]


def ran(*command: str | Path) -> str:
    """Run a tool and return what it wrote; fails the test where the tool does."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("file", ["prometheus.yml", "prometheus-scale.yml"])
def test_the_configuration_is_one_that_prometheus_takes(file: str) -> None:
    """It finds its rules beside it."""
    output = ran(str(PROMTOOL), "check", "config", DEPLOY / "prometheus" / file)
    assert f"SUCCESS: {len(RULES)} rule files found" in output


def test_the_rules_are_sound_by_every_check_of_promtool() -> None:
    """Lint findings count as failures."""
    ran(str(PROMTOOL), "check", "rules", "--lint=all", "--lint-fatal", *RULES)


def test_every_alert_fires_and_stays_silent_where_it_must() -> None:
    """One case each way per alert, with labels and texts."""
    assert "SUCCESS" in ran(str(PROMTOOL), "test", "rules", *TESTS)


def test_a_broken_rule_makes_the_tests_fail(tmp_path: Path) -> None:
    """The tests do test: a threshold that is off is noticed."""
    shutil.copytree(DEPLOY / "prometheus", tmp_path / "prometheus")
    rules = tmp_path / "prometheus" / "rules" / "alerts.yml"
    text = rules.read_text(encoding="utf-8")
    broken = text.replace("opensqt_engine_margin_ratio >= 0.8", "opensqt_engine_margin_ratio >= 8")
    assert broken != text
    rules.write_text(broken, encoding="utf-8")
    tests = tmp_path / "prometheus" / "tests" / "alerts.yml"
    head, *cases = re.split(r"^(?=- name: )", tests.read_text(encoding="utf-8"), flags=re.M)
    # All of them take promtool seconds of work.
    own = [case for case in cases if case.startswith("- name: MarginCritical ")]
    tests.write_text(head + "".join(own), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", tests], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "MarginCritical" in done.stdout + done.stderr


@pytest.mark.skipif(AMTOOL is None, reason="needs amtool (Debian package prometheus-alertmanager)")
def test_alertmanager_takes_its_configuration() -> None:
    """Its routes lead to receivers that exist."""
    ran(str(AMTOOL), "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")
