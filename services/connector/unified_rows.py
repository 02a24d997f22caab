"""ccxt's unified structures to messages of the contract. Pure.

Numbers arrive as text. Sizes are in the venue's own unit (contracts where it counts those) unless a
trait of the venue says otherwise, and leave per single coin. A malformed structure raises
ValueError, KeyError or TypeError: the caller quarantines it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.common.codec import from_millis, to_duration, to_timestamp
from services.connector.account_mapping import margin_type_of
from services.connector.book_levels import to_book
from services.connector.row_numbers import milliseconds, number, positive, required, text, wire
from services.connector.venue_numbers import venue_decimal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from services.connector.instruments import Instrument, InstrumentBook
    from services.connector.unified_traits import DataTraits

_HOURS: Final = re.compile(r"([0-9]{1,2})h", re.ASCII)
_MILLIS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_GATE_SIZES: Final = {"bid": "highest_size", "ask": "lowest_size"}
_YEAR: Final = timedelta(days=365)


def read_interval(value: object) -> timedelta | None:
    """Return a funding interval as ccxt writes it (`4h`, else milliseconds); None for unknown.

    Anything not between zero and a day is unknown: a daily rate is divided by it.
    """
    found = _HOURS.fullmatch(str(value))
    if found is not None:
        interval = timedelta(hours=int(found[1]))
    elif _MILLIS.fullmatch(str(value)):
        interval = timedelta(milliseconds=int(str(value)))
    else:
        return None
    return interval if timedelta() < interval <= timedelta(days=1) else None


def to_unified_ticker(
    row: dict[str, Any], instrument: Instrument, traits: DataTraits
) -> resources_pb2.Ticker:
    """Return the 24 h figures with the best of the book; a side without a price stays absent."""
    info = row.get("info") or {}
    last = positive(row, "last") or positive(row, "close")
    change = number(row, "change")
    named = traits.ticker_volume
    # In base units everywhere: where ccxt takes contracts for base, the trait names the field.
    volume = number(row, "baseVolume") if named is None else number(info, named)
    quote = number(row, "quoteVolume")
    if quote is None and volume is not None and last is not None:
        # A venue that tells turnover in base alone: at the last price it is near enough to rank by.
        quote = volume * last
    opened = (
        None if traits.ticker_open_interest is None else number(info, traits.ticker_open_interest)
    )
    ticker = resources_pb2.Ticker(
        symbol=instrument.symbol,
        price_change=wire(None if change is None else instrument.to_base_price(change)),
        price_change_percent=wire(number(row, "percentage")),
        last_price=wire(None if last is None else instrument.to_base_price(last)),
        volume=wire(None if volume is None else volume * instrument.base_multiplier),
        quote_volume=wire(quote),
        timestamp=milliseconds(row.get("timestamp")),
        open_interest=wire(None if opened is None else instrument.to_base_quantity(opened)),
    )
    for side in ("bid", "ask"):
        # Gate's futures tickers have sizes under names that ccxt passes over.
        price = positive(row, side)
        size = positive(row, f"{side}Volume") or positive(info, _GATE_SIZES[side])
        if price is None:
            continue
        getattr(ticker, f"best_{side}_price").CopyFrom(wire(instrument.to_base_price(price)))
        if size is not None:
            amount = wire(instrument.to_base_quantity(size))
            getattr(ticker, f"best_{side}_quantity").CopyFrom(amount)
    return ticker


def to_unified_book(
    row: Mapping[str, Any], instrument: Instrument, received: int
) -> exchange_pb2.GetOrderBookResponse:
    """Return a book, best level first; levels without quantity are left out."""
    return to_book(row, instrument, milliseconds(row.get("timestamp")) or received)


def to_unified_candle(
    row: list[Any], instrument: Instrument, traits: DataTraits, *, closed: bool
) -> resources_pb2.Candle:
    """Return a candle of [open time, open, high, low, close, volume]."""
    opened = milliseconds(row[0])
    if not opened:
        raise ValueError("the candle has no time")
    price = [wire(instrument.to_base_price(venue_decimal(value, "price"))) for value in row[1:5]]
    volume = venue_decimal(row[5], "volume")
    unit = instrument.unit if traits.candles_in_contracts else instrument.base_multiplier
    return resources_pb2.Candle(
        symbol=instrument.symbol,
        open=price[0],
        high=price[1],
        low=price[2],
        close=price[3],
        volume=wire(volume * unit),
        timestamp=opened,
        is_closed=closed,
    )


def next_settlement(announced: int | None, interval: timedelta | None, observed: int) -> int:
    """Return the next settlement (ms) of one announced before: moved on once it has passed.

    0 when it is not known.
    """
    if not announced or announced > observed:
        return announced or 0
    if interval is None:
        return 0
    step = round(interval.total_seconds() * 1000)
    return announced + ((observed - announced) // step + 1) * step


def to_unified_funding(
    row: dict[str, Any],
    instrument: Instrument,
    exchange: str,
    interval: timedelta | None,
    announced: int | None = None,
) -> resources_pb2.FundingRate:
    """Return the present funding.

    `interval` and `announced` (a next settlement, ms) stand where the row itself tells none.
    """
    mark, index = positive(row, "markPrice"), positive(row, "indexPrice")
    told = read_interval(row.get("interval")) or interval
    observed = milliseconds(row.get("timestamp"))
    coming = milliseconds(row.get("fundingTimestamp"))
    return resources_pb2.FundingRate(
        exchange=exchange,
        symbol=instrument.symbol,
        rate=wire(number(row, "fundingRate")),
        predicted_rate=wire(number(row, "nextFundingRate")),
        next_funding_time=coming or next_settlement(announced, told, observed),
        # OKX stamps its rows, and ccxt leaves the stamp out.
        timestamp=milliseconds(row.get("timestamp") or (row.get("info") or {}).get("ts")),
        interval=None if told is None else to_duration(told),
        mark_price=wire(None if mark is None else instrument.to_base_price(mark)),
        index_price=wire(None if index is None else instrument.to_base_price(index)),
    )


def to_unified_settlement(
    row: dict[str, Any], instrument: Instrument, exchange: str
) -> tuple[tuple[int, str], resources_pb2.FundingRate]:
    """Return a past settlement with its place in the history."""
    settled = milliseconds(row.get("timestamp"))
    if not settled:
        raise ValueError("a settlement without time")
    return (settled, instrument.symbol), resources_pb2.FundingRate(
        exchange=exchange,
        symbol=instrument.symbol,
        rate=wire(required(row, "fundingRate")),
        timestamp=settled,
    )


def to_unified_position(row: dict[str, Any], instrument: Instrument) -> resources_pb2.Position:
    """Return a position, signed in base units; a side that is not told needs a size of zero."""
    contracts = abs(required(row, "contracts"))
    side = row.get("side")
    if contracts and side not in ("long", "short"):
        raise ValueError("a position without a side")
    size = -contracts if side == "short" else contracts
    prices = {
        name: None if price is None else instrument.to_base_price(price)
        for name, price in (
            ("entry", positive(row, "entryPrice")),
            ("mark", positive(row, "markPrice")),
            ("liquidation", positive(row, "liquidationPrice")),
        )
    }
    changed = position_time(row)
    margin_type = margin_type_of(row.get("marginMode"))
    isolated = positive(row, "collateral") if margin_type == "isolated" else None
    return resources_pb2.Position(
        symbol=instrument.symbol,
        size=wire(instrument.to_base_quantity(size)),
        entry_price=wire(prices["entry"] if size else None),
        mark_price=wire(prices["mark"]),
        unrealized_pnl=wire(number(row, "unrealizedPnl")),
        leverage=int(number(row, "leverage") or 0),
        margin_type=margin_type,
        isolated_margin=wire(isolated),
        liquidation_price=wire(prices["liquidation"] if size else None),
        initial_margin=wire(number(row, "initialMargin")),
        maintenance_margin=wire(number(row, "maintenanceMargin")),
        update_time=to_timestamp(from_millis(changed)) if changed else None,
    )


def position_time(row: Mapping[str, Any]) -> int:
    """Return when the venue last changed a position, 0 where it does not tell."""
    # ccxt reads another spelling than Bitget writes; OKX and Bitget say uTime.
    told = row.get("lastUpdateTimestamp") or (row.get("info") or {}).get("uTime")
    return milliseconds(told)


def to_unified_balance(asset: str, row: dict[str, Any]) -> resources_pb2.AssetBalance:
    """Return one asset of a balance structure; `debt` is there where the account can borrow."""
    total, free, used = (number(row, key) for key in ("total", "free", "used"))
    if total is None and (free is None or used is None):
        # A balance that is missing is unknown, and would be believed to be zero.
        raise ValueError(f"no balance of {asset}")
    whole = free + used if total is None and free is not None and used is not None else total
    return resources_pb2.AssetBalance(
        asset=asset,
        free=wire(free),
        locked=wire(used),
        total=wire(whole),
        borrowed=wire(number(row, "debt")),
    )


def to_unified_payment(
    row: dict[str, Any], book: InstrumentBook, sign: int
) -> tuple[tuple[int, str], resources_pb2.FundingPayment]:
    """Return a funding payment with its place; `sign` makes received ones positive."""
    paid = milliseconds(row.get("timestamp"))
    if not paid:
        raise ValueError("a payment without time")
    name = text(row, "symbol")
    instrument = book.find(name)
    symbol = name if instrument is None else instrument.symbol
    told = str(row.get("id") or "")
    # Gate names no payment and Hyperliquid all alike: time and symbol do, as one symbol is settled
    # once at a time.
    key = told if told.strip("0x") else f"{symbol}-{paid}"
    return (paid, key), resources_pb2.FundingPayment(
        symbol=symbol,
        asset=str(row.get("code") or ""),
        amount=wire(required(row, "amount") * sign),
        settle_time=to_timestamp(from_millis(paid)),
        payment_id=key,
    )


def to_unified_fee(
    row: dict[str, Any], instrument: Instrument, traits: DataTraits
) -> resources_pb2.TradingFee:
    """Return the fees of one symbol; below zero is a rebate."""
    named = traits.fee_fields.get(instrument.settle_asset or "", ("", ""))
    maker, taker = (number(row.get("info") or {}, name) for name in named)
    return resources_pb2.TradingFee(
        symbol=instrument.symbol,
        maker_fee_ratio=wire(required(row, "maker") if maker is None else -maker),
        taker_fee_ratio=wire(required(row, "taker") if taker is None else -taker),
    )


def to_unified_borrow_rate(
    row: dict[str, Any], asset: str, period: timedelta | None, observed: datetime
) -> resources_pb2.BorrowRate:
    """Return the yearly price of borrowing, not compounded; `period` overrides ccxt's."""
    told = milliseconds(row.get("period"))
    length = period or timedelta(milliseconds=told)
    if length <= timedelta():
        raise ValueError("a borrow rate without a period")
    ratio = Decimal(_YEAR // timedelta(milliseconds=1)) / (length // timedelta(milliseconds=1))
    return resources_pb2.BorrowRate(
        asset=asset,
        annualized_rate=wire(required(row, "rate") * ratio),
        observe_time=to_timestamp(observed),
    )
