"""The scanner's analytics over recorded histories, against figures computed independently."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

from services.scanner.analytics import analyse
from services.scanner.funding import FundingHistory, funding_history, settlements
from tests.support.funding_figures import figures

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).parent / "samples" / "funding_sample.json"
RATES = "funding/binance_usdm_fundingRate_539sym_to_20260320.csv"


def recorded_data() -> Path:
    """Return the directory of recordings; skips with the reason where there is none."""
    place = Path(os.environ.get("OPENSQT_DATA", ROOT.parent / "shared" / "data"))
    if not (place / RATES).is_file():
        pytest.skip(f"no recorded market data at {place}; set OPENSQT_DATA")
    return place


def history_of(times: list[int], rates: list[float]) -> FundingHistory:
    """Return a history without the venue's word, as the reference was computed."""
    history = funding_history(settlements(times, rates), None)
    assert history is not None
    return history


def compare(symbol: str, found: dict[str, float], expected: dict[str, str]) -> int:
    """Hold every column the table has against the scanner's figure; return how many there were."""
    shared = [name for name in expected if name in found]
    for name in shared:
        assert found[name] == pytest.approx(float(expected[name]), rel=1e-9, abs=1e-9), (
            symbol,
            name,
        )
    return len(shared)


@pytest.mark.recorded
def test_all_recorded_symbols_match_the_reference() -> None:
    """All figures of all 310 recorded perpetuals match the reference table to 1e-9."""
    data = recorded_data()
    rows: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    with (data / RATES).open(newline="") as lines:
        for row in csv.DictReader(lines):
            times, rates = rows[row["symbol"]]
            times.append(int(row["timestamp"]))
            rates.append(float(row["funding_rate"]))
    with (data / "reference_metrics.csv").open(newline="") as lines:
        expected = {row["symbol"]: row for row in csv.DictReader(lines)}
    assert len(expected) == 310
    results = analyse([history_of(*rows[symbol]) for symbol in expected])
    for (symbol, row), statistics in zip(expected.items(), results, strict=True):
        assert compare(symbol, figures(statistics), row) == 32


def test_sample_matches_figures_computed_apart() -> None:
    """The sample of the repository's own making matches the figures kept beside it."""
    sample = json.loads(SAMPLE.read_text(encoding="utf-8"))
    histories = [history_of(each["times_ms"], each["rates"]) for each in sample["symbols"]]
    for each, statistics in zip(sample["symbols"], analyse(histories), strict=True):
        assert compare(each["symbol"], figures(statistics), each["expected"]) == 36
