"""The `arb` command as a person meets it: help, wrong input, dead services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app

COMMANDS = (
    *("scan", "watch", "workers", "enter", "exit", "reduce", "close-all", "positions", "halt"),
    *("doctor", "backtest-ranking"),
)


def _arb(
    directory: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _refused(*arguments: str) -> Result:
    """Run a command that is refused before it begins, which needs no process of its own."""
    return CliRunner().invoke(app, arguments)


def _config(directory: Path) -> Path:
    # Port 1 of loopback answers nobody.
    path = directory / "arb.toml"
    path.write_text('[engine]\naddress = "127.0.0.1:1"\n[scanner]\naddress = "127.0.0.1:1"\n')
    return path


def test_help_lists_every_command(tmp_path: Path) -> None:
    """A newcomer sees what there is."""
    result = _arb(tmp_path, "--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", ["scan", "positions"])
def test_a_dead_service_is_one_sentence_with_a_hint(tmp_path: Path, command: str) -> None:
    """No stack trace, an exit code, and what to look at."""
    _config(tmp_path)
    result = _arb(tmp_path, command)
    assert result.returncode == 1
    assert "SERVICE_UNREACHABLE" in result.stderr
    # A handshake that fails is no answer either, and its own words are for programmers.
    assert "tls" in result.stderr
    assert "arb.toml" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_a_dead_service_in_json_is_an_error_object(tmp_path: Path) -> None:
    """Programs branch on the reason."""
    _config(tmp_path)
    result = _arb(tmp_path, "positions", "--json")
    assert json.loads(result.stdout)["error"]["reason"] == "SERVICE_UNREACHABLE"


def test_wrong_settings_are_all_told_at_once(tmp_path: Path) -> None:
    """Each with its path; no stack trace."""
    (tmp_path / "arb.toml").write_text('[engine]\nadress = "x"\n[nonsense]\n')
    result = _arb(tmp_path, "positions")
    assert result.returncode == 2
    assert "adress" in result.stderr
    assert "nonsense" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("figure", ["NaN", "1e5", "1_000", "٣", ""])
def test_a_figure_that_is_no_plain_decimal_is_refused_before_anything(figure: str) -> None:
    """The option is named; nothing is asked of any service."""
    result = _refused("enter", "some-id", "--yes", "--notional", figure)
    assert result.exit_code == 2
    assert "--notional" in result.stderr


@pytest.mark.parametrize("symbol", ["btcusdt", "BTC/USDT", "BTC USDT", ""])
def test_a_symbol_that_can_match_nothing_is_refused(symbol: str) -> None:
    """It would look as if nothing qualified."""
    result = _refused("scan", "--symbol", symbol)
    assert result.exit_code == 2
    assert "as BTCUSDT" in result.stderr


def test_json_asks_nobody() -> None:
    """Without --yes a program's entry is refused, not left waiting for an answer."""
    result = _refused("enter", "some-id", "--notional", "10", "--json")
    assert result.exit_code == 2
    assert "--yes" in result.stderr


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    """`OPENSQT_ARB__ENGINE__ADDRESS` decides."""
    _config(tmp_path)
    result = _arb(
        tmp_path, "positions", environment={"OPENSQT_ARB__ENGINE__ADDRESS": "not an address"}
    )
    assert result.returncode == 2
    assert "engine.address" in result.stderr


def test_a_change_nobody_answered_says_how_to_repeat_it_safely(tmp_path: Path) -> None:
    """The exit code is "unknown", and the same request id makes a repeat harmless."""
    _config(tmp_path)
    name = "00000000-0000-4000-8000-000000000001"
    result = _arb(tmp_path, "halt", "--reason", "test", "--request-id", name)
    assert result.returncode == 3
    assert name in result.stderr
