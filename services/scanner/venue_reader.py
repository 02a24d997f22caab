"""Reads one venue through its connector: every call with a deadline, again where a read may be."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc
from services.common.call_errors import from_call_error
from services.common.codec import decimal_from_proto, from_millis, to_timestamp
from services.common.errors import FatalError, OpensqtError, RetryableError
from services.common.read_priority import READ_PRIORITY_KEY, SCAN_READ
from services.scanner import venue_codec
from services.scanner.book_codec import read_book
from services.scanner.tasks import (
    ReadBook,
    ReadBorrowRates,
    ReadDetail,
    ReadFees,
    ReadHistory,
    ReadRates,
    ReadSymbols,
    ReadTickers,
    VenueTask,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from services.common.clock import Clock
    from services.scanner.instruments import InstrumentKind
    from services.scanner.metrics import ScannerMetrics
    from services.scanner.venue_codec import Reading

AnswerT = TypeVar("AnswerT", bound=Message, covariant=True)
RequestT = TypeVar("RequestT", bound=Message, contravariant=True)

_FIRST_WAIT = timedelta(milliseconds=200)
_LONGEST_WAIT = timedelta(seconds=60)
# A week of hourly candles: enough for a volatility, one call.
_CANDLE_COUNT = 169
# A reading of more pages than this is a venue that repeats itself.
_MAX_PAGES = 200


# No trade waits for a scan: the connector keeps its reads apart from those before an entry.
_METADATA = ((READ_PRIORITY_KEY, SCAN_READ),)


class _Method(Protocol[RequestT, AnswerT]):
    def __call__(
        self, request: RequestT, /, *, metadata: tuple[tuple[str, str], ...]
    ) -> Awaitable[AnswerT]: ...


class VenueReader:
    """Turns tasks into calls of one connector and answers into rows.

    Raises what `services.common.errors` holds for a failed read. A rate limit or an unreachable
    connector is waited for and tried again, as often as `attempts` says.
    """

    def __init__(
        self,
        venue: str,
        kind: InstrumentKind,
        channel: grpc.aio.Channel,
        *,
        attempts: int,
        page_size: int,
        clock: Clock,
        metrics: ScannerMetrics,
    ) -> None:
        self._venue = venue
        self._kind = kind
        self._stub = exchange_pb2_grpc.ExchangeServiceStub(channel)
        self._attempts = attempts
        self._page_size = page_size
        self._clock = clock
        self._metrics = metrics
        self.call_count = 0

    async def read(self, task: VenueTask) -> Reading:
        """Carry out a task of this venue."""
        stub = self._stub
        match task:
            case ReadSymbols():
                symbols = await self._call(stub.GetSymbols, exchange_pb2.GetSymbolsRequest())
                return venue_codec.read_symbols(symbols, self._kind)
            case ReadTickers():
                tickers = await self._call(stub.GetTickers, exchange_pb2.GetTickersRequest())
                return venue_codec.read_tickers(tickers)
            case ReadRates():
                rates = await self._call(
                    stub.GetFundingRates, exchange_pb2.GetFundingRatesRequest()
                )
                return venue_codec.read_rates(rates)
            case ReadFees():
                told = exchange_pb2.GetTradingFeesRequest(symbol=task.symbol)
                return venue_codec.read_fees(await self._call(stub.GetTradingFees, told))
            case ReadBorrowRates():
                asked = exchange_pb2.GetBorrowRatesRequest(assets=task.assets)
                return venue_codec.read_borrow_rates(await self._call(stub.GetBorrowRates, asked))
            case ReadHistory():
                return await self._history(task)
            case ReadDetail():
                return await self._detail(task)
            case ReadBook():
                wanted = exchange_pb2.GetOrderBookRequest(symbol=task.symbol, depth=task.depth)
                book = await self._call(stub.GetOrderBook, wanted)
                return read_book(book, task.symbol, self._clock.now())

    async def _history(self, task: ReadHistory) -> venue_codec.HistoryRead:
        """Read a span page by page, each decoded by itself so that no page holds the loop for
        long.
        """
        read = venue_codec.HistoryRead()
        # Pages are asked one after the other: a token comes only with the page before it.
        token = ""
        for _ in range(_MAX_PAGES):
            request = exchange_pb2.GetHistoricalFundingRatesRequest(
                symbol=task.symbol,
                start_time=to_timestamp(from_millis(task.span.start_ms)),
                end_time=to_timestamp(from_millis(task.span.end_ms)),
                page_size=self._page_size,
                page_token=token,
                columnar=True,
            )
            page = await self._call(self._stub.GetHistoricalFundingRates, request)
            venue_codec.read_history(page, read)
            token = page.next_page_token
            if not token:
                return read
        raise FatalError(f"the history did not end within {_MAX_PAGES} pages")

    async def _detail(self, task: ReadDetail) -> venue_codec.Detail:
        """Read candles and open interest of one perpetual."""
        candles = exchange_pb2.GetHistoricalKlinesRequest(
            symbol=task.symbol, interval="1h", limit=_CANDLE_COUNT
        )
        asked = exchange_pb2.GetOpenInterestRequest(symbol=task.symbol)
        # Neither needs the other: one after the other, the shortlist would take twice as long.
        history, interest = await asyncio.gather(
            self._call(self._stub.GetHistoricalKlines, candles),
            self._call(self._stub.GetOpenInterest, asked),
        )
        return venue_codec.Detail(
            venue_codec.price_volatility(history),
            decimal_from_proto(interest, "open_interest"),
            decimal_from_proto(interest, "notional"),
        )

    async def _call(self, method: _Method[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Make one read, again after a rate limit or a lost connection; the task's time is the
        bound.
        """
        name = type(request).__name__.removesuffix("Request")
        wait = _FIRST_WAIT
        for attempt in range(1, self._attempts + 1):
            self.call_count += 1
            try:
                answer = await method(request, metadata=_METADATA)
            except grpc.aio.AioRpcError as failed:
                error = from_call_error(failed)
                self._count(name, error.code.value)
                # A rejected read fails again; only limits and lost connections pass with time.
                if attempt == self._attempts or not _is_worth_waiting(error):
                    raise error from failed
                await self._clock.sleep((_retry_after(error) or wait).total_seconds())
                wait *= 2
            else:
                self._count(name, "OK")
                return answer
        raise FatalError("a read was not attempted at all")

    def _count(self, method: str, outcome: str) -> None:
        self._metrics.venue_calls.labels(self._venue, method, outcome).inc()


def _retry_after(error: OpensqtError) -> timedelta | None:
    return error.retry_after if isinstance(error, RetryableError) else None


def _is_worth_waiting(error: OpensqtError) -> bool:
    """Tell whether a read may be repeated soon: asking before the time told would prolong a ban."""
    if not isinstance(error, RetryableError):
        return False
    return error.retry_after is None or error.retry_after <= _LONGEST_WAIT
