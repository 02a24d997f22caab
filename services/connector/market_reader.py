"""Market data read on request: prices, tickers, books, candles, open interest, trading rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.common.codec import to_millis
from services.common.errors import InvalidFieldError
from services.connector.instruments import InstrumentKind
from services.connector.market_mapping import INTERVALS, to_symbol_info
from services.connector.venue_questions import CandleSpan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from datetime import datetime
    from decimal import Decimal

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
    from services.connector.funding_reader import FundingReader
    from services.connector.instruments import Instrument
    from services.connector.venue import Venue
    from services.connector.venue_questions import MarketQuestions, OpenInterest

_MOST_LEVELS: Final = 1000
_DEFAULT_DEPTH: Final = 20
# 499, not 500: one candle more more than doubles the weight on USD-M.
_DEFAULT_CANDLES: Final = 499
_MOST_CANDLES: Final = 1000


@dataclass(frozen=True, slots=True)
class CandleRequest:
    """Which candles are wanted; opening times from `start` to before `end`."""

    symbol: str
    interval: str
    limit: int
    start: datetime | None
    end: datetime | None


class MarketReader:
    """Checks what is asked for and asks the venue."""

    def __init__(
        self,
        venue: Venue,
        questions: MarketQuestions,
        funding: FundingReader,
        reload_markets: Callable[[], Awaitable[None]],
    ) -> None:
        self._venue = venue
        self._questions = questions
        self._funding = funding
        self._reload_markets = reload_markets

    async def latest_price(self, symbol: str) -> Decimal | None:
        """Return the price of the last print, None when there has been none."""
        return await self._questions.last_price(self._instrument(symbol))

    async def tickers(self) -> list[resources_pb2.Ticker]:
        """Return 24 h figures with best bid and ask of all symbols."""
        return await self._questions.tickers()

    async def open_interest(self, symbol: str) -> OpenInterest:
        """Return the open base quantity and its value at the mark price, None without a price."""
        self._venue.require_perpetual("open interest")
        return await self._questions.open_interest(self._instrument(symbol))

    async def order_book(self, symbol: str, depth: int) -> exchange_pb2.GetOrderBookResponse:
        """Return the best `depth` levels of each side; 0 is 20, at most 1000.

        Fewer come when the book has fewer, or when the venue gives no more at once.
        """
        if depth < 0:
            raise InvalidFieldError("depth", "must not be negative")
        wanted = min(depth or _DEFAULT_DEPTH, _MOST_LEVELS)
        book = await self._questions.depth(self._instrument(symbol), wanted)
        del book.bids[wanted:], book.asks[wanted:]
        return book

    async def candles(self, request: CandleRequest) -> list[resources_pb2.Candle]:
        """Return candles oldest first; the last is closed only when the venue's time is past it."""
        if request.limit < 0:
            raise InvalidFieldError("limit", "must not be negative")
        instrument = self._instrument(request.symbol)
        span = CandleSpan(
            self.read_interval(request.interval),
            min(request.limit or _DEFAULT_CANDLES, _MOST_CANDLES),
            None if request.start is None else to_millis(request.start),
            None if request.end is None else to_millis(request.end),
        )
        found = await self._questions.candles(instrument, span)
        found.sort(key=lambda candle: candle.timestamp)
        for candle in found[:-1]:
            # A later one has begun, whatever the venue's time was when it was last asked.
            candle.is_closed = True
        return found

    def read_interval(self, interval: str) -> str:
        """Return a candle length the venue takes; raise InvalidFieldError for any other."""
        lengths: Collection[str] = self._questions.candle_lengths
        if interval not in INTERVALS or interval not in lengths:
            known = ", ".join(one for one in INTERVALS if one in lengths)
            raise InvalidFieldError("interval", f"must be one of {known}")
        return interval

    async def exchange_info(self, symbol: str) -> None:
        """Read the trading rules anew; raise NotFoundError when `symbol` is not among them."""
        await self._reload_markets()
        if symbol:
            self._instrument(symbol)

    async def symbol_info(self, symbol: str) -> resources_pb2.SymbolInfo:
        """Return the trading rules of one symbol."""
        instrument = self._instrument(symbol)
        return (await self._infos([instrument]))[0]

    async def symbol_infos(self) -> list[resources_pb2.SymbolInfo]:
        """Return the trading rules of all symbols, sorted by symbol."""
        instruments = sorted(self._venue.instruments, key=lambda one: one.symbol)
        return await self._infos(instruments)

    async def _infos(self, instruments: list[Instrument]) -> list[resources_pb2.SymbolInfo]:
        if self._venue.kind is InstrumentKind.SPOT:
            return [to_symbol_info(one, None) for one in instruments]
        interval_of = await self._funding.intervals()
        return [to_symbol_info(one, interval_of(one.exchange_symbol)) for one in instruments]

    def _instrument(self, symbol: str) -> Instrument:
        if not symbol:
            raise InvalidFieldError("symbol", "is required")
        return self._venue.instruments.get(symbol)
