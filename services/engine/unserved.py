"""Services of the contract that this version does not serve: every method says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import position_pb2, position_pb2_grpc, risk_pb2, risk_pb2_grpc
from services.common.errors import UnimplementedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc.aio
    from google.protobuf.descriptor import ServiceDescriptor

REASON = "METHOD_NOT_SERVED"


def _refusal(name: str) -> Callable[..., Awaitable[Any]]:
    async def refuse(
        self: object, request: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        raise UnimplementedError(f"{name} is not served by this version", reason=REASON)

    return refuse


def _stream_refusal(name: str) -> Callable[..., Any]:
    async def refuse(
        self: object, request: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        raise UnimplementedError(f"{name} is not served by this version", reason=REASON)
        yield  # type: ignore[unreachable]  # makes the method a stream of replies

    return refuse


def _unserved(base: type, service: ServiceDescriptor) -> type:
    # From the descriptor: a method added to the contract is refused by name, not left to gRPC's
    # text.
    methods: dict[str, Any] = {}
    for method in service.methods:
        make = _stream_refusal if method.server_streaming else _refusal
        methods[method.name] = make(f"{service.name}.{method.name}")
    return type(f"Unserved{service.name}", (base,), methods)


UnservedRiskService = _unserved(
    risk_pb2_grpc.RiskServiceServicer, risk_pb2.DESCRIPTOR.services_by_name["RiskService"]
)
UnservedPositionService = _unserved(
    position_pb2_grpc.PositionServiceServicer,
    position_pb2.DESCRIPTOR.services_by_name["PositionService"],
)
