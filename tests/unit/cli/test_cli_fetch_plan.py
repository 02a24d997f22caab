"""`arb fetch-plan` counts what scans would ask, in a process of its own."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cli.main import app
from services.scanner.fetch_plan import PROFILES
from services.scanner.fetch_plan_table import main


def test_options_reach_the_module(capfd: pytest.CaptureFixture[str]) -> None:
    """Every venue has its three scans in one JSON line, of the size that was asked for."""
    arguments = ["fetch-plan", "--symbols", "600", "--shortlist", "0", "--json"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    plans = json.loads(capfd.readouterr().out)["plans"]
    assert len(plans) == 3 * len(PROFILES)
    calls = {each["scan"]: each["call_count"] for each in plans if each["venue"] == "binanceusdm"}
    assert calls == {"first": 187, "after a settlement": 5, "between settlements": 4}


def test_table_has_a_line_a_scan(capsys: pytest.CaptureFixture[str]) -> None:
    """People read a head and one line for each venue and kind of scan, and below what the columns
    are and where calls grow with the number of perpetuals.
    """
    assert main(["--symbols", "20"]) == 0
    table, columns, growth = capsys.readouterr().out.split("\n\n")
    head, *rows = table.splitlines()
    assert len(rows) == 3 * len(PROFILES)
    assert [line.split()[0] for line in columns.splitlines()] == head.split()[2:]
    assert growth.startswith("bybit-linear, okx-swap, gate-swap, bitget-swap, hyperliquid\n")
