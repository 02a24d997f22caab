"""How a simulated call ends, and what that is to its caller."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import grpc
from google.protobuf import message_factory

from opensqt.market_maker.v1 import exchange_pb2
from services.common.errors import OpensqtError
from services.common.status_details import to_grpc_status

SERVICE: Final = exchange_pb2.DESCRIPTOR.services_by_name["ExchangeService"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: bytes of a reply, or a status with its metadata."""

    raw: bytes = b""
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    metadata: tuple[tuple[str, Any], ...] = ()


DOWN: Final = Ended(code=grpc.StatusCode.UNAVAILABLE, details="failed to connect to the service")
BROKEN: Final = Ended(code=grpc.StatusCode.UNAVAILABLE, details="Socket closed")
LATE: Final = Ended(code=grpc.StatusCode.DEADLINE_EXCEEDED, details="Deadline Exceeded")


def status_of(error: OpensqtError) -> Ended:
    """Return the end of a call whose handler raised one of our errors."""
    status = to_grpc_status(error)
    return Ended(
        code=status.code, details=status.details, metadata=tuple(status.trailing_metadata or ())
    )


def error_of(ended: Ended) -> grpc.aio.AioRpcError:
    """Return what grpc.aio raises for an end that is no reply."""
    return grpc.aio.AioRpcError(
        ended.code, grpc.aio.Metadata(), grpc.aio.Metadata(*ended.metadata), details=ended.details
    )


@cache
def message_type(name: str, *, is_reply: bool = False) -> Any:
    """Return the message class of a method's request or reply."""
    method = SERVICE.methods_by_name[name]
    kind = method.output_type if is_reply else method.input_type
    return message_factory.GetMessageClass(kind)
