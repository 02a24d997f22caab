"""Account methods of `ExchangeService`, and what the venue is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2, types_pb2
from services.common.codec import optional_time, require_text, to_duration
from services.common.errors import RetryableError
from services.common.logs import get_logger
from services.connector.configuration_reader import to_position_mode
from services.connector.instruments import InstrumentKind
from services.connector.market_mapping import KINDS
from services.connector.page_tokens import read_page_size
from services.connector.venue_pages import HistoryRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpc.aio import ServicerContext

    from services.connector.data_part import DataPart

    Context = ServicerContext[Any, Any]

_logger = get_logger(__name__)

_TYPES = {
    InstrumentKind.SPOT: types_pb2.EXCHANGE_TYPE_SPOT,
    InstrumentKind.PERPETUAL: types_pb2.EXCHANGE_TYPE_FUTURES,
}


class AccountMethods:
    """Mixed into the servicer, which sets `_data`; the interceptor sends what is raised."""

    _data: DataPart

    async def GetName(
        self, request: exchange_pb2.GetNameRequest, context: Context
    ) -> exchange_pb2.GetNameResponse:
        """Return the name of the venue."""
        return exchange_pb2.GetNameResponse(name=self._data.venue.name)

    async def GetType(
        self, request: exchange_pb2.GetTypeRequest, context: Context
    ) -> exchange_pb2.GetTypeResponse:
        """Return what the account trades; the position mode is unspecified while unread."""
        venue = self._data.venue
        hedge = None
        try:
            hedge = await self._data.kept.position_mode()
        except RetryableError as error:
            # The rest is known without the venue, and a caller needs the fence most when it is ill.
            _logger.warning("position_mode_unread", reason=error.reason)
        return exchange_pb2.GetTypeResponse(
            type=_TYPES[venue.kind],
            exchange_code=venue.code,
            kind=KINDS[venue.kind],
            position_mode=to_position_mode(hedge),
            fence=None if venue.fence is None else to_duration(venue.fence.total),
        )

    async def GetAccount(
        self, request: exchange_pb2.GetAccountRequest, context: Context
    ) -> resources_pb2.Account:
        """Return the account."""
        return await self._data.account.account()

    async def GetPositions(
        self, request: exchange_pb2.GetPositionsRequest, context: Context
    ) -> exchange_pb2.GetPositionsResponse:
        """Return the open positions."""
        positions = await self._data.account.positions(request.symbol)
        return exchange_pb2.GetPositionsResponse(positions=positions)

    async def GetBalance(
        self, request: exchange_pb2.GetBalanceRequest, context: Context
    ) -> exchange_pb2.GetBalanceResponse:
        """Return the balance of one asset."""
        return await self._data.account.balance(require_text(request, "asset", max_length=32))

    async def GetFundingPayments(
        self, request: exchange_pb2.GetFundingPaymentsRequest, context: Context
    ) -> exchange_pb2.GetFundingPaymentsResponse:
        """Return a page of funding paid and received."""
        wanted = HistoryRequest(
            symbol=request.symbol or None,
            start=optional_time(request, "start_time"),
            end=optional_time(request, "end_time"),
            page_size=read_page_size(request.page_size),
            page_token=request.page_token,
        )
        payments, token = await self._data.account.funding_payments(wanted)
        return exchange_pb2.GetFundingPaymentsResponse(payments=payments, next_page_token=token)

    async def GetTradingFees(
        self, request: exchange_pb2.GetTradingFeesRequest, context: Context
    ) -> exchange_pb2.GetTradingFeesResponse:
        """Return this account's fees."""
        fees = await self._data.kept.trading_fees(request.symbol)
        return exchange_pb2.GetTradingFeesResponse(fees=fees)

    async def GetBorrowRates(
        self, request: exchange_pb2.GetBorrowRatesRequest, context: Context
    ) -> exchange_pb2.GetBorrowRatesResponse:
        """Return the price of borrowing assets."""
        rates = await self._data.account.borrow_rates(list(request.assets))
        return exchange_pb2.GetBorrowRatesResponse(rates=rates)

    async def GetAccountConfiguration(
        self, request: exchange_pb2.GetAccountConfigurationRequest, context: Context
    ) -> exchange_pb2.GetAccountConfigurationResponse:
        """Return what the account and its key are set to, and what is wrong."""
        return await self._data.configuration.configuration(request.symbol)

    async def SubscribeAccount(
        self, request: exchange_pb2.SubscribeAccountRequest, context: Context
    ) -> AsyncIterator[resources_pb2.Account]:
        """Stream the account."""
        async with self._data.account_streams.subscribe_account() as rows:
            async for row in rows:
                yield row

    async def SubscribePositions(
        self, request: exchange_pb2.SubscribePositionsRequest, context: Context
    ) -> AsyncIterator[resources_pb2.Position]:
        """Stream positions of one symbol or of all; the marker goes to everyone."""
        wanted = ""
        if request.symbol:
            wanted = self._data.venue.instruments.get(request.symbol).symbol
        async with self._data.account_streams.subscribe_positions() as rows:
            async for row in rows:
                if row.caught_up or wanted in ("", row.symbol):
                    yield row
