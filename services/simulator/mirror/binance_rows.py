"""What Binance's public answers mean to the venue core. Rows that cannot be read are left out.

A row left out is an instrument that cannot be traded on paper, never one with made-up rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

from services.simulator.core.clock import from_millis
from services.simulator.core.matching import Execution
from services.simulator.core.money import ZERO, decimals
from services.simulator.market.source import (
    Book,
    BookLevel,
    FundingSettlement,
    FundingState,
    InstrumentSpec,
    Kind,
)

DEFAULT_INTERVAL: Final = timedelta(hours=8)
"""USD-M "Get Funding Rate Info" lists what differs from it."""
DEFAULT_CAP: Final = Decimal("0.02")
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_MAXIMUM: Final = Decimal("1e12")
_Row = TypeVar("_Row")
DAMAGE = (KeyError, ValueError, TypeError, IndexError, InvalidOperation, AttributeError)


@dataclass(frozen=True, slots=True)
class FundingRules:
    """Interval and cap of one perpetual's funding."""

    interval: timedelta = DEFAULT_INTERVAL
    cap: Decimal = DEFAULT_CAP


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """A trade of others; ids of one symbol grow."""

    trade_id: int
    execution: Execution


def read_rows(rows: Iterable[Any], read: Callable[[Any], _Row | None]) -> list[_Row]:
    """Return what `read` makes of each row, without the rows it cannot read or has no use for."""
    found: list[_Row] = []
    for row in rows:
        try:
            one = read(row)
        except DAMAGE:
            continue
        if one is not None:
            found.append(one)
    return found


def number(value: Any) -> Decimal:
    """Return a finite number written as text; raises ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError("no text")
    parsed = Decimal(value)
    if not parsed.is_finite():
        raise ValueError("no finite number")
    return parsed


def spot_spec(row: Mapping[str, Any]) -> InstrumentSpec | None:
    """Return a row of spot's exchangeInfo."""
    filters = _filters(row)
    price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    notional = filters.get("NOTIONAL") or filters["MIN_NOTIONAL"]
    return InstrumentSpec(
        symbol=str(row["symbol"]),
        kind=Kind.SPOT,
        base_asset=str(row["baseAsset"]),
        quote_asset=str(row["quoteAsset"]),
        settle_asset=None,
        status=str(row["status"]),
        tick_size=_positive(price["tickSize"]),
        lot_size=_positive(lot["stepSize"]),
        min_quantity=number(lot["minQty"]),
        max_quantity=_maximum(lot),
        market_max_quantity=_maximum(filters.get("MARKET_LOT_SIZE", lot), lot),
        min_notional=number(notional["minNotional"]),
        price_precision=8,
        quantity_precision=8,
        base_precision=int(row["baseAssetPrecision"]),
        onboard_time=_BEGINNING,
        delivery_time=None,
        margin_allowed=row.get("isMarginTradingAllowed") is True,
        max_leverage=1,
        maintenance_margin_ratio=ZERO,
        funding_cap=ZERO,
    )


def perpetual_spec(row: Mapping[str, Any], rules: FundingRules) -> InstrumentSpec | None:
    """Return a row of USD-M's exchangeInfo, None for a contract that ends by its date.

    PERPETUAL_DELIVERING is a perpetual that the venue takes off; its status says how far that is.

    Brackets are told to owners of keys alone, so leverage and maintenance are those that the
    public row names for every position: more margin than a large account would need.
    """
    if "PERPETUAL" not in str(row["contractType"]):
        return None
    filters = _filters(row)
    price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    tick = _positive(price["tickSize"])
    required = _positive(row["requiredMarginPercent"])
    return InstrumentSpec(
        symbol=str(row["symbol"]),
        kind=Kind.PERPETUAL,
        base_asset=str(row["baseAsset"]),
        quote_asset=str(row["quoteAsset"]),
        settle_asset=str(row["marginAsset"]),
        status=str(row["status"]),
        tick_size=tick,
        lot_size=_positive(lot["stepSize"]),
        min_quantity=number(lot["minQty"]),
        max_quantity=_maximum(lot),
        market_max_quantity=_maximum(filters.get("MARKET_LOT_SIZE", lot), lot),
        min_notional=number(filters["MIN_NOTIONAL"]["notional"]),
        price_precision=max(int(row["pricePrecision"]), decimals(tick)),
        quantity_precision=int(row["quantityPrecision"]),
        base_precision=int(row["baseAssetPrecision"]),
        onboard_time=from_millis(int(row["onboardDate"])),
        delivery_time=None,
        margin_allowed=False,
        max_leverage=max(1, int(100 / required)),
        maintenance_margin_ratio=number(row["maintMarginPercent"]) / 100,
        funding_cap=rules.cap,
    )


