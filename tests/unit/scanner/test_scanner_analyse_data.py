"""The offline analysis of recorded histories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.scanner.analyse_data import main

HOUR_MS = 3_600_000
START = 492_000 * HOUR_MS


def recording(place: Path) -> Path:
    """Write a recording of an hourly, an eight-hourly and a stuck perpetual; return its place."""
    lines = ["timestamp,symbol,funding_rate"]
    for symbol, hours, rate in (("FASTUSDT", 1, 0.0001), ("SLOWUSDT", 8, -0.0002)):
        lines += [
            f"{START + step * hours * HOUR_MS},{symbol},{rate}"
            for step in range(1, 96 // hours + 1)
        ]
    lines += [f"{START + step * 8 * HOUR_MS},STUCKUSDT,0" for step in range(-3, 13)]
    (place / "venue_funding_to_20260101.csv").write_text("\n".join(lines) + "\n")
    return place


def analysed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, what it printed and what it complained of."""
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_true_and_naive_carries_stand_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hourly one leads with the true APR, which the naive one puts behind the other."""
    code, out, _ = analysed(capsys, "--data", str(recording(tmp_path)), "--json")
    assert code == 0
    (told,) = json.loads(out)["recordings"]
    assert [row["symbol"] for row in told["top"]] == ["FASTUSDT", "SLOWUSDT"]
    fast = told["top"][0]
    assert fast["annualized_rate"] == pytest.approx(0.876)
    assert fast["naive_annualized_rate"] == pytest.approx(0.1095)
    assert fast["naive_place"] == 2
    assert [window["is_partial"] for window in fast["windows"]] == [False, False, True, True]
    assert told["interval_counts"] == {"1": 1, "8": 1}
    assert told["naive_wrong_count"] == 1


def test_what_is_left_out_is_named_with_its_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reasons stand in the text, and the JSON object is the last line."""
    code, out, _ = analysed(capsys, "--data", str(recording(tmp_path)), "--top", "1")
    assert code == 0
    assert "over the hours covered, 30 days at most, before costs; above zero a short leg" in out
    assert "venue STUCKUSDT  ZERO_RUN: 16 settlements of exactly zero in a row" in out
    (told,) = json.loads(out.splitlines()[-1])["recordings"]
    assert told["exclusion_counts"] == {"ZERO_RUN": 1}
    assert len(told["top"]) == 1


def test_unusable_directory_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed but the problem."""
    code, out, problem = analysed(capsys, "--data", str(tmp_path / "none"))
    assert (code, out) == (2, "")
    assert "is not a directory" in problem
