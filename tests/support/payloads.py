"""Recorded payloads through a venue's row functions, and what a row says in base units."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.connector.instruments import Instrument, InstrumentKind, TradingStatus
from services.connector.order_mapping import to_fill, to_state
from services.connector.order_types import OrderState, Side, VenueFill, VenueOrder
from services.connector.profile import VenueProfile

_ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("OPENSQT_DATA", _ROOT.parent / "shared" / "data"))

Row = dict[str, Any]
Expected = tuple[str, str, str, bool]
"""Executed base quantity, average price, fee with its asset, closed or not; "" where not told."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """How a venue's rows are told apart: those that `order_row` and `fill_row` are for."""

    is_order: Callable[[Row], bool]
    is_fill: Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows and messages were read."""

    files: int
    orders: int
    fills: int
    messages: int


def folder(venue: str) -> Path:
    """Return where a venue's recorded payloads are; skips with the reason where there are none."""
    place = DATA / "payloads" / venue
    if not place.is_dir():
        pytest.skip(f"no recorded payloads at {place}; set OPENSQT_DATA")
    return place


def read_rows(file: Path) -> dict[str, Row]:
    """Return every object of a file by its path inside (`/response/0`, the whole one is "")."""
    return dict(_walk(json.loads(file.read_text()), ""))


def _walk(value: Any, path: str) -> Iterator[tuple[str, Row]]:
    if isinstance(value, dict):
        yield path, value
        for key, part in value.items():
            yield from _walk(part, f"{path}/{key}")
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _walk(part, f"{path}/{place}")


def read_all(venue: str, profile: VenueProfile, shapes: Shapes) -> Counts:
    """Put every object of every file through the mapping; whatever it raises fails the test."""
    orders = fills = messages = 0
    files = sorted(folder(venue).glob("*.json"))
    for file in files:
        for row in read_rows(file).values():
            # Whatever comes over a socket or a wire must be recognised, or left alone.
            profile.read_refusal(row)
            profile.stream_ready(row)
            profile.stream_ended(row)
            messages += len(profile.stream_orders(row))
            if shapes.is_order(row):
                profile.order_row(row)
                orders += 1
            if shapes.is_fill(row):
                profile.fill_row(row)
                fills += 1
    return Counts(len(files), orders, fills, messages)


def say_order(row: VenueOrder, unit: Decimal) -> Expected:
    """Return what an order row says, `unit` base coins to one of the venue's units."""
    state = to_state(row, _instrument(row.exchange_symbol, unit), "x")
    return (
        _plain(state.executed),
        "" if state.average_price is None else _plain(state.average_price),
        _fees(state),
        state.is_closed,
    )


def say_fill(row: VenueFill, unit: Decimal) -> Expected:
    """Return what a fill row says; a fill is over."""
    fill = to_fill(row, Side.BUY, _instrument(row.exchange_symbol, unit))
    fee = "" if fill.fee is None else f"{_plain(fill.fee)} {fill.fee_asset or ''}".strip()
    return _plain(fill.quantity), _plain(fill.price), fee, True


def say(profile: VenueProfile, shapes: Shapes, row: Row, unit: Decimal) -> list[Expected]:
    """Return what a row or a message says, orders and fills alike."""
    if found := profile.stream_orders(row):
        return [say_order(one, unit) for one in found]
    if shapes.is_order(row):
        return [say_order(profile.order_row(row), unit)]
    return [say_fill(profile.fill_row(row), unit)]


def _fees(state: OrderState) -> str:
    return " ".join(f"{_plain(amount)} {asset}" for asset, amount in state.fees or ())


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f")


def _instrument(symbol: str, unit: Decimal) -> Instrument:
    return Instrument(
        symbol=symbol,
        exchange_symbol=symbol,
        unified=symbol,
        kind=InstrumentKind.PERPETUAL,
        base_asset="",
        quote_asset="",
        settle_asset=None,
        contract_size=unit,
        base_multiplier=Decimal(1),
        lot_size=unit,
        tick_size=Decimal("0.1"),
        min_quantity=None,
        max_quantity=None,
        max_market_quantity=None,
        min_notional=None,
        status=TradingStatus.TRADING,
        margin_allowed=False,
        price_precision=1,
        quantity_precision=0,
        venue_base_asset="none",
    )