def funding_rules(row: Mapping[str, Any]) -> tuple[str, FundingRules]:
    """Return a row of fundingInfo."""
    hours = int(row["fundingIntervalHours"])
    if hours <= 0:
        raise ValueError("no interval")
    cap = abs(number(row["adjustedFundingRateCap"]))
    return str(row["symbol"]), FundingRules(timedelta(hours=hours), cap)


def funding_state(row: Mapping[str, Any], interval: timedelta) -> FundingState:
    """Return a row of premiumIndex; a next time of zero means that none will follow."""
    next_time = int(row["nextFundingTime"])
    return FundingState(
        symbol=str(row["symbol"]),
        mark_price=_positive(row["markPrice"]),
        index_price=number(row["indexPrice"]),
        last_rate=number(row["lastFundingRate"]),
        interest_rate=number(row["interestRate"]),
        next_time=from_millis(next_time) if next_time else None,
        interval=interval,
    )


def settlement(row: Mapping[str, Any], interval: timedelta) -> FundingSettlement:
    """Return a row of fundingRate; one without the mark price it was paid on cannot be paid."""
    return FundingSettlement(
        symbol=str(row["symbol"]),
        time=from_millis(int(row["fundingTime"])),
        rate=number(row["fundingRate"]),
        mark_price=_positive(row["markPrice"]),
        interval=interval,
    )


def price(row: Mapping[str, Any]) -> tuple[str, Decimal]:
    """Return a row of ticker/price."""
    return str(row["symbol"]), _positive(row["price"])


def book(answer: Mapping[str, Any]) -> Book:
    """Return a depth snapshot; raises ValueError, or what else a damaged one leads to."""
    bids, asks = (_levels(answer[side]) for side in ("bids", "asks"))
    if bids and asks and bids[0].price >= asks[0].price:
        raise ValueError("a crossed book")
    return Book(bids, asks, int(answer["lastUpdateId"]))


def spot_trade(row: Mapping[str, Any]) -> PublicTrade:
    """Return a row of spot's aggTrades."""
    return PublicTrade(int(row["a"]), Execution(_positive(row["p"]), _positive(row["q"])))


def perpetual_trade(row: Mapping[str, Any]) -> PublicTrade:
    """Return a row of USD-M's recent trades."""
    return PublicTrade(int(row["id"]), Execution(_positive(row["price"]), _positive(row["qty"])))


def _levels(rows: Iterable[Any]) -> tuple[BookLevel, ...]:
    return tuple(BookLevel(_positive(row[0]), _positive(row[1])) for row in rows)


def _filters(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(one["filterType"]): one for one in row["filters"]}


def _positive(value: Any) -> Decimal:
    parsed = number(value)
    if parsed <= 0:
        raise ValueError("not positive")
    return parsed


def _maximum(*filters: Mapping[str, Any]) -> Decimal:
    # zero means that this filter sets none, and the plain lot's holds
    found = (number(one["maxQty"]) for one in filters)
    return next((one for one in found if one > 0), _NO_MAXIMUM)
