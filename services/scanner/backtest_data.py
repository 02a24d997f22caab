"""Recorded funding histories from files, for the backtest.

A file is CSV with the columns `timestamp` (ms since 1970), `symbol` and `funding_rate` (fraction a
settlement), gzipped or not, named `VENUE_funding…_to_YYYYMMDD.csv`. Files of one end date are one
recording: what was captured together is compared together.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
import zlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from services.scanner.funding import Settlements, settlements
from services.scanner.instruments import InstrumentKey, InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_ROWS = 5_000_000
_COLUMNS = ("timestamp", "symbol", "funding_rate")
_FILE = re.compile(r"(?P<venue>[a-z0-9_]+?)_funding\w*_to_(?P<end>\d{8})\.csv(\.gz)?")
# 2010 to 2100 in milliseconds: a time in seconds or microseconds falls outside.
_FIRST_MS, _LAST_MS = 1_262_304_000_000, 4_102_444_800_000


class RecordingError(Exception):
    """Recordings that are missing or damaged; the text names the file and the line."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Histories captured together; `name` is the end date its files bear, YYYYMMDD."""

    name: str
    files: tuple[str, ...]
    histories: Mapping[InstrumentKey, Settlements]

    @property
    def first_minute(self) -> int:
        """Earliest settlement, in minutes since 1970."""
        return min(int(rows.minutes[0]) for rows in self.histories.values())

    @property
    def last_minute(self) -> int:
        """Latest settlement, in minutes since 1970."""
        return max(int(rows.minutes[-1]) for rows in self.histories.values())


def read_recordings(directory: Path) -> tuple[Recording, ...]:
    """Read all recordings in a directory or in its folder `funding`, by name.

    Raises RecordingError for a directory without any, an empty file, and the first damaged row:
    figures from half a file would look like figures from all of it.
    """
    if not directory.is_dir():
        raise RecordingError(f"{directory} is not a directory")
    files = _files(directory) or _files(directory / "funding")
    if not files:
        raise RecordingError(
            f"{directory} holds no recording; a name is like binance_funding_to_20260101.csv.gz"
        )
    recordings = []
    for end in sorted({each[1] for each in files}):
        group = [(venue, path) for venue, date, path in files if date == end]
        rows = _Rows()
        for venue, path in group:
            _read_file(path, venue, rows)
        names = tuple(path.name for _, path in group)
        recordings.append(Recording(end, names, rows.histories()))
    return tuple(recordings)


def canonical_symbol(venue: str, symbol: str) -> str:
    """Return the symbol as the scanner pairs it: base and quote asset, the same on every venue.

    Bybit's `BTCPERP` and Hyperliquid's `BTC` (or `xyz:AAPL`) are settled in USDC.
    """
    if venue == "bybit" and symbol.endswith("PERP"):
        return symbol.removesuffix("PERP") + "USDC"
    if venue.startswith("hyperliquid"):
        return symbol.rpartition(":")[2] + "USDC"
    return symbol


class _Rows:
    """Rows gathered by instrument until all files are read."""

    def __init__(self) -> None:
        self._times: defaultdict[InstrumentKey, list[int]] = defaultdict(list)
        self._rates: defaultdict[InstrumentKey, list[float]] = defaultdict(list)
        self.count = 0

    def add(self, key: InstrumentKey, time_ms: int, rate: float) -> None:
        self._times[key].append(time_ms)
        self._rates[key].append(rate)
        self.count += 1

    def histories(self) -> Mapping[InstrumentKey, Settlements]:
        return {key: settlements(self._times[key], self._rates[key]) for key in sorted(self._times)}


def _files(directory: Path) -> list[tuple[str, str, Path]]:
    if not directory.is_dir():
        return []
    found = []
    for path in sorted(directory.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is not None:
            # Of Binance's markets only the USDⓈ-margined one has perpetuals that are paired here.
            found.append((match["venue"].removesuffix("_usdm"), match["end"], path))
    return found


def _read_file(path: Path, venue: str, rows: _Rows) -> None:
    before = rows.count
    keys: dict[str, InstrumentKey] = {}
    for line, (time_text, symbol, rate_text) in _cells(path):
        key = keys.get(symbol)
        if key is None:
            name = canonical_symbol(venue, symbol)
            key = keys[symbol] = InstrumentKey(venue, name, InstrumentKind.PERPETUAL)
        try:
            time_ms, rate = _time(time_text), _rate(rate_text)
        except ValueError as error:
            raise RecordingError(f"{path.name}, line {line}: {error}") from None
        rows.add(key, time_ms, rate)
        if rows.count > MAX_ROWS:
            raise RecordingError(f"{path.name}: over {MAX_ROWS} rows in one recording")
    if rows.count == before:
        raise RecordingError(f"{path.name} holds no row")


def _cells(path: Path) -> Iterator[tuple[int, tuple[str, str, str]]]:
    try:
        with _opened(path) as text:
            yield from _columns(path, csv.reader(text))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path.name} cannot be read: {error}") from None


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _columns(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, tuple[str, str, str]]]:
    header = next(reader, None)
    if header is None:
        raise RecordingError(f"{path.name} is empty")
    lacking = [name for name in _COLUMNS if name not in header]
    if lacking:
        raise RecordingError(f"{path.name}, line 1: no column {', '.join(lacking)}")
    time, symbol, rate = (header.index(name) for name in _COLUMNS)
    for line, row in enumerate(reader, start=2):
        if len(row) != len(header) or not row[symbol]:
            raise RecordingError(f"{path.name}, line {line}: {len(row)} of {len(header)} cells")
        yield line, (row[time], row[symbol], row[rate])


def _time(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not _FIRST_MS <= int(text) < _LAST_MS:
        raise ValueError(f"{text!r} is no time in milliseconds")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    # float() takes nan, inf and 1_000, none of which a venue writes.
    if not math.isfinite(rate) or "_" in text:
        raise ValueError(f"{text!r} is no funding rate")
    return rate
