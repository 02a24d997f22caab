"""The scanner's analytics over recorded histories, against figures computed independently."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from services.scanner.analytics import FundingStatistics, analyse
from services.scanner.funding import FundingHistory, funding_history, settlements
from tests.support.funding_figures import figures
from tests.support.plain_funding import Row, plain_statistics

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).parent / "samples" / "funding_sample.json"
RATES = "funding/binance_usdm_fundingRate_539sym_to_20260320.csv"
# What the table says of the recording itself and not of its figures.
LABELS = {"dataset", "venue", "symbol", "split"}


@pytest.fixture(scope="module")
def recorded_data() -> Path:
    """Return the directory of recordings; skips with the reason where there is none."""
    place = Path(os.environ.get("OPENSQT_DATA", ROOT.parent / "shared" / "data"))
    if not (place / RATES).is_file():
        pytest.skip(f"no recorded market data at {place}; set OPENSQT_DATA")
    return place


@pytest.fixture(scope="module")
def recorded_rows(recorded_data: Path) -> dict[str, list[Row]]:
    """Return the settlements of all recorded perpetuals by symbol."""
    rows: dict[str, list[Row]] = defaultdict(list)
    with (recorded_data / RATES).open(newline="") as lines:
        for row in csv.DictReader(lines):
            rows[row["symbol"]].append((int(row["timestamp"]), Decimal(row["funding_rate"])))
    return rows


def history_of(rows: list[Row]) -> FundingHistory:
    """Return a history without the venue's word, as the reference was computed."""
    raw = settlements([time for time, _ in rows], [float(rate) for _, rate in rows])
    history = funding_history(raw, None)
    assert history is not None
    return history


def gaps_text(history: FundingHistory) -> str:
    """Return how often each spacing occurs, as the table writes it: `1:4|4:195`."""
    counts = Counter(round(hours) for hours in history.hours[1:].tolist())
    return "|".join(f"{hours}:{count}" for hours, count in sorted(counts.items()))


def compare(
    row: dict[str, str], history: FundingHistory, statistics: FundingStatistics
) -> set[str]:
    """Hold every column of the table against the scanner's figure; return the columns compared."""
    found = figures(statistics) | {
        "t_first": statistics.first_minute * 60_000,
        "t_last": statistics.last_minute * 60_000,
    }
    shared = (row.keys() - LABELS) & found.keys()
    for name in shared:
        # The table has twelve significant digits.
        wanted = pytest.approx(float(row[name]), rel=1e-11, abs=1e-15)
        assert found[name] == wanted, (row["symbol"], name)
    if "gaps_h" in row:
        assert gaps_text(history) == row["gaps_h"], row["symbol"]
        shared.add("gaps_h")
    return shared


@pytest.mark.recorded
def test_all_recorded_symbols_match_the_reference(
    recorded_data: Path, recorded_rows: dict[str, list[Row]]
) -> None:
    """Every column of all 310 recorded perpetuals matches the reference table."""
    with (recorded_data / "reference_metrics.csv").open(newline="") as lines:
        expected = list(csv.DictReader(lines))
    assert {row["symbol"] for row in expected} == recorded_rows.keys()
    assert len(expected) == 310
    histories = [history_of(recorded_rows[row["symbol"]]) for row in expected]
    for row, history, statistics in zip(expected, histories, analyse(histories), strict=True):
        assert compare(row, history, statistics) == row.keys() - LABELS


@pytest.mark.recorded
def test_all_recorded_symbols_match_the_plain_implementation(
    recorded_rows: dict[str, list[Row]],
) -> None:
    """Every figure of all 310 recorded perpetuals equals the plain Decimal one to 1e-12."""
    results = analyse([history_of(rows) for rows in recorded_rows.values()])
    for (symbol, rows), statistics in zip(recorded_rows.items(), results, strict=True):
        plain = plain_statistics(rows)
        assert plain is not None
        shown = figures(statistics)
        assert shown.keys() == plain.keys()
        for name, value in plain.items():
            assert value is not None
            wanted = pytest.approx(float(value), rel=1e-12, abs=1e-12)
            assert shown[name] == wanted, (symbol, name)


def test_sample_matches_figures_computed_apart() -> None:
    """The sample of the repository's own making matches the figures kept beside it."""
    sample = json.loads(SAMPLE.read_text(encoding="utf-8"))
    histories = [
        history_of(
            [
                (time, Decimal(str(rate)))
                for time, rate in zip(each["times_ms"], each["rates"], strict=True)
            ]
        )
        for each in sample["symbols"]
    ]
    results = zip(sample["symbols"], histories, analyse(histories), strict=True)
    for each, history, statistics in results:
        row = {"symbol": each["symbol"], **each["expected"]}
        assert compare(row, history, statistics) == each["expected"].keys()
