"""Order methods of `ExchangeService`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import grpc

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.common.codec import optional_time
from services.common.errors import (
    FatalError,
    InvalidFieldError,
    OpensqtError,
    OutcomeUnknownError,
)
from services.common.logs import bind_context, get_logger
from services.common.principals import CALLER
from services.common.tracing import traced
from services.connector.engine_epochs import CALL_EPOCH, EngineSender
from services.connector.order_codec import (
    decode_request,
    encode_batch_error,
    encode_order,
    encode_trade,
)
from services.connector.order_ids import OrderIds, read_order_ids
from services.connector.trade_reader import TradesRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from grpc.aio import ServicerContext

    from opensqt.market_maker.v1 import events_pb2
    from services.connector.instruments import Instrument
    from services.connector.order_part import OrderPart

    Context = ServicerContext[Any, Any]

_logger = get_logger(__name__)
MAX_BATCH: Final = 50
"""Orders in one batch; more are refused whole, before any is sent."""


class OrderMethods:
    """Mixed into the servicer, which sets `_orders`; the interceptor sends what is raised."""

    _orders: OrderPart

    async def PlaceOrder(
        self, request: resources_pb2.PlaceOrderRequest, context: Context
    ) -> resources_pb2.Order:
        """Send one order, once."""
        return await self._place(request)

    async def BatchPlaceOrders(
        self, request: exchange_pb2.BatchPlaceOrdersRequest, context: Context
    ) -> exchange_pb2.BatchPlaceOrdersResponse:
        """Send several orders at the same time, each on its own."""
        if not 1 <= len(request.orders) <= MAX_BATCH:
            raise InvalidFieldError("orders", f"give 1 to {MAX_BATCH}")
        # Each on its own: the venue's batch endpoint hides which leg failed how.
        results = await asyncio.gather(
            *(self._place_leg(request.orders, index) for index in range(len(request.orders))),
            return_exceptions=True,
        )
        response = exchange_pb2.BatchPlaceOrdersResponse(all_success=True)
        for index, result in enumerate(results):
            if isinstance(result, resources_pb2.Order):
                response.orders.append(result)
                continue
            response.all_success = False
            response.errors.append(_to_row(index, request.orders[index].client_order_id, result))
        return response

    async def CancelOrder(
        self, request: exchange_pb2.CancelOrderRequest, context: Context
    ) -> exchange_pb2.CancelOrderResponse:
        """Cancel one order."""
        instrument = self._instrument(request.symbol)
        await self._admit()
        ids = self._ids(request)
        bind_context(client_order_id=ids.client_order_id)
        state = await self._orders.reader.cancel(instrument, ids)
        return exchange_pb2.CancelOrderResponse(order=encode_order(state, instrument))

    async def BatchCancelOrders(
        self, request: exchange_pb2.BatchCancelOrdersRequest, context: Context
    ) -> exchange_pb2.BatchCancelOrdersResponse:
        """Cancel several orders of a symbol, each on its own."""
        instrument = self._instrument(request.symbol)
        wanted = self._batch_ids(request)
        await self._admit()
        results = await asyncio.gather(
            *(self._orders.reader.cancel(instrument, ids) for ids in wanted),
            return_exceptions=True,
        )
        return exchange_pb2.BatchCancelOrdersResponse(
            errors=[
                _to_row(index, ids.client_order_id, result)
                for index, (ids, result) in enumerate(zip(wanted, results, strict=True))
                if isinstance(result, BaseException)
            ]
        )

    async def CancelAllOrders(
        self, request: exchange_pb2.CancelAllOrdersRequest, context: Context
    ) -> exchange_pb2.CancelAllOrdersResponse:
        """Cancel every live order of a symbol."""
        instrument = self._instrument(request.symbol)
        await self._admit()
        await self._orders.reader.cancel_all(instrument, use_margin=request.use_margin)
        return exchange_pb2.CancelAllOrdersResponse()

    async def GetOrder(
        self, request: exchange_pb2.GetOrderRequest, context: Context
    ) -> resources_pb2.Order:
        """Return one order as the venue has it."""
        instrument = self._instrument(request.symbol)
        # Before the answer: "never sent" must stay true of every engine that was overtaken.
        await self._admit()
        ids = self._ids(request)
        bind_context(client_order_id=ids.client_order_id)
        state = await self._orders.reader.get(instrument, ids)
        return encode_order(state, instrument)

    async def GetOpenOrders(
        self, request: exchange_pb2.GetOpenOrdersRequest, context: Context
    ) -> exchange_pb2.GetOpenOrdersResponse:
        """Return the live orders of one symbol; without a symbol of all."""
        instrument = self._instrument(request.symbol) if request.symbol else None
        found = await self._orders.reader.open_orders(instrument, use_margin=request.use_margin)
        return exchange_pb2.GetOpenOrdersResponse(
            orders=[encode_order(state, known) for state, known in found]
        )

    async def GetTrades(
        self, request: exchange_pb2.GetTradesRequest, context: Context
    ) -> exchange_pb2.GetTradesResponse:
        """Return executions on a symbol, or those of one order."""
        instrument = self._instrument(request.symbol)
        if request.client_order_id:
            state = await self._orders.reader.get(instrument, self._order_id_of(request))
            trades = [encode_trade(fill, request.client_order_id) for fill in state.fills]
            return exchange_pb2.GetTradesResponse(trades=trades)
        if request.page_size < 0:
            raise InvalidFieldError("page_size", "must not be negative")
        fills, token = await self._orders.trades.page(
            TradesRequest(
                instrument,
                optional_time(request, "start_time"),
                optional_time(request, "end_time"),
                request.page_size,
                request.page_token,
            )
        )
        return exchange_pb2.GetTradesResponse(
            trades=[encode_trade(fill) for fill in fills], next_page_token=token
        )

    async def SubscribeOrders(
        self, request: exchange_pb2.SubscribeOrdersRequest, context: Context
    ) -> AsyncIterator[events_pb2.OrderUpdate]:
        """Stream the account's orders: live ones first, then changes; again after each drop."""
        async with self._orders.hub.subscribe("orders") as rows:
            async for row in rows:
                yield row

    async def _place_leg(
        self, orders: Sequence[resources_pb2.PlaceOrderRequest], index: int
    ) -> resources_pb2.Order:
        name = orders[index].client_order_id
        path = f"orders[{index}]."
        # The first goes out: one bad order does not stop the others, nor its own namesake.
        if name and any(one.client_order_id == name for one in orders[:index]):
            raise InvalidFieldError(f"{path}client_order_id", "is given twice")
        return await self._place(orders[index], path)

    async def _place(
        self, request: resources_pb2.PlaceOrderRequest, path: str = ""
    ) -> resources_pb2.Order:
        instrument = self._instrument(request.symbol, path)
        asked = decode_request(request, instrument, path)
        bind_context(client_order_id=asked.client_order_id)
        sender = await self._admit()
        if sender is not None:
            asked = replace(asked, sender=sender)
        with traced("order", client_order_id=asked.client_order_id, symbol=asked.symbol):
            state = await self._orders.desk.place(asked, instrument)
        return encode_order(state, instrument)

    async def _admit(self) -> EngineSender | None:
        """Hold the caller to the highest epoch shown here; see `EngineEpochs.admit`."""
        return await self._orders.epochs.admit(CALLER.get(), CALL_EPOCH.get())

    def _instrument(self, symbol: str, path: str = "") -> Instrument:
        if not symbol:
            raise InvalidFieldError(f"{path}symbol", "is required")
        return self._orders.venue.instruments.get(symbol)

    def _ids(
        self, request: exchange_pb2.GetOrderRequest | exchange_pb2.CancelOrderRequest
    ) -> OrderIds:
        return read_order_ids(
            request.client_order_id,
            request.exchange_order_id,
            request.order_id,
            use_margin=request.use_margin,
            profile=self._orders.venue.profile,
        )

    def _order_id_of(self, request: exchange_pb2.GetTradesRequest) -> OrderIds:
        profile = self._orders.venue.profile
        return read_order_ids(request.client_order_id, "", 0, use_margin=False, profile=profile)

    def _batch_ids(self, request: exchange_pb2.BatchCancelOrdersRequest) -> list[OrderIds]:
        wanted = [
            *(("", "", number) for number in request.order_ids),
            *((name, "", 0) for name in request.client_order_ids),
            *(("", name, 0) for name in request.exchange_order_ids),
        ]
        if not wanted or len(wanted) > MAX_BATCH:
            raise InvalidFieldError("client_order_ids", f"name 1 to {MAX_BATCH} orders in all")
        profile = self._orders.venue.profile
        margin = request.use_margin
        return [
            read_order_ids(client, venue, number, use_margin=margin, profile=profile)
            for client, venue, number in wanted
        ]


def _to_row(index: int, client_order_id: str, error: object) -> exchange_pb2.BatchOrderError:
    if not isinstance(error, OpensqtError):
        # A bug in one leg must not hide what became of the others; as INTERNAL it proves nothing.
        facts = {"client_order_id": client_order_id} if client_order_id else {}
        _logger.error("batch_leg_broke", index=index, problem=repr(error), **facts)
        error = FatalError("an unforeseen error; ask by client order id", reason="INTERNAL")
    if isinstance(error, OutcomeUnknownError):
        # The id we made for a caller who gave none is the only handle on that order.
        client_order_id = error.client_order_id
    code = grpc.StatusCode[error.code.value].value[0]
    return encode_batch_error(index, client_order_id, error.message, code, error.reason)
