"""Recordings of a small market of known rates: two that pay and then stop, one that never pays.

In the layout that the simulator reads (see services.simulator.market.recordings).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

START = datetime(2026, 3, 20, 0, 10, tzinfo=UTC)
"""Market time at which the simulator begins."""
INTERVAL = timedelta(hours=8)
FLIPS, FADES, CALM = "FLIPUSDT", "FADEUSDT", "CALMUSDT"
_MIDNIGHT = START.replace(minute=0)
_PRICES = {FLIPS: "20.00", FADES: "3.000", CALM: "150.0"}
_HISTORY, _FUTURE = 96, 60
# Settlements after the start until which the good rate is paid, then the rate before and after.
_TURNS = {
    FLIPS: (6, "0.0005", "-0.0006"),
    FADES: (9, "0.0004", "0.00001"),
    CALM: (0, "0.00004", "0.00004"),
}


def rate_at(symbol: str, settlement: int) -> Decimal:
    """Return the rate of a settlement, counted from the first after the start as 1."""
    last_good, before, after = _TURNS[symbol]
    return Decimal(before if settlement <= last_good else after)


def write_fading_market(root: Path, turns: Mapping[str, int] | None = None) -> None:
    """Write the recordings; `turns` are other settlements until which a good rate is paid."""
    lines = ["timestamp,symbol,funding_rate", *sorted(_funding_lines(turns or {}))]
    _write(root / "funding/binance_usdm_fundingRate_fading.csv", "\n".join(lines) + "\n")
    prices = [{"symbol": symbol, "price": price} for symbol, price in _PRICES.items()]
    _write(root / "market/binance_spot_ticker_price_fading.json", json.dumps(prices))


def _funding_lines(turns: Mapping[str, int]) -> Iterator[str]:
    for symbol, (last_good, before, after) in _TURNS.items():
        for number in range(-_HISTORY, _FUTURE + 1):
            at = _MIDNIGHT + number * INTERVAL
            rate = before if number <= turns.get(symbol, last_good) else after
            yield f"{int(at.timestamp() * 1000)},{symbol},{rate}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
