"""Market data methods of `ExchangeService`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.common.codec import optional_time
from services.connector.market_reader import CandleRequest
from services.connector.page_tokens import read_page_size
from services.connector.row_numbers import wire
from services.connector.venue_pages import HistoryRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpc.aio import ServicerContext

    from opensqt.market_maker.v1 import events_pb2
    from services.connector.data_part import DataPart

    Context = ServicerContext[Any, Any]


class MarketMethods:
    """Mixed into the servicer, which sets `_data`; the interceptor sends what is raised."""

    _data: DataPart

    async def GetLatestPrice(
        self, request: exchange_pb2.GetLatestPriceRequest, context: Context
    ) -> exchange_pb2.GetLatestPriceResponse:
        """Return the price of the last print."""
        price = await self._data.market.latest_price(request.symbol)
        return exchange_pb2.GetLatestPriceResponse(price=wire(price))

    async def GetTickers(
        self, request: exchange_pb2.GetTickersRequest, context: Context
    ) -> exchange_pb2.GetTickersResponse:
        """Return 24 h figures and best prices of all symbols."""
        return exchange_pb2.GetTickersResponse(tickers=await self._data.market.tickers())

    async def GetOpenInterest(
        self, request: exchange_pb2.GetOpenInterestRequest, context: Context
    ) -> exchange_pb2.GetOpenInterestResponse:
        """Return open interest of one perpetual."""
        found = await self._data.market.open_interest(request.symbol)
        return exchange_pb2.GetOpenInterestResponse(
            open_interest=wire(found.quantity), notional=wire(found.notional)
        )

    async def GetHistoricalKlines(
        self, request: exchange_pb2.GetHistoricalKlinesRequest, context: Context
    ) -> exchange_pb2.GetHistoricalKlinesResponse:
        """Return candles, oldest first."""
        wanted = CandleRequest(
            request.symbol,
            request.interval,
            request.limit,
            optional_time(request, "start_time"),
            optional_time(request, "end_time"),
        )
        candles = await self._data.market.candles(wanted)
        return exchange_pb2.GetHistoricalKlinesResponse(candles=candles)

    async def FetchExchangeInfo(
        self, request: exchange_pb2.FetchExchangeInfoRequest, context: Context
    ) -> exchange_pb2.FetchExchangeInfoResponse:
        """Read the trading rules anew."""
        await self._data.market.exchange_info(request.symbol)
        return exchange_pb2.FetchExchangeInfoResponse()

    async def GetSymbolInfo(
        self, request: exchange_pb2.GetSymbolInfoRequest, context: Context
    ) -> resources_pb2.SymbolInfo:
        """Return the trading rules of one symbol."""
        return await self._data.market.symbol_info(request.symbol)

    async def GetSymbols(
        self, request: exchange_pb2.GetSymbolsRequest, context: Context
    ) -> exchange_pb2.GetSymbolsResponse:
        """Return all symbols with their trading rules."""
        infos = await self._data.market.symbol_infos()
        return exchange_pb2.GetSymbolsResponse(
            symbols=[info.symbol for info in infos], symbol_infos=infos
        )

    async def GetFundingRate(
        self, request: exchange_pb2.GetFundingRateRequest, context: Context
    ) -> resources_pb2.FundingRate:
        """Return the present funding of one perpetual."""
        return await self._data.funding.rate(request.symbol)

    async def GetFundingRates(
        self, request: exchange_pb2.GetFundingRatesRequest, context: Context
    ) -> exchange_pb2.GetFundingRatesResponse:
        """Return the present funding of all perpetuals."""
        return exchange_pb2.GetFundingRatesResponse(rates=await self._data.funding.rates())

    async def GetHistoricalFundingRates(
        self, request: exchange_pb2.GetHistoricalFundingRatesRequest, context: Context
    ) -> exchange_pb2.GetHistoricalFundingRatesResponse:
        """Return a page of settlements."""
        wanted = HistoryRequest(
            symbol=request.symbol or None,
            start=optional_time(request, "start_time"),
            end=optional_time(request, "end_time"),
            page_size=read_page_size(request.page_size),
            limit=request.limit,
            page_token=request.page_token,
        )
        if request.columnar:
            columns, token = await self._data.funding.history_columns(wanted)
            return exchange_pb2.GetHistoricalFundingRatesResponse(
                columns=columns, next_page_token=token
            )
        rates, token = await self._data.funding.history(wanted)
        return exchange_pb2.GetHistoricalFundingRatesResponse(rates=rates, next_page_token=token)

    async def GetOrderBook(
        self, request: exchange_pb2.GetOrderBookRequest, context: Context
    ) -> exchange_pb2.GetOrderBookResponse:
        """Return the order book of one symbol."""
        return await self._data.market.order_book(request.symbol, request.depth)

    async def SubscribePrice(
        self, request: exchange_pb2.SubscribePriceRequest, context: Context
    ) -> AsyncIterator[events_pb2.PriceChange]:
        """Stream prices."""
        async with self._data.market_streams.subscribe_prices(request.symbols) as rows:
            async for row in rows:
                yield row

    async def SubscribeFundingRate(
        self, request: exchange_pb2.SubscribeFundingRateRequest, context: Context
    ) -> AsyncIterator[events_pb2.FundingUpdate]:
        """Stream funding."""
        async with self._data.market_streams.subscribe_funding(request.symbol) as rows:
            async for row in rows:
                yield row

    async def SubscribeKlines(
        self, request: exchange_pb2.SubscribeKlinesRequest, context: Context
    ) -> AsyncIterator[resources_pb2.Candle]:
        """Stream candles."""
        streams = self._data.market_streams
        async with streams.subscribe_candles(request.symbols, request.interval) as rows:
            async for row in rows:
                yield row
