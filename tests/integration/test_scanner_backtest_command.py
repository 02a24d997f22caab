"""`arb backtest-ranking` from files to a report, a plot and a line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from services.scanner.backtest import main
from services.scanner.backtest_data import read_recordings
from services.scanner.backtest_market import MarketAssumptions, judged_pairs
from services.scanner.funding import Settlements
from services.scanner.rules import ScanRules
from tests.support.recorded_funding import small_recording

ROOT = Path(__file__).resolve().parents[2]


def test_report_ends_in_one_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables for people, the same figures for programs, a plot by suffix."""
    small_recording(tmp_path / "data")
    plot = tmp_path / "told.svg"
    assert main(["--data", str(tmp_path / "data"), "--top", "3", "--plot", str(plot)]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = json.loads(lines[-1])
    assert told["plan"]["neutral_factors"] == ["liquidity", "basis"]
    [recording] = told["recordings"]
    assert len(recording["figures"]) == 15
    assert {each["horizon_days"] for each in recording["figures"]} == {1, 7, 30}
    assert any("survivorship" in each for each in recording["caveats"])
    assert any("naive_8h_apr" in line for line in lines)
    assert "<svg" in plot.read_text()


def test_figures_repeat_for_the_same_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs print the same line; settings of the scanner change it and draw a PNG."""
    small_recording(tmp_path)
    config = tmp_path / "scanner.toml"
    config.write_text(
        '[[venues]]\nname = "p"\nkind = "perpetual"\naddress = "127.0.0.1:1"\n'
        "[score.weights]\ncarry = 1.0\n"
    )
    arguments = ["--data", str(tmp_path), "--horizons", "7", "--json"]
    plot = tmp_path / "told.png"
    other_weights = [*arguments, "--scanner-config", str(config), "--plot", str(plot)]
    assert [main(arguments), main(arguments), main(other_weights)] == [0, 0, 0]
    assert plot.read_bytes().startswith(b"\x89PNG")
    first, second, other = capsys.readouterr().out.splitlines()
    assert first == second
    assert json.loads(other)["plan"]["weights"]["carry"] == 1


def test_unusable_input_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory without recordings, one too short, a wrong list and a wrong configuration."""
    assert main(["--data", str(tmp_path)]) == 2
    small_recording(tmp_path, days=2)
    assert main(["--data", str(tmp_path)]) == 2
    assert main(["--data", str(tmp_path), "--spot", str(tmp_path / "none")]) == 2
    (tmp_path / "spot.json").write_text("[1]")
    assert main(["--data", str(tmp_path), "--spot", str(tmp_path / "spot.json")]) == 2
    (tmp_path / "scanner.toml").write_text("[score]\ncarry_half_apr = -1\n")
    config = str(tmp_path / "scanner.toml")
    assert main(["--data", str(tmp_path), "--scanner-config", config]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 6
    assert "holds no recording" in told[0]
    assert "20260301 is too short" in told[1]
    assert "long enough" in told[2]
    assert "--spot: cannot read" in told[3]
    assert "carry_half_apr" in told[5]


@pytest.mark.parametrize(
    "option",
    ["--top=0", "--horizons=1,x", "--plot=a.pdf", "--plot=no/a.png", "--spot-fee=1", "--seed=-1"],
)
def test_wrong_option_is_refused_before_reading(option: str, tmp_path: Path) -> None:
    """Nobody waits for a walk to learn of a wrong suffix."""
    with pytest.raises(SystemExit) as caught:
        main(["--data", str(tmp_path), option])
    assert caught.value.code == 2


def test_arb_runs_the_backtest(tmp_path: Path) -> None:
    """The command of the client hands its options on and returns the exit code."""
    small_recording(tmp_path / "data")
    arguments = ["backtest-ranking", "--data", "data", "--horizons", "7", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    [recording] = json.loads(done.stdout)["recordings"]
    assert {each["horizon_days"] for each in recording["figures"]} == {7}


@pytest.mark.recorded
def test_recorded_year_is_read_and_ranked() -> None:
    """310 and 90 perpetuals; in mid-March both have pairs to publish, whatever came after."""
    place = Path(os.environ.get("OPENSQT_DATA", ROOT.parent / "shared" / "data"))
    if not (place / "funding").is_dir():
        pytest.skip(f"no recorded market data at {place}; set OPENSQT_DATA")
    snapshot, year = read_recordings(place)
    assert (len(snapshot.histories), len(year.histories)) == (310, 90)
    # 2026-03-15 00:30 UTC.
    minute = 29_558_910
    for recording in (snapshot, year):
        told = judged_pairs(recording, minute, ScanRules(), MarketAssumptions())
        assert any(each.score for each in told)
        past = {
            key: Settlements(rows.minutes[known], rows.rates[known])
            for key, rows in recording.histories.items()
            for known in [rows.minutes <= minute]
        }
        cut = replace(recording, histories=past)
        assert judged_pairs(cut, minute, ScanRules(), MarketAssumptions()) == told
