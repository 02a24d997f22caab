"""What tells one subscription, and one row of a stream, from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import events_pb2, resources_pb2


@dataclass(frozen=True, slots=True)
class CandleKey:
    """One candle subscription: canonical symbols, sorted, and the length of a candle."""

    symbols: tuple[str, ...]
    interval: str


def candle_key(candle: resources_pb2.Candle) -> tuple[str, int]:
    """Return what a newer candle row replaces: the same symbol and opening time."""
    return candle.symbol, candle.timestamp


def funding_key(row: events_pb2.FundingUpdate) -> tuple[str, int]:
    """Return what a newer funding row replaces; a settlement is replaced by none but itself."""
    return row.symbol, row.timestamp if row.settled else 0


def price_key(row: events_pb2.PriceChange) -> str:
    """Return what a newer price row replaces: the same symbol."""
    return row.symbol
