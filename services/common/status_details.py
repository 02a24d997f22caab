"""Our errors as `google.rpc.Status`, with the details of `google/rpc/error_details.proto`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.common.errors import DOMAIN, InvalidFieldError, OpensqtError, RetryableError
from services.common.masking import mask_text
from services.common.time_codec import to_duration

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_TEXT = 512
"""Characters of a message or metadata value sent: all must fit a caller's 8 KiB of headers."""

MAX_METADATA_KEYS = 16


def to_status_proto(error: OpensqtError) -> status_pb2.Status:
    """Return the whole status: ErrorInfo always, BadRequest or RetryInfo where they apply."""
    details: list[Message] = [_error_info(error)]
    if isinstance(error, InvalidFieldError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field[:MAX_TEXT], description=error.problem[:MAX_TEXT]
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, RetryableError) and error.retry_after is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=to_duration(error.retry_after)))
    status = status_pb2.Status(
        code=code_pb2.Code.Value(error.code.value), message=_one_line(error.message)
    )
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def to_grpc_status(error: OpensqtError) -> grpc.Status:
    """Return what `context.abort_with_status` takes."""
    return rpc_status.to_status(to_status_proto(error))


def _error_info(error: OpensqtError) -> error_details_pb2.ErrorInfo:
    kept = dict(list(error.metadata.items())[:MAX_METADATA_KEYS])
    return error_details_pb2.ErrorInfo(
        # 63 and 64 characters are ErrorInfo's own bounds for a reason and a key.
        reason=error.reason[:63],
        domain=DOMAIN,
        metadata={key[:64]: value[:MAX_TEXT] for key, value in kept.items()},
    )


def _one_line(text: str) -> str:
    # Whoever wrote the text: a secret must not leave with an error.
    return mask_text(" ".join(text.split()))[:MAX_TEXT]
