"""Services of the contract of which every method is refused: those not served here, or not now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import position_pb2, position_pb2_grpc, risk_pb2, risk_pb2_grpc
from services.common.errors import OpensqtError, UnimplementedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc.aio
    from google.protobuf.descriptor import ServiceDescriptor

REASON = "METHOD_NOT_SERVED"


def refusing_servicer(
    base: type, service: ServiceDescriptor, error: Callable[[str], OpensqtError]
) -> type:
    """Return a servicer class of which every method raises `error` of the method's name."""
    # From the descriptor: a method added to the contract is refused by name, not left to gRPC's
    # text.
    methods: dict[str, Any] = {}
    for method in service.methods:
        make = _stream_refusal if method.server_streaming else _refusal
        methods[method.name] = make(f"{service.name}.{method.name}", error)
    return type(f"Unserved{service.name}", (base,), methods)


def _refusal(name: str, error: Callable[[str], OpensqtError]) -> Callable[..., Awaitable[Any]]:
    async def refuse(
        self: object, request: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        raise error(name)

    return refuse


def _stream_refusal(name: str, error: Callable[[str], OpensqtError]) -> Callable[..., Any]:
    async def refuse(
        self: object, request: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        raise error(name)
        yield  # type: ignore[unreachable]  # makes the method a stream of replies

    return refuse


def _not_served(name: str) -> OpensqtError:
    return UnimplementedError(f"{name} is not served by this version", reason=REASON)


UnservedRiskService = refusing_servicer(
    risk_pb2_grpc.RiskServiceServicer,
    risk_pb2.DESCRIPTOR.services_by_name["RiskService"],
    _not_served,
)
UnservedPositionService = refusing_servicer(
    position_pb2_grpc.PositionServiceServicer,
    position_pb2.DESCRIPTOR.services_by_name["PositionService"],
    _not_served,
)
