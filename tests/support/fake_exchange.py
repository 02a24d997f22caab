"""An `ExchangeService` with made-up markets and scripted faults, for the scanner's tests."""

# ruff: noqa: N802 - gRPC fixes the names of servicer methods

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.type import decimal_pb2

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc, instrument_pb2, resources_pb2
from services.common.codec import from_timestamp, to_duration, to_millis, to_timestamp
from services.common.errors import UnimplementedError
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings

NOW = datetime(2026, 3, 20, 3, 30, tzinfo=UTC)
EXCHANGE_SERVICE = "opensqt.market_maker.v1.ExchangeService"


def number(text: str) -> decimal_pb2.Decimal:
    """Return a wire decimal with any text, sound or not."""
    return decimal_pb2.Decimal(value=text)


@dataclass
class FakeListing:
    """One instrument; mutable so that a test can change the market between scans."""

    symbol: str
    rates: list[tuple[int, str]] = field(default_factory=list)
    interval_hours: int = 8
    status: int = instrument_pb2.TRADING_STATUS_TRADING
    volume: str = "50000000"
    bid: str = "99.99"
    ask: str = "100.01"
    next_rate: str = "0.0001"
    margin_allowed: bool = False
    # Levels as (price, quantity), best first; None is plenty at `bid` and `ask`.
    bids: tuple[tuple[str, str], ...] | None = None
    asks: tuple[tuple[str, str], ...] | None = None
    book_age: timedelta = timedelta(0)


# The stubs call every method abstract; the base itself answers UNIMPLEMENTED for those left out.
_Base: Any = exchange_pb2_grpc.ExchangeServiceServicer


