"""Market rows of the venue to messages of the contract. Pure.

Rows are the venue's own JSON objects. Quantities and prices leave per single coin, rates unchanged.
A malformed row raises ValueError, KeyError or TypeError: the caller quarantines it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import exchange_pb2, instrument_pb2, resources_pb2
from services.common.codec import to_duration, to_timestamp
from services.connector.book_levels import to_book
from services.connector.instruments import Instrument, InstrumentKind, TradingStatus
from services.connector.row_numbers import (
    milliseconds,
    number,
    positive,
    positive_wire,
    price_wire,
    quantity_wire,
    required,
    required_wire,
    stamp,
    text,
    venue_wire,
    wire,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.type import decimal_pb2

    from services.connector.instruments import InstrumentBook

KINDS: Final = {
    InstrumentKind.SPOT: instrument_pb2.INSTRUMENT_KIND_SPOT,
    InstrumentKind.PERPETUAL: instrument_pb2.INSTRUMENT_KIND_PERPETUAL,
}
_STATUSES: Final = {
    TradingStatus.TRADING: instrument_pb2.TRADING_STATUS_TRADING,
    TradingStatus.BREAK: instrument_pb2.TRADING_STATUS_BREAK,
    TradingStatus.ENDED: instrument_pb2.TRADING_STATUS_ENDED,
}
INTERVALS: Final = {
    "1m": timedelta(minutes=1),
    "3m": timedelta(minutes=3),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "2h": timedelta(hours=2),
    "4h": timedelta(hours=4),
    "6h": timedelta(hours=6),
    "8h": timedelta(hours=8),
    "12h": timedelta(hours=12),
    "1d": timedelta(days=1),
}
"""Candle lengths that both Binance venues take."""


def instrument_of(book: InstrumentBook, row: Mapping[str, Any]) -> Instrument | None:
    """Return the instrument a bulk row is about, None when it is not one of ours."""
    return book.find_exchange_symbol(text(row, "symbol"))


def to_symbol_info(
    instrument: Instrument, funding_interval: timedelta | None
) -> resources_pb2.SymbolInfo:
    """Return the trading rules of an instrument; `funding_interval` None means unknown."""
    return resources_pb2.SymbolInfo(
        symbol=instrument.symbol,
        price_precision=instrument.price_precision,
        quantity_precision=instrument.quantity_precision,
        base_asset=instrument.base_asset,
        quote_asset=instrument.quote_asset,
        min_quantity=wire(instrument.min_quantity),
        min_notional=wire(instrument.min_notional),
        tick_size=wire(instrument.tick_size),
        step_size=wire(instrument.lot_size),
        contract_size=wire(instrument.contract_size),
        base_multiplier=wire(instrument.base_multiplier),
        max_quantity=wire(instrument.max_quantity),
        settle_asset=instrument.settle_asset or "",
        trading_status=_STATUSES[instrument.status],
        kind=KINDS[instrument.kind],
        exchange_symbol=instrument.exchange_symbol,
        max_market_quantity=wire(instrument.max_market_quantity),
        margin_allowed=instrument.margin_allowed,
        funding_interval=None if funding_interval is None else to_duration(funding_interval),
        end_time=None if instrument.end_time is None else to_timestamp(instrument.end_time),
    )


def to_ticker(row: dict[str, Any], instrument: Instrument) -> resources_pb2.Ticker:
    """Return the 24 h figures; a last price of zero means there was no print."""
    change = number(row, "priceChange")
    percent = number(row, "priceChangePercent")
    last = positive(row, "lastPrice")
    volume = number(row, "volume")
    return resources_pb2.Ticker(
        symbol=instrument.symbol,
        price_change=wire(None if change is None else instrument.to_base_price(change)),
        price_change_percent=wire(percent),
        last_price=wire(None if last is None else instrument.to_base_price(last)),
        volume=wire(None if volume is None else instrument.to_base_quantity(volume)),
        quote_volume=wire(number(row, "quoteVolume")),
        timestamp=stamp(row, "closeTime"),
    )


def add_book_ticker(
    ticker: resources_pb2.Ticker, row: dict[str, Any], instrument: Instrument
) -> None:
    """Add best bid and ask to a ticker; a side without price or quantity stays absent."""
    for side, price_key, quantity_key in (
        ("bid", "bidPrice", "bidQty"),
        ("ask", "askPrice", "askQty"),
    ):
        price, quantity = positive(row, price_key), positive(row, quantity_key)
        # Halted symbols have books of zeros: absent is "no price", 0 would be a bargain.
        if price is None or quantity is None:
            continue
        getattr(ticker, f"best_{side}_price").CopyFrom(wire(instrument.to_base_price(price)))
        getattr(ticker, f"best_{side}_quantity").CopyFrom(
            wire(instrument.to_base_quantity(quantity))
        )


def to_candle(
    row: list[Any], instrument: Instrument, market_time: int | None
) -> resources_pb2.Candle:
    """Return a candle of a klines row: [open time, o, h, l, c, volume, close time, quote volume].

    It is closed when the venue's time `market_time` is past its last millisecond; None: it is.
    """
    opened, closed = milliseconds(row[0]), milliseconds(row[6])
    if not opened or closed <= opened:
        raise ValueError("the candle has no times")
    price = [price_wire(value, instrument) for value in row[1:5]]
    return resources_pb2.Candle(
        symbol=instrument.symbol,
        open=price[0],
        high=price[1],
        low=price[2],
        close=price[3],
        volume=quantity_wire(row[5], instrument),
        timestamp=opened,
        is_closed=market_time is None or market_time > closed,
        quote_volume=venue_wire(row[7], "quoteVolume"),
    )


def to_order_book(
    row: dict[str, Any], instrument: Instrument, received: int
) -> exchange_pb2.GetOrderBookResponse:
    """Return a book, best level first; levels without quantity are left out."""
    return to_book(row, instrument, stamp(row, "T") or stamp(row, "E") or received)


def to_funding_rate(
    row: dict[str, Any], instrument: Instrument, exchange: str, interval: timedelta | None
) -> resources_pb2.FundingRate:
    """Return the present funding of a premiumIndex row.

    Its `lastFundingRate` is what the coming settlement will pay as it stands; of the one after that
    the venue says nothing.
    """
    mark, index = positive(row, "markPrice"), positive(row, "indexPrice")
    return resources_pb2.FundingRate(
        exchange=exchange,
        symbol=instrument.symbol,
        # Delivery contracts have an empty rate: absent, never 0.
        rate=wire(number(row, "lastFundingRate")),
        next_funding_time=stamp(row, "nextFundingTime"),
        timestamp=stamp(row, "time"),
        interval=None if interval is None else to_duration(interval),
        mark_price=wire(None if mark is None else instrument.to_base_price(mark)),
        index_price=wire(None if index is None else instrument.to_base_price(index)),
    )


def to_settlement(
    row: dict[str, Any], instrument: Instrument, exchange: str
) -> resources_pb2.FundingRate:
    """Return a past settlement; its interval stays absent, because the row does not tell it."""
    settled = stamp(row, "fundingTime")
    if not settled:
        raise ValueError("a settlement without time")
    return resources_pb2.FundingRate(
        exchange=exchange,
        symbol=instrument.symbol,
        rate=required_wire(row, "fundingRate"),
        timestamp=settled,
        mark_price=_settled_mark(row, instrument),
    )


def _settled_mark(row: dict[str, Any], instrument: Instrument) -> decimal_pb2.Decimal | None:
    # Nearly all instruments count single coins: then the venue's price is the one we tell.
    if instrument.base_multiplier == 1:
        return positive_wire(row, "markPrice")
    mark = positive(row, "markPrice")
    return wire(None if mark is None else instrument.to_base_price(mark))


def to_interval(row: dict[str, Any]) -> tuple[str, timedelta]:
    """Return the venue's symbol and funding interval of a fundingInfo row."""
    hours = int(required(row, "fundingIntervalHours"))
    # A daily rate is divided by this; a zero or a year would make any coin a candidate.
    if not 0 < hours <= 24:
        raise ValueError("an impossible funding interval")
    return text(row, "symbol"), timedelta(hours=hours)
