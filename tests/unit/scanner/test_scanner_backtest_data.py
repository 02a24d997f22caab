"""Recorded histories are read whole or refused in words."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from services.scanner.backtest_data import RecordingError, canonical_symbol, read_recordings
from services.scanner.instruments import InstrumentKey, InstrumentKind
from tests.support.recorded_funding import START_MS, small_recording, write_rows

if TYPE_CHECKING:
    from pathlib import Path

NAME = "binance_funding_to_20260301.csv"
HEADER = "timestamp,symbol,funding_rate\n"
ROW = f"{START_MS},AUSDT,0.0001\n"


def test_files_of_one_end_are_one_recording(tmp_path: Path) -> None:
    """Venues captured together are compared together; captures apart stay apart."""
    data = small_recording(tmp_path)
    write_rows(data / "binance_usdm_fundingRate_9sym_to_20260101.csv", [(START_MS, "AUSDT", 0.0)])
    (data / "notes.json").write_text("{}")
    first, second = read_recordings(tmp_path)
    assert (first.name, len(first.histories)) == ("20260101", 1)
    assert {key.venue for key in first.histories} == {"binance"}
    assert (second.name, len(second.files)) == ("20260301", 3)
    assert len(second.histories) == 8
    key = InstrumentKey("bybit", "ALPHAUSDC", InstrumentKind.PERPETUAL)
    assert second.histories[key].minutes.size == 50 * 6
    assert second.first_minute == START_MS // 60_000


def test_folder_of_funding_is_found(tmp_path: Path) -> None:
    """The directory above, with market data beside the histories, does as well."""
    small_recording(tmp_path / "funding")
    assert len(read_recordings(tmp_path)) == 1


@pytest.mark.parametrize(
    ("venue", "symbol", "expected"),
    [
        ("binance", "BTCUSDC", "BTCUSDC"),
        ("bybit", "BTCPERP", "BTCUSDC"),
        ("bybit", "BTCUSDT", "BTCUSDT"),
        ("hyperliquid", "BTC", "BTCUSDC"),
        ("hyperliquid_xyz", "xyz:AAPL", "AAPLUSDC"),
    ],
)
def test_symbols_are_those_the_scanner_pairs(venue: str, symbol: str, expected: str) -> None:
    """What settles in USDC pairs with what settles in USDC."""
    assert canonical_symbol(venue, symbol) == expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        (HEADER, "holds no row"),
        ("timestamp,symbol\n1,A\n", "line 1: no column funding_rate"),
        (HEADER + ROW + f"{START_MS},AUSDT\n", "line 3: 2 of 3 cells"),
        (HEADER + ROW + f"{START_MS},,0.1\n", "line 3"),
        (HEADER + "1767225600,AUSDT,0.1\n", "line 2: '1767225600' is no time"),
        (HEADER + "-1,AUSDT,0.1\n", "line 2: '-1' is no time"),
        (HEADER + ROW + f"{START_MS},AUSDT,nan\n", "line 3: 'nan' is no funding rate"),
        (HEADER + ROW + f"{START_MS},AUSDT,1_0\n", "line 3: '1_0' is no funding rate"),
        (HEADER + ROW + f"{START_MS},AUSDT,\n", "line 3: '' is no funding rate"),
    ],
)
def test_damaged_file_is_refused_with_its_line(tmp_path: Path, content: str, problem: str) -> None:
    """Figures from half a file would look like figures from all of it."""
    (tmp_path / NAME).write_text(content)
    with pytest.raises(RecordingError, match=NAME) as caught:
        read_recordings(tmp_path)
    assert problem in str(caught.value)


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    """A download cut short and a file that is no archive are named."""
    place = tmp_path / f"{NAME}.gz"
    for content in (gzip.compress((HEADER + ROW * 50).encode())[:-12], b"no archive", b"\xff"):
        place.write_bytes(content)
        with pytest.raises(RecordingError, match="cannot be read"):
            read_recordings(tmp_path)
    (tmp_path / NAME).write_bytes(HEADER.encode() + b"\xff\xfe")
    place.unlink()
    with pytest.raises(RecordingError, match="cannot be read"):
        read_recordings(tmp_path)


def test_directory_without_recordings_is_refused(tmp_path: Path) -> None:
    """The message says what a name looks like."""
    with pytest.raises(RecordingError, match=r"binance_funding_to_\d+"):
        read_recordings(tmp_path)
    with pytest.raises(RecordingError, match="not a directory"):
        read_recordings(tmp_path / "nowhere")