@dataclass
class FakeExchange(_Base):  # type: ignore[misc]  # as said above
    """Serves `listings` as one venue; mutable, the test scripts it.

    `faults` maps a method name to errors raised by its next calls; `gates` to events its calls
    wait for.
    """

    perpetual: bool
    listings: dict[str, FakeListing] = field(default_factory=dict)
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    on_call: Callable[[str], None] | None = None
    now: datetime = NOW
    has_bulk_history: bool = True
    borrow_aprs: dict[str, str] = field(default_factory=dict)
    taker_fee: str | None = "0.0004"
    fees_by_symbol: dict[str, str] = field(default_factory=dict)

    def list(self, *listings: FakeListing) -> None:
        """Add or replace instruments."""
        self.listings.update({listing.symbol: listing for listing in listings})

    async def _enter(self, method: str) -> None:
        self.calls[method] += 1
        if self.on_call is not None:
            self.on_call(method)
        if self.faults.get(method):
            raise self.faults[method].pop(0)
        if method in self.gates:
            await self.gates[method].wait()

    async def GetSymbols(self, request: Any, context: Any) -> exchange_pb2.GetSymbolsResponse:
        """List the instruments."""
        await self._enter("GetSymbols")
        kind = (
            instrument_pb2.INSTRUMENT_KIND_PERPETUAL
            if self.perpetual
            else instrument_pb2.INSTRUMENT_KIND_SPOT
        )
        infos = [
            resources_pb2.SymbolInfo(
                symbol=each.symbol,
                base_asset=each.symbol.removesuffix("USDT"),
                quote_asset="USDT",
                trading_status=each.status,  # type: ignore[arg-type]  # tests pass plain numbers
                kind=kind,
                margin_allowed=each.margin_allowed,
            )
            for each in self.listings.values()
        ]
        return exchange_pb2.GetSymbolsResponse(symbol_infos=infos)

    async def GetTickers(self, request: Any, context: Any) -> exchange_pb2.GetTickersResponse:
        """Tell volumes and best prices."""
        await self._enter("GetTickers")
        tickers = [
            resources_pb2.Ticker(
                symbol=each.symbol,
                quote_volume=number(each.volume),
                best_bid_price=number(each.bid),
                best_ask_price=number(each.ask),
            )
            for each in self.listings.values()
        ]
        return exchange_pb2.GetTickersResponse(tickers=tickers)

    async def GetFundingRates(
        self, request: Any, context: Any
    ) -> exchange_pb2.GetFundingRatesResponse:
        """Tell the rates of the coming settlement."""
        await self._enter("GetFundingRates")
        rates = [
            resources_pb2.FundingRate(
                symbol=each.symbol,
                rate=number(each.next_rate),
                timestamp=to_millis(self.now),
                next_funding_time=to_millis(self.now + timedelta(hours=1)),
                interval=to_duration(timedelta(hours=each.interval_hours)),
            )
            for each in self.listings.values()
        ]
        return exchange_pb2.GetFundingRatesResponse(rates=rates)

    async def GetTradingFees(
        self, request: Any, context: Any
    ) -> exchange_pb2.GetTradingFeesResponse:
        """Tell one fee for all symbols, or of one symbol, or that there is no such figure."""
        await self._enter("GetTradingFees")
        told = self.fees_by_symbol.get(request.symbol, self.taker_fee)
        if told is None:
            raise UnimplementedError("no such fees here")
        fee = resources_pb2.TradingFee(symbol=request.symbol, taker_fee_ratio=number(told))
        return exchange_pb2.GetTradingFeesResponse(fees=[fee])

    async def GetBorrowRates(
        self, request: Any, context: Any
    ) -> exchange_pb2.GetBorrowRatesResponse:
        """Tell the borrow rates known of the assets asked for."""
        await self._enter("GetBorrowRates")
        rates = [
            resources_pb2.BorrowRate(asset=asset, annualized_rate=number(self.borrow_aprs[asset]))
            for asset in request.assets
            if asset in self.borrow_aprs
        ]
        return exchange_pb2.GetBorrowRatesResponse(rates=rates)

    async def GetHistoricalFundingRates(
        self, request: Any, context: Any
    ) -> exchange_pb2.GetHistoricalFundingRatesResponse:
        """Tell settlements newest first, page by page."""
        await self._enter("GetHistoricalFundingRates")
        if not request.symbol and not self.has_bulk_history:
            raise UnimplementedError("history by symbol only")
        start = to_millis(from_timestamp(request.start_time))
        end = to_millis(from_timestamp(request.end_time))
        found = [
            (time, each.symbol, rate)
            for each in self.listings.values()
            if request.symbol in ("", each.symbol)
            for time, rate in each.rates
            if start <= time < end
        ]
        found.sort(reverse=True)
        first = int(request.page_token or 0)
        last = first + (request.page_size or 100)
        return exchange_pb2.GetHistoricalFundingRatesResponse(
            rates=[
                resources_pb2.FundingRate(symbol=symbol, rate=number(rate), timestamp=time)
                for time, symbol, rate in found[first:last]
            ],
            next_page_token=str(last) if last < len(found) else "",
        )

    async def GetOrderBook(self, request: Any, context: Any) -> exchange_pb2.GetOrderBookResponse:
        """Tell the best levels, stamped by this venue's clock; a spot venue's is the machine's."""
        await self._enter("GetOrderBook")
        listing = self.listings[request.symbol]
        bids = ((listing.bid, "10000"),) if listing.bids is None else listing.bids
        asks = ((listing.ask, "10000"),) if listing.asks is None else listing.asks
        now = self.now if self.perpetual else datetime.now(UTC)
        return exchange_pb2.GetOrderBookResponse(
            symbol=request.symbol,
            bids=_book_levels(bids[: request.depth]),
            asks=_book_levels(asks[: request.depth]),
            observe_time=to_timestamp(now - listing.book_age),
        )

    async def GetHistoricalKlines(
        self, request: Any, context: Any
    ) -> exchange_pb2.GetHistoricalKlinesResponse:
        """Tell hourly candles that swing by one per cent, the last unfinished."""
        await self._enter("GetHistoricalKlines")
        candles = [
            resources_pb2.Candle(
                symbol=request.symbol,
                close=number("100" if index % 2 else "101"),
                timestamp=index * 3_600_000,
                is_closed=index < 10,
            )
            for index in range(11)
        ]
        return exchange_pb2.GetHistoricalKlinesResponse(candles=candles)

    async def GetOpenInterest(
        self, request: Any, context: Any
    ) -> exchange_pb2.GetOpenInterestResponse:
        """Tell an open interest of a quarter million coins."""
        await self._enter("GetOpenInterest")
        return exchange_pb2.GetOpenInterestResponse(open_interest=number("250000"))


def _book_levels(levels: tuple[tuple[str, str], ...]) -> list[resources_pb2.OrderBookLevel]:
    return [
        resources_pb2.OrderBookLevel(price=number(price), quantity=number(quantity))
        for price, quantity in levels
    ]


def history(
    rate: str = "0.0003", *, hours: int = 8, days: int = 32, until: datetime = NOW
) -> list[tuple[int, str]]:
    """Return settlements of one rate at every full interval before `until`, with jitter."""
    step = hours * 3_600_000
    last = to_millis(until) // step * step
    count = days * 24 // hours
    return [(last - index * step + index % 9, rate) for index in range(count)]


def exchange_server(exchange: FakeExchange, port: int = 0) -> GrpcServer:
    """Return a server of a fake venue; enter it to start it."""
    server = GrpcServer(ServerSettings(port=port, drain_seconds=0), metrics=ServiceMetrics("fake"))
    server.add(exchange_pb2_grpc.add_ExchangeServiceServicer_to_server, exchange, EXCHANGE_SERVICE)
    return server
