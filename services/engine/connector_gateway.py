"""A venue seen through its connector: the `VenueGateway` of the core over gRPC."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc, resources_pb2
from services.common.call_errors import retry_read, translated
from services.common.engine_epoch import epoch_metadata
from services.common.errors import (
    AlreadyExistsError,
    FatalError,
    NotFoundError,
    OpensqtError,
    OutcomeUnknownError,
    RetryableError,
    UnimplementedError,
)
from services.common.time_codec import to_timestamp
from services.engine import wire_enums as wire
from services.engine.connector_codec import (
    book_from_proto,
    fence_from_proto,
    funding_from_proto,
    order_from_proto,
    required_figure,
    rules_from_proto,
)
from services.engine.holdings_codec import balances_from_proto, positions_from_proto
from services.engine.instruments import Book, InstrumentKind, InstrumentRules
from services.engine.order_request import place_request
from services.engine.orders import OrderOutcome, OrderPlan
from services.engine.pockets import Holdings
from services.engine.ports import (
    NEVER_SENT_REASON,
    NOT_ARRIVED_REASON,
    FundingPayment,
    VenueProfile,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from services.engine.order_entry import OrderEntry

T = TypeVar("T")
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
        entry: OrderEntry | None = None,
        epoch: int = 0,
    ) -> None:
        self._name = name
        self._kind = kind
        self._stub = stub
        self._call_seconds = call_seconds
        self._place_seconds = place_seconds
        self._entry = entry
        # With questions about orders too: what is answered then holds against older engines.
        self._shown = epoch_metadata(epoch)
        self._profile: VenueProfile | None = None

    @property
    def name(self) -> str:
        """Configured name of the venue."""
        return self._name

    @property
    def kind(self) -> InstrumentKind:
        """Configured kind of the venue's instruments."""
        return self._kind

    @property
    def is_idle(self) -> bool:
        """Whether no order waits for its answer, as far as orders go by the long-lived call."""
        return self._entry is None or self._entry.is_idle

    async def profile(self) -> VenueProfile:
        """Read what the connector says of itself, once.

        Raises FatalError when another venue answers than the configuration names.
        """
        if self._profile is None:
            self._profile = await self._read_profile()
        return self._profile

    async def _read(self, call: Callable[[], Awaitable[T]]) -> T:
        answer = await retry_read(call)
        # gRPC hands over None for a reply whose bytes it cannot decode.
        if answer is None:
            raise self._invalid("a reply that cannot be read")
        return answer

    async def _read_profile(self) -> VenueProfile:
        timeout = self._call_seconds
        name = await self._read(
            lambda: self._stub.GetName(exchange_pb2.GetNameRequest(), timeout=timeout)
        )
        kind = await self._read(
            lambda: self._stub.GetType(exchange_pb2.GetTypeRequest(), timeout=timeout)
        )
        its_kind = wire.KIND_FROM_WIRE.get(kind.kind)
        if name.name != self._name or its_kind is not self._kind:
            raise FatalError(
                f"venue {self._name} ({self._kind}) is configured, but its connector says it is "
                f"{name.name} ({its_kind or 'of unknown kind'}); mend address, name or kind",
                reason="VENUE_MISMATCH",
            )
        return VenueProfile(
            name=self._name,
            kind=self._kind,
            fence=fence_from_proto(kind),
            position_mode=wire.POSITION_MODE_FROM_WIRE.get(kind.position_mode),
        )

    async def rules(self, symbol: str, *, use_margin: bool) -> InstrumentRules:
        """Read the trading rules, fees and leverage of one symbol."""
        timeout = self._call_seconds
        info = await self._read(
            lambda: self._stub.GetSymbolInfo(
                exchange_pb2.GetSymbolInfoRequest(symbol=symbol), timeout=timeout
            )
        )
        if info.symbol != symbol:
            raise self._invalid(f"the rules of {info.symbol!r}, not of {symbol}")
        fees = await self._read(
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
            answer = await self._read(
                lambda: self._stub.GetAccountConfiguration(request, timeout=self._call_seconds)
            )
        except UnimplementedError:
            return 0
        return answer.leverage

    async def book(self, symbol: str, depth: int) -> Book:
        """Read the order book now."""
        request = exchange_pb2.GetOrderBookRequest(symbol=symbol, depth=depth)
        return book_from_proto(
            await self._read(lambda: self._stub.GetOrderBook(request, timeout=self._call_seconds))
        )

    async def place(self, plan: OrderPlan) -> OrderOutcome:
        """Send the order once; every answer that proves nothing is an OutcomeUnknownError.

        By the order-entry call while it is open, else by a call of its own: decided before anything
        leaves, never tried the other way afterwards.
        """
        request = place_request(plan)
        try:
            order = await self._send(request)
        except AlreadyExistsError as error:
            # An order of this id is there, sent by whom and filled how far nobody has said.
            raise OutcomeUnknownError(
                error.message,
                client_order_id=plan.client_order_id,
                reason=error.reason,
                metadata=error.metadata,
            ) from error
        try:
            return self._checked(order, plan.client_order_id)
        except OpensqtError as error:
            # The order was sent: an answer that cannot be read proves nothing about it.
            raise OutcomeUnknownError(
                error.message, client_order_id=plan.client_order_id
            ) from error

    async def _send(self, request: resources_pb2.PlaceOrderRequest) -> resources_pb2.Order | None:
        if self._entry is not None and self._entry.is_open:
            return await self._entry.place(request, self._place_seconds)
        with translated(client_order_id=request.client_order_id):
            return await self._stub.PlaceOrder(
                request, timeout=self._place_seconds, metadata=self._shown
            )

    async def cancel_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """Take a resting order back; None where its state could not be read afterwards."""
        request = exchange_pb2.CancelOrderRequest(
            symbol=symbol, client_order_id=client_order_id, use_margin=use_margin
        )
        with translated():
            answer = await self._stub.CancelOrder(
                request, timeout=self._call_seconds, metadata=self._shown
            )
        order = _order_after_cancel(answer)
        return None if order is None else self._checked(order, client_order_id)

    async def get_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """Read one order by our id; None where the venue does not know the id.

        Raises NotFoundError (ORDER_NOT_ARRIVED, ORDER_NEVER_SENT) on the connector's own word,
        OutcomeUnknownError while the connector does not know the outcome, RetryableError for every
        other failure and every answer that cannot be read: none says anything of the order.
        """
        request = exchange_pb2.GetOrderRequest(
            symbol=symbol, client_order_id=client_order_id, use_margin=use_margin
        )
        try:
            with translated():
                order = await self._stub.GetOrder(
                    request, timeout=self._call_seconds, metadata=self._shown
                )
            return self._checked(order, client_order_id)
        except (OutcomeUnknownError, RetryableError):
            raise
        except OpensqtError as error:
            if isinstance(error, NotFoundError):
                if error.reason == "ORDER_NOT_FOUND":
                    return None
                if error.reason in (NOT_ARRIVED_REASON, NEVER_SENT_REASON):
                    raise
            raise RetryableError(error.message, reason=error.reason) from error

    def _checked(self, order: resources_pb2.Order | None, client_order_id: str) -> OrderOutcome:
        if order is None:
            raise self._invalid("a reply that cannot be read")
        # Another order's fill would be booked as ours, and ours left without a hedge.
        if order.client_order_id != client_order_id:
            raise FatalError(
                f"asked for order {client_order_id}, {self._name} answered with another",
                reason="CONNECTOR_ECHO_MISMATCH",
            )
        return order_from_proto(order)

    def _invalid(self, what: str) -> FatalError:
        return FatalError(f"connector {self._name} sent {what}", reason="CONNECTOR_INVALID")

    async def position(self, symbol: str) -> Decimal:
        """Read the account's signed position in a perpetual; both sides of hedge mode summed."""
        request = exchange_pb2.GetPositionsRequest(symbol=symbol)
        answer = await self._read(
            lambda: self._stub.GetPositions(request, timeout=self._call_seconds)
        )
        # A connector may answer with all positions; those of other symbols say nothing here.
        rows = (row for row in answer.positions if row.symbol == symbol)
        return sum((required_figure(row, "size") for row in rows), _ZERO)

    async def holdings(self) -> Holdings:
        """Read all positions of a perpetual account, or all balances of a spot account."""
        timeout = self._call_seconds
        if self._kind is InstrumentKind.PERPETUAL:
            answer = await self._read(
                lambda: self._stub.GetPositions(exchange_pb2.GetPositionsRequest(), timeout=timeout)
            )
            return positions_from_proto(answer)
        account = await self._read(
            lambda: self._stub.GetAccount(exchange_pb2.GetAccountRequest(), timeout=timeout)
        )
        return balances_from_proto(account)

    async def free_balance(self, asset: str) -> Decimal:
        """Read what is free of an asset."""
        request = exchange_pb2.GetBalanceRequest(asset=asset)
        answer = await self._read(
            lambda: self._stub.GetBalance(request, timeout=self._call_seconds)
        )
        return required_figure(answer, "free")

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        """Read the funding payments from `since` on, all pages."""
        payments: list[FundingPayment] = []
        tokens = {""}
        token = ""
        while True:
            page = await self._payments_page(symbol, since, token)
            payments.extend(funding_from_proto(row) for row in page.payments)
            token = page.next_page_token
            if not token:
                return payments
            if token in tokens:
                # Going round in pages would never end, and would book each payment many times.
                raise self._invalid("the same page twice")
            tokens.add(token)

    async def _payments_page(
        self, symbol: str, since: datetime, token: str
    ) -> exchange_pb2.GetFundingPaymentsResponse:
        request = exchange_pb2.GetFundingPaymentsRequest(
            symbol=symbol,
            start_time=to_timestamp(since),
            page_size=PAGE_SIZE,
            page_token=token,
        )
        return await self._read(
            lambda: self._stub.GetFundingPayments(request, timeout=self._call_seconds)
        )


def _order_after_cancel(
    answer: exchange_pb2.CancelOrderResponse | None,
) -> resources_pb2.Order | None:
    # gRPC hands over None for a reply whose bytes it cannot decode.
    return answer.order if answer is not None and answer.HasField("order") else None
