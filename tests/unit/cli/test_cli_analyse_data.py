"""`arb analyse-data` runs the scanner's own analysis in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

HOUR_MS = 3_600_000


def test_options_reach_the_module(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A recording gives one JSON line, with as many carries as were asked for."""
    rows = [f"{hour * HOUR_MS + 492_000 * HOUR_MS},FASTUSDT,0.0001" for hour in range(1, 97)]
    (tmp_path / "venue_funding_to_20260101.csv").write_text(
        "\n".join(["timestamp,symbol,funding_rate", *rows])
    )
    arguments = ["analyse-data", "--top", "1", "--json", "--data"]
    assert CliRunner().invoke(app, [*arguments, str(tmp_path)]).exit_code == 0
    (told,) = json.loads(capfd.readouterr().out)["recordings"]
    assert [row["symbol"] for row in told["top"]] == ["FASTUSDT"]
