"""A venue seen through its connector: the `VenueGateway` of the core over gRPC."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import grpc.aio

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc, resources_pb2, types_pb2
from services.common.call_errors import from_call_error, retry_read
from services.common.codec import decimal_from_proto, decimal_to_proto
from services.common.errors import (
    FatalError,
    NotFoundError,
    OpensqtError,
    OutcomeUnknownError,
    RetryableError,
    UnimplementedError,
)
from services.common.time_codec import from_duration, to_timestamp
from services.engine import wire_enums as wire
from services.engine.connector_codec import (
    book_from_proto,
    funding_from_proto,
    order_from_proto,
    rules_from_proto,
)
from services.engine.instruments import Book, InstrumentKind, InstrumentRules
from services.engine.orders import OrderOutcome, OrderPlan
from services.engine.ports import FundingPayment, VenueProfile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
PAGE_SIZE = 1000
_ZERO = Decimal(0)


class ConnectorGateway:
    """One venue account behind its connector. Orders are sent once; only reads are repeated."""

    def __init__(
        self,
        name: str,
        kind: InstrumentKind,
        stub: exchange_pb2_grpc.ExchangeServiceAsyncStub,
        *,
        call_seconds: float,
        place_seconds: float,
    ) -> None:
        self._name = name
        self._kind = kind
        self._stub = stub
        self._call_seconds = call_seconds
        self._place_seconds = place_seconds
        self._profile: VenueProfile | None = None

    @property
    def name(self) -> str:
        """Configured name of the venue."""
        return self._name

    @property
    def kind(self) -> InstrumentKind:
        """Configured kind of the venue's instruments."""
        return self._kind

    async def profile(self) -> VenueProfile:
        """Read what the connector says of itself, once.

        Raises FatalError when another venue answers than the configuration names.
        """
        if self._profile is None:
            self._profile = await self._read_profile()
        return self._profile

    async def _read_profile(self) -> VenueProfile:
        name = await retry_read(
            lambda: self._stub.GetName(exchange_pb2.GetNameRequest(), timeout=self._call_seconds)
        )
        kind = await retry_read(
            lambda: self._stub.GetType(exchange_pb2.GetTypeRequest(), timeout=self._call_seconds)
        )
        if name.name != self._name or wire.KIND_FROM_WIRE.get(kind.kind) is not self._kind:
            raise FatalError(
                f"venue {self._name} ({self._kind}) is configured, but its connector says it is "
                f"{name.name}; mend the address or the name",
                reason="VENUE_MISMATCH",
            )
        if not kind.HasField("fence"):
            raise FatalError(
                f"connector {self._name} names no fence", reason="CONNECTOR_INCOMPLETE"
            )
        return VenueProfile(
            name=self._name,
            kind=self._kind,
            fence=from_duration(kind.fence, "fence"),
            position_mode=wire.POSITION_MODE_FROM_WIRE.get(kind.position_mode),
        )

    async def rules(self, symbol: str, *, use_margin: bool) -> InstrumentRules:
        """Read the trading rules, fees and leverage of one symbol."""
        timeout = self._call_seconds
        info = await retry_read(
            lambda: self._stub.GetSymbolInfo(
                exchange_pb2.GetSymbolInfoRequest(symbol=symbol), timeout=timeout
            )
        )
        fees = await retry_read(
            lambda: self._stub.GetTradingFees(
                exchange_pb2.GetTradingFeesRequest(symbol=symbol), timeout=timeout
            )
        )
        leverage = await self._leverage(symbol)
        return rules_from_proto(self._name, info, fees.fees, leverage, use_margin=use_margin)

    async def _leverage(self, symbol: str) -> int:
        if self._kind is InstrumentKind.SPOT:
            return 0
        request = exchange_pb2.GetAccountConfigurationRequest(symbol=symbol)
        try:
            answer = await retry_read(
                lambda: self._stub.GetAccountConfiguration(request, timeout=self._call_seconds)
            )
        except UnimplementedError:
            return 0
        return answer.leverage

    async def book(self, symbol: str, depth: int) -> Book:
        """Read the order book now."""
        request = exchange_pb2.GetOrderBookRequest(symbol=symbol, depth=depth)
        return book_from_proto(
            await retry_read(lambda: self._stub.GetOrderBook(request, timeout=self._call_seconds))
        )

    async def place(self, plan: OrderPlan) -> OrderOutcome:
        """Send the order once; every answer that proves nothing is an OutcomeUnknownError."""
        try:
            order = await self._stub.PlaceOrder(place_request(plan), timeout=self._place_seconds)
        except grpc.aio.AioRpcError as error:
            raise from_call_error(error, client_order_id=plan.client_order_id) from error
        try:
            return self._checked(order, plan.client_order_id)
        except OpensqtError as error:
            # The order was sent: an answer that cannot be read proves nothing about it.
            raise OutcomeUnknownError(
                error.message, client_order_id=plan.client_order_id
            ) from error

    async def get_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """Read one order by our id; None where the connector does not know the id.

        Raises OutcomeUnknownError while the connector does not know the outcome, RetryableError for
        every other failure: none of them says anything about the order.
        """
        request = exchange_pb2.GetOrderRequest(
            symbol=symbol, client_order_id=client_order_id, use_margin=use_margin
        )
        try:
            order = await self._stub.GetOrder(request, timeout=self._call_seconds)
        except grpc.aio.AioRpcError as error:
            problem = from_call_error(error)
            if isinstance(problem, NotFoundError) and problem.reason == ORDER_NOT_FOUND:
                return None
            if isinstance(problem, (OutcomeUnknownError, RetryableError)):
                raise problem from error
            raise RetryableError(problem.message, reason=problem.reason) from error
        return self._checked(order, client_order_id)

    def _checked(self, order: resources_pb2.Order, client_order_id: str) -> OrderOutcome:
        if order.client_order_id != client_order_id:
            raise FatalError(
                f"asked for order {client_order_id}, {self._name} answered with another",
                reason="CONNECTOR_ECHO_MISMATCH",
            )
        return order_from_proto(order)

    def _incomplete(self, what: str) -> FatalError:
        return FatalError(f"connector {self._name} sent {what}", reason="CONNECTOR_INCOMPLETE")

    async def position(self, symbol: str) -> Decimal:
        """Read the account's signed position in a perpetual; both sides of hedge mode summed."""
        request = exchange_pb2.GetPositionsRequest(symbol=symbol)
        answer = await retry_read(
            lambda: self._stub.GetPositions(request, timeout=self._call_seconds)
        )
        sizes = [
            decimal_from_proto(row, "size") for row in answer.positions if row.symbol == symbol
        ]
        if any(size is None for size in sizes):
            raise FatalError(
                f"{self._name} sent a position without size", reason="CONNECTOR_INCOMPLETE"
            )
        return sum((size for size in sizes if size is not None), _ZERO)

    async def free_balance(self, asset: str) -> Decimal:
        """Read what is free of an asset."""
        request = exchange_pb2.GetBalanceRequest(asset=asset)
        answer = await retry_read(
            lambda: self._stub.GetBalance(request, timeout=self._call_seconds)
        )
        free = decimal_from_proto(answer, "free")
        if free is None:
            raise self._incomplete("no free balance")
        return free

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        """Read the funding payments from `since` on, all pages."""
        payments: list[FundingPayment] = []
        token = ""
        while True:
            request = exchange_pb2.GetFundingPaymentsRequest(
                symbol=symbol,
                start_time=to_timestamp(since),
                page_size=PAGE_SIZE,
                page_token=token,
            )
            page = await self._payments_page(request)
            payments.extend(funding_from_proto(row) for row in page.payments)
            token = page.next_page_token
            if not token:
                return payments

    async def _payments_page(
        self, request: exchange_pb2.GetFundingPaymentsRequest
    ) -> exchange_pb2.GetFundingPaymentsResponse:
        return await retry_read(
            lambda: self._stub.GetFundingPayments(request, timeout=self._call_seconds)
        )


def place_request(plan: OrderPlan) -> resources_pb2.PlaceOrderRequest:
    """Encode an order: limit and immediate-or-cancel at its worst price, or a market order."""
    is_limit = plan.worst_price is not None
    return resources_pb2.PlaceOrderRequest(
        symbol=plan.instrument.symbol,
        side=wire.SIDE_TO_WIRE[plan.side],
        type=types_pb2.ORDER_TYPE_LIMIT if is_limit else types_pb2.ORDER_TYPE_MARKET,
        time_in_force=types_pb2.TIME_IN_FORCE_IOC
        if is_limit
        else types_pb2.TIME_IN_FORCE_UNSPECIFIED,
        quantity=decimal_to_proto(plan.quantity),
        price=decimal_to_proto(plan.worst_price),
        reduce_only=plan.reduce_only,
        client_order_id=plan.client_order_id,
        use_margin=plan.use_margin,
        order_class=wire.CLASS_TO_WIRE[plan.order_class],
    )
