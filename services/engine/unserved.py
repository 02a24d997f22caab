"""Services of the contract that this version does not serve: every method says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import position_pb2_grpc, risk_pb2_grpc
from services.common.errors import UnimplementedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc.aio

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


def _unserved(base: type, service: str) -> type:
    methods: dict[str, Any] = {}
    for name in (name for name in vars(base) if name[0].isupper()):
        make = _stream_refusal if name.startswith("Subscribe") else _refusal
        methods[name] = make(f"{service}.{name}")
    return type(f"Unserved{service}", (base,), methods)


UnservedRiskService = _unserved(risk_pb2_grpc.RiskServiceServicer, "RiskService")
UnservedPositionService = _unserved(position_pb2_grpc.PositionServiceServicer, "PositionService")
