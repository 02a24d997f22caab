"""Each refusal of a connector over the wire, by both ways an order goes: what the engine books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from opensqt.market_maker.v1 import exchange_pb2_grpc, resources_pb2
from services.common.channels import open_channel
from services.common.clock import SystemClock
from services.common.errors import OpensqtError
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings
from services.connector.servicers.order_entry import OrderEntryMethods
from services.engine.connector_gateway import ConnectorGateway
from services.engine.events import OrderRejected, OrderUnknown
from services.engine.instruments import InstrumentKind
from services.engine.order_entry import open_order_entry
from services.engine.orders import OrderClass
from services.engine.placing import event_of_answer
from tests.support.connector import eventually
from tests.support.engine_views import order_plan
from tests.support.gateway_rig import NAME, raised
from tests.support.refusals import DEFINITE, PASSING, UNPROVEN

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# The stubs call every method abstract; the base itself answers UNIMPLEMENTED for those left out.
_Base: Any = exchange_pb2_grpc.ExchangeServiceServicer


class Refuser(OrderEntryMethods, _Base):  # type: ignore[misc]  # the base is Any, see above
    """A connector that refuses every order with the error the test gave it; mutable."""

    def __init__(self) -> None:
        self.error: OpensqtError = DEFINITE[0]
        self.unary_count = 0

    async def PlaceOrder(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the wire's name
        """Refuse by the call of its own."""
        self.unary_count += 1
        return await self._place(request)

    async def _admit(self) -> None:
        """Admit everybody: no engine is overtaken here."""

    async def _place(
        self, request: resources_pb2.PlaceOrderRequest, path: str = ""
    ) -> resources_pb2.Order:
        # A fresh traceback each time: the same error is raised for many orders.
        raise self.error.with_traceback(None)


@asynccontextmanager
async def refuser() -> AsyncIterator[tuple[Refuser, dict[str, ConnectorGateway]]]:
    """Serve a refuser on the project's own server; yields a gateway for each way to it."""
    servicer = Refuser()
    server = GrpcServer(ServerSettings(drain_seconds=0), metrics=ServiceMetrics("refuser"))
    add: Any = exchange_pb2_grpc.add_ExchangeServiceServicer_to_server
    server.add(add, servicer, "opensqt.market_maker.v1.ExchangeService")
    async with server, open_channel(server.address) as channel:
        stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
        async with open_order_entry(NAME, stub, SystemClock()) as entry:

            async def is_open() -> bool:
                return entry.is_open

            await eventually(is_open)
            seconds: Any = {"call_seconds": 5.0, "place_seconds": 5.0}
            kind = InstrumentKind.PERPETUAL
            yield (
                servicer,
                {
                    "unary": ConnectorGateway(NAME, kind, stub, **seconds),
                    "stream": ConnectorGateway(NAME, kind, stub, entry=entry, **seconds),
                },
            )


async def test_every_refusal_becomes_the_event_it_proves() -> None:
    """Definite, passing or unknown, whatever the order's class, by stream and single call alike."""
    wanted = (
        dict.fromkeys(DEFINITE, ("rejected", False))
        | dict.fromkeys(PASSING, ("rejected", True))
        | dict.fromkeys(UNPROVEN, ("unknown", None))
    )
    wrong: list[tuple[str, OrderClass, str, object]] = []
    async with refuser() as (connector, ways):
        for error, verdict in wanted.items():
            connector.error = error
            for way, venue in ways.items():
                for order_class in OrderClass:
                    plan = order_plan(order_class=order_class)
                    told = await raised(venue.place(plan))
                    event = event_of_answer("position", NOW, plan, told)
                    found: tuple[str, bool | None] = ("observed", None)
                    if isinstance(event, OrderRejected):
                        found = ("rejected", event.retryable)
                        assert event.reason == error.reason
                    elif isinstance(event, OrderUnknown):
                        found = ("unknown", None)
                    if found != verdict:
                        wrong.append((error.reason, order_class, way, found))
    assert wrong == []
    assert connector.unary_count == len(wanted) * len(OrderClass)
