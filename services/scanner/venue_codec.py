"""Rows of a connector's bulk answers into the scanner's values.

A row that cannot be read damages its own symbol only: it comes back among the malformed, with
what is wrong, and the others stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, TypeVar

from opensqt.market_maker.v1 import instrument_pb2
from services.common.codec import (
    DECIMAL_PATTERN,
    decimal_from_proto,
    from_millis,
    from_timestamp,
    optional_duration,
    parse_decimal,
    require_decimal,
)
from services.common.errors import InvalidFieldError
from services.scanner.books import Book
from services.scanner.instruments import (
    InstrumentKind,
    RateRow,
    SymbolRow,
    TickerRow,
    TradingStatus,
)
from services.scanner.volatility import hourly_volatility

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import events_pb2, exchange_pb2, resources_pb2

RowT = TypeVar("RowT")
MessageT = TypeVar("MessageT")

_STATUSES: Mapping[int, TradingStatus] = {
    instrument_pb2.TRADING_STATUS_TRADING: TradingStatus.TRADING,
    instrument_pb2.TRADING_STATUS_BREAK: TradingStatus.BREAK,
    instrument_pb2.TRADING_STATUS_ENDED: TradingStatus.ENDED,
}
_KINDS: Mapping[int, InstrumentKind] = {
    instrument_pb2.INSTRUMENT_KIND_SPOT: InstrumentKind.SPOT,
    instrument_pb2.INSTRUMENT_KIND_PERPETUAL: InstrumentKind.PERPETUAL,
}
# Venues charge takers up to about a per cent; ten is no fee.
_MAX_FEE = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Read(Generic[RowT]):
    """Rows by symbol, and what was wrong with the rows that could not be read."""

    rows: Mapping[str, RowT]
    malformed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistoryRead:
    """Settlement times in milliseconds and rates by symbol; `malformed` names damaged symbols."""

    rows: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    malformed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Detail:
    """What only a shortlist is asked for; None where the venue told no such figure.

    Open interest in base units, and in quote where the venue values it itself.
    """

    price_volatility: float | None
    open_interest: Decimal | None
    open_interest_notional: Decimal | None


Reading = (
    Read[SymbolRow] | Read[TickerRow] | Read[RateRow] | Read[Decimal] | HistoryRead | Detail | Book
)
"""Any answer to a task."""


def read_symbols(answer: exchange_pb2.GetSymbolsResponse, kind: InstrumentKind) -> Read[SymbolRow]:
    """Return the listed instruments of the venue's kind; those without details are of unknown
    status.
    """
    # A connector of both kinds lists both; the venue is configured as one of them.
    infos = [info for info in answer.symbol_infos if _KINDS.get(info.kind, kind) is kind]
    read = _each(infos, lambda info: info.symbol, _symbol_row)
    bare = {name: _bare_symbol(name) for name in answer.symbols} if not answer.symbol_infos else {}
    return Read({**bare, **read.rows}, read.malformed)


def read_tickers(answer: exchange_pb2.GetTickersResponse) -> Read[TickerRow]:
    """Return volumes and best prices; the volume of a price without one stays unknown."""
    return _each(answer.tickers, lambda ticker: ticker.symbol, _ticker_row)


def read_rates(answer: exchange_pb2.GetFundingRatesResponse) -> Read[RateRow]:
    """Return the rates of the coming settlement."""
    return _each(answer.rates, lambda rate: rate.symbol, rate_row)


def read_fees(answer: exchange_pb2.GetTradingFeesResponse) -> Read[Decimal]:
    """Return taker fees by symbol; the key "" is the fee of every symbol. Rows without one are
    left out; a fee beyond belief is malformed.
    """
    told = [fee for fee in answer.fees if fee.HasField("taker_fee_ratio")]
    return _each(told, lambda fee: fee.symbol, _taker_fee)


def read_borrow_rates(answer: exchange_pb2.GetBorrowRatesResponse) -> Read[Decimal]:
    """Return borrow rates a year by asset. Rows without one are left out; a rate that would pay
    the borrower is malformed.
    """
    told = [rate for rate in answer.rates if rate.HasField("annualized_rate")]
    return _each(
        told,
        lambda rate: rate.asset,
        lambda rate: require_decimal(rate, "annualized_rate", minimum=Decimal(0)),
    )


def read_history(page: exchange_pb2.GetHistoricalFundingRatesResponse, read: HistoryRead) -> None:
    """Add the settlements of a page; one damaged row marks its symbol, whose others stand.

    Raises InvalidFieldError for columns that do not belong together.
    """
    _read_columns(page.columns, read)
    # A connector from before columns answers in rows.
    for row in page.rates:
        try:
            if row.timestamp <= 0 or not row.HasField("rate"):
                raise InvalidFieldError("history", "a row without time or rate")
            # Rates of history feed statistics only, which are floats; without the way over Decimal
            # a page of a thousand rows holds the event loop half as long.
            if not DECIMAL_PATTERN.fullmatch(row.rate.value):
                raise InvalidFieldError("history rate", "must be a plain decimal number")
            rate = float(row.rate.value)
        except InvalidFieldError as error:
            read.malformed[row.symbol] = str(error)
            continue
        times, rates = read.rows.setdefault(row.symbol, ([], []))
        times.append(row.timestamp)
        rates.append(rate)


def _read_columns(columns: exchange_pb2.FundingRateColumns, read: HistoryRead) -> None:
    symbols, indexes = list(columns.symbols), list(columns.symbol_indexes)
    times, texts = list(columns.timestamps), list(columns.rates)
    if not len(indexes) == len(times) == len(texts) or max(indexes, default=-1) >= len(symbols):
        raise InvalidFieldError("columns", "are not of one length, or name no symbol")
    clean = all(map(DECIMAL_PATTERN.fullmatch, texts)) and min(times, default=1) > 0
    if not clean:
        indexes, times, texts = _leave_damaged(symbols, (indexes, times, texts), read)
    found = {index: read.rows.setdefault(symbols[index], ([], [])) for index in set(indexes)}
    for index, time, rate in zip(indexes, times, map(float, texts), strict=True):
        held = found[index]
        held[0].append(time)
        held[1].append(rate)


def _leave_damaged(
    symbols: list[str], columns: tuple[list[int], list[int], list[str]], read: HistoryRead
) -> tuple[list[int], list[int], list[str]]:
    kept: tuple[list[int], list[int], list[str]] = ([], [], [])
    for index, time, text in zip(*columns, strict=True):
        if time <= 0 or not DECIMAL_PATTERN.fullmatch(text):
            read.malformed[symbols[index]] = "history: a settlement without time or plain rate"
            continue
        for column, value in zip(kept, (index, time, text), strict=True):
            column.append(value)  # type: ignore[attr-defined]  # each its own type
    return kept


def price_volatility(answer: exchange_pb2.GetHistoricalKlinesResponse) -> float | None:
    """Return the standard deviation of hourly log returns; None where there are too few candles.

    The unfinished candle is ignored. Raises InvalidFieldError for a bad price.
    """
    # The candle of the present hour still moves, and would look like a calm one.
    closed = [candle for candle in answer.candles if candle.is_closed]
    closes = [(candle.timestamp, decimal_from_proto(candle, "close")) for candle in closed]
    return hourly_volatility((time, float(close)) for time, close in closes if close is not None)


def _each(
    messages: Iterable[MessageT], name: Callable[[MessageT], str], read: Callable[[MessageT], RowT]
) -> Read[RowT]:
    rows: dict[str, RowT] = {}
    malformed: dict[str, str] = {}
    for message in messages:
        key = name(message)
        try:
            rows[key] = read(message)
        except InvalidFieldError as error:
            malformed[key] = str(error)
    return Read(rows, malformed)


def _taker_fee(fee: resources_pb2.TradingFee) -> Decimal:
    ratio = parse_decimal(fee.taker_fee_ratio.value, "taker_fee_ratio")
    # A rebate that large would make any pair look worth its carry; a percentage taken for a
    # fraction would make none.
    if not -_MAX_FEE <= ratio <= _MAX_FEE:
        raise InvalidFieldError("taker_fee_ratio", f"is beyond {_MAX_FEE:f}")
    return ratio


def _symbol_row(info: resources_pb2.SymbolInfo) -> SymbolRow:
    return SymbolRow(
        symbol=info.symbol,
        base_asset=info.base_asset,
        quote_asset=info.quote_asset,
        status=_STATUSES.get(info.trading_status, TradingStatus.UNKNOWN),
        margin_allowed=info.margin_allowed,
        funding_interval=_interval(info, "funding_interval"),
        end_time=from_timestamp(info.end_time) if info.HasField("end_time") else None,
    )


def _bare_symbol(symbol: str) -> SymbolRow:
    return SymbolRow(
        symbol, "", "", TradingStatus.UNKNOWN, margin_allowed=False, funding_interval=None
    )


def _ticker_row(ticker: resources_pb2.Ticker) -> TickerRow:
    return TickerRow(
        symbol=ticker.symbol,
        quote_volume=decimal_from_proto(ticker, "quote_volume"),
        bid=decimal_from_proto(ticker, "best_bid_price"),
        ask=decimal_from_proto(ticker, "best_ask_price"),
    )


def rate_row(rate: resources_pb2.FundingRate | events_pb2.FundingUpdate) -> RateRow:
    """Return the rate of the coming settlement; raise InvalidFieldError for a damaged figure."""
    coming = decimal_from_proto(rate, "rate")
    return RateRow(
        symbol=rate.symbol,
        # `predicted_rate` is of the settlement after the coming one: a stand-in only.
        rate=coming if coming is not None else decimal_from_proto(rate, "predicted_rate"),
        next_funding_time=_instant(rate.next_funding_time, "next_funding_time"),
        stamp=_instant(rate.timestamp, "timestamp"),
        interval=_interval(rate, "interval"),
    )


def _instant(milliseconds: int, name: str) -> datetime | None:
    """Return an old int64 time; zero means unknown there."""
    if milliseconds == 0:
        return None
    try:
        return from_millis(milliseconds)
    except OverflowError:
        raise InvalidFieldError(name, "is not a time") from None


def _interval(
    message: resources_pb2.SymbolInfo | resources_pb2.FundingRate | events_pb2.FundingUpdate,
    name: str,
) -> timedelta | None:
    length = optional_duration(message, name)
    return length if length is not None and length > timedelta(0) else None
