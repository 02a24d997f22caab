"""Readers of a directory of recorded market data: CSV and JSON files, some of them gzipped.

A file is found by the beginning of its name, because the names end in the day of the capture.
Only the funding file must be there; everything else has a substitute.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FUNDING: Final = "funding/binance_usdm_fundingRate_"
PERPETUAL_INFO: Final = "instruments/binance_usdm_exchangeInfo_"
FUNDING_INFO: Final = "instruments/binance_usdm_fundingInfo_"
SPOT_INFO: Final = "instruments/binance_spot_exchangeInfo_"
MARGIN_PAIRS: Final = "instruments/binance_margin_allPairs_"
SPOT_BOOK_TICKER: Final = "market/binance_spot_bookTicker_"
SPOT_TICKER_PRICE: Final = "market/binance_spot_ticker_price_"
SPOT_DAY_TICKER: Final = "market/binance_spot_ticker24hr_"
PERPETUAL_DAY_BARS: Final = "market/binance_usdm_perp_klines_1d"
PERPETUAL_HOUR_BARS: Final = "market/binance_usdm_perp_klines_1h"
SPOT_DAY_BARS: Final = "market/binance_spot_klines_1d"
# With the dot: another capture of the same candles begins alike.
SPOT_HOUR_BARS: Final = "market/binance_spot_klines_1h."
OPEN_INTEREST: Final = "market/binance_usdm_open_interest_4h"

_PATTERN: Final = r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE]-?[0-9]{1,2})?"
_NUMBER: Final = re.compile(_PATTERN, re.ASCII)
_NUMBERS: Final = re.compile(f"{_PATTERN}(,{_PATTERN})*", re.ASCII)


class RecordingsError(ValueError):
    """The directory of recordings lacks its funding file, or a file is not what its name says."""


def decimal_of(text: object) -> Decimal:
    """Return the number in ``text``; raise RecordingsError when it is not a plain one."""
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise RecordingsError(f"not a number in the recordings: {text!r}")
    return Decimal(text)


def check_numbers(rows: Sequence[Sequence[str]]) -> None:
    """Raise RecordingsError when a cell of ``rows`` is not a plain number."""
    for cells in rows:
        # One match a row: these tables have hundreds of thousands of cells.
        if not _NUMBERS.fullmatch(",".join(cells)):
            raise RecordingsError(f"not numbers in the recordings: {cells!r}")


def number_of(text: object) -> float:
    """Return the number in ``text`` as a float; raise RecordingsError as ``decimal_of`` does."""
    return float(decimal_of(text))


def millis_of(text: str) -> int:
    """Return the milliseconds in ``text``; raise RecordingsError when they are not digits."""
    # isdigit alone takes digits of other scripts, and superscripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise RecordingsError(f"not a time in the recordings: {text!r}")
    return int(text)


class Table:
    """A CSV file without quotes, kept as lines by symbol, split when a symbol is asked for."""

    def __init__(self, text: str, symbol_column: int) -> None:
        header, _, body = text.partition("\n")
        self._columns = {name: place for place, name in enumerate(header.strip().split(","))}
        self._lines: dict[str, list[str]] = defaultdict(list)
        for line in body.splitlines():
            parts = line.split(",", symbol_column + 1)
            if len(parts) <= symbol_column:
                raise RecordingsError(f"a row without a symbol: {line!r}")
            self._lines[parts[symbol_column]].append(line)

    @property
    def symbols(self) -> Sequence[str]:
        """Return the symbols in the order of the file."""
        return list(self._lines)

    def rows(self, symbol: str, *columns: str) -> list[list[str]]:
        """Return the named columns of a symbol's rows; empty for an unknown symbol."""
        lines = self._lines.get(symbol, ())
        if not lines:
            return []
        missing = [name for name in columns if name not in self._columns]
        if missing:
            raise RecordingsError(f"a table without the columns {', '.join(missing)}")
        places = [self._columns[name] for name in columns]
        width = len(self._columns)
        split = [line.split(",") for line in lines]
        if any(len(cells) != width for cells in split):
            raise RecordingsError(f"a row of {symbol} has not the {width} columns of its table")
        return [[cells[place] for place in places] for cells in split]

    def has(self, column: str) -> bool:
        """Tell whether the table has a column."""
        return column in self._columns


class Recordings:
    """A directory of recordings, read file by file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, beginning: str) -> list[Path]:
        """Return the files whose path below the directory begins so, sorted by name."""
        folder, _, name = beginning.rpartition("/")
        return sorted((self._directory / folder).glob(f"{name}*"))

    def table(self, beginning: str) -> Table:
        """Return the last file that begins so as a table; an empty table when there is none.

        Raises RecordingsError when it is not text.
        """
        found = self.find(beginning)
        if not found:
            return Table("timestamp,symbol\n", 1)
        text = _read(found[-1])
        return Table(text, 0 if text.startswith("symbol,") else 1)

    def documents(self, beginning: str) -> list[Any]:
        """Return every JSON file that begins so, parsed, sorted by name.

        Raises RecordingsError when one is not JSON.
        """
        try:
            return [json.loads(_read(path)) for path in self.find(beginning)]
        except json.JSONDecodeError as error:
            raise RecordingsError(f"not JSON: {beginning}*: {error}") from error

    def by_symbol(self, beginning: str, inside: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the entries of lists of objects by their symbol; of several files the last wins.

        With ``inside`` the list is that member of the file's object.
        """
        found: dict[str, dict[str, Any]] = {}
        for document in self.documents(beginning):
            entries = document.get(inside, ()) if inside is not None else document
            for entry in entries:
                found[entry["symbol"]] = entry
        return found


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordingsError(f"cannot read {path.name}: {error}") from error
