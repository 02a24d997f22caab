"""Recordings of funding in small, made up by formula, as files of the shape that is recorded."""

from __future__ import annotations

import gzip
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

HOUR_MS = 3_600_000
# 2026-01-01 00:00 UTC.
START_MS = 1_767_225_600_000

Row = tuple[int, str, float]


def settlement_rows(
    symbol: str, days: float, interval_hours: int, rate: Callable[[int], float]
) -> list[Row]:
    """Return settlements from the start on, a few ms late each; `rate` takes the row's number."""
    count = int(days * 24 / interval_hours)
    return [
        (START_MS + index * interval_hours * HOUR_MS + index % 7, symbol, rate(index))
        for index in range(count)
    ]


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """Write rows as CSV, gzipped where the name ends in .gz."""
    lines = ["timestamp,symbol,funding_rate"]
    lines += [f"{time},{symbol},{rate:.10f}" for time, symbol, rate in rows]
    text = "\n".join(lines) + "\n"
    packed = text.encode()
    path.write_bytes(gzip.compress(packed) if path.suffix == ".gz" else packed)
    return path


def small_recording(directory: Path, days: float = 50) -> Path:
    """Write a recording of three venues with intervals of 8, 4 and 1 hours; return its directory.

    ALPHA pays steadily, BETA in waves, GAMMA against a short; ALPHA and BETA have USDC twins.
    """
    directory.mkdir(exist_ok=True)
    end = "_to_20260301.csv"
    write_rows(
        directory / f"binance_funding{end}.gz",
        settlement_rows("ALPHAUSDT", days, 8, lambda at: 3e-4)
        + settlement_rows("BETAUSDT", days, 8, lambda at: 4e-4 * math.sin(at / 9))
        + settlement_rows("GAMMAUSDT", days, 4, lambda at: -1e-4)
        + settlement_rows("ALPHAUSDC", days, 8, lambda at: 1e-4 + 1e-5 * (at % 3)),
    )
    write_rows(
        directory / f"bybit_funding{end}",
        settlement_rows("ALPHAPERP", days, 4, lambda at: 5e-4)
        + settlement_rows("BETAPERP", days, 8, lambda at: 2e-5 * (at % 5)),
    )
    write_rows(
        directory / f"hyperliquid_funding{end}",
        settlement_rows("ALPHA", days, 1, lambda at: 1.25e-5)
        + settlement_rows("BETA", days, 1, lambda at: 2e-5 * math.cos(at / 40)),
    )
    return directory
