"""Tasks and their ends as bytes, for workers in other processes.

JSON with a version, strict both ways; readings are compressed, and bounded when they are opened. A
failed task travels as the `google.rpc.Status` that the same error would have on a call.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast, get_args

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from services.common.call_errors import from_status
from services.common.errors import (
    Code,
    FatalError,
    InvalidFieldError,
    OpensqtError,
    RetryableError,
)
from services.common.status_details import to_status_proto
from services.scanner.books import Book
from services.scanner.instruments import RateRow, SymbolRow, TickerRow
from services.scanner.plain_values import codec_of
from services.scanner.tasks import (
    ReadBook,
    ReadBorrowRates,
    ReadDetail,
    ReadFees,
    ReadHistory,
    ReadRates,
    ReadSymbols,
    ReadTickers,
    VenueTask,
)
from services.scanner.venue_codec import Detail, HistoryRead, Read

if TYPE_CHECKING:
    from services.scanner.venue_codec import Reading

VERSION = 1
"""Raised when the form of tasks or readings changes; others are refused, never guessed at."""

MAX_READING_BYTES = 256 * 1024 * 1024
"""Of a reading once opened: a year of a thousand symbols' settlements has a tenth of it."""

READINGS: Mapping[type[VenueTask], Any] = {
    ReadSymbols: Read[SymbolRow],
    ReadTickers: Read[TickerRow],
    ReadRates: Read[RateRow],
    ReadFees: Read[Decimal],
    ReadBorrowRates: Read[Decimal],
    ReadHistory: HistoryRead,
    ReadDetail: Detail,
    ReadBook: Book,
}
"""What each kind of task is answered with."""

_KINDS: Mapping[str, type[VenueTask]] = {each.__name__: each for each in get_args(VenueTask)}
# Histories compress well at the first level; the others cost more than the network.
_LEVEL = 1


def encode_task(task: VenueTask) -> bytes:
    """Return a task as bytes."""
    return _dump(type(task).__name__, codec_of(type(task)).encode(task))


def decode_task(data: bytes) -> VenueTask:
    """Return the task in `data`; raise InvalidFieldError for anything else, another version too."""
    kind, plain = _load(data)
    if kind not in _KINDS:
        raise InvalidFieldError("kind", "is no task known here")
    return cast("VenueTask", codec_of(_KINDS[kind]).decode(plain))


def encode_reading(task: VenueTask, reading: Reading) -> bytes:
    """Return what a task was answered with, compressed."""
    plain = codec_of(READINGS[type(task)]).encode(reading)
    return zlib.compress(_dump(type(task).__name__, plain), _LEVEL)


def decode_reading(task: VenueTask, data: bytes) -> Reading:
    """Return the answer to `task` in `data`; raise InvalidFieldError for anything else."""
    kind, plain = _load(_inflated(data))
    if kind != type(task).__name__:
        raise InvalidFieldError("kind", "is the answer to another task")
    return cast("Reading", codec_of(READINGS[type(task)]).decode(plain))


def encode_error(error: Exception) -> bytes:
    """Return how a task failed; of errors that are none of ours only the name goes out."""
    if isinstance(error, TimeoutError):
        error = RetryableError(
            str(error) or "took too long", reason="TASK_TIMEOUT", code=Code.DEADLINE_EXCEEDED
        )
    elif not isinstance(error, OpensqtError):
        error = FatalError(f"a worker failed: {type(error).__name__}")
    data: bytes = to_status_proto(error).SerializeToString()
    return data


def decode_error(data: bytes) -> Exception:
    """Return the error of a failed task; FatalError for bytes that hold none."""
    try:
        return from_status(status_pb2.Status.FromString(data))
    except DecodeError:
        return FatalError("a worker failed and did not say how")


def _dump(kind: str, plain: object) -> bytes:
    document = {"version": VERSION, "kind": kind, "value": plain}
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def _load(data: bytes) -> tuple[str, Any]:
    try:
        document = json.loads(data)
    # Text that is none, or nested too deeply for the parser.
    except (ValueError, RecursionError):
        raise InvalidFieldError("document", "is no JSON") from None
    if not isinstance(document, dict) or document.keys() != {"version", "kind", "value"}:
        raise InvalidFieldError("document", "has other fields than version, kind and value")
    if document["version"] != VERSION or not isinstance(document["kind"], str):
        raise InvalidFieldError("version", f"is not {VERSION}")
    return document["kind"], document["value"]


def _inflated(data: bytes) -> bytes:
    opener = zlib.decompressobj()
    try:
        opened = opener.decompress(data, MAX_READING_BYTES)
    except zlib.error:
        raise InvalidFieldError("reading", "is not compressed as readings are") from None
    if not opener.eof:
        raise InvalidFieldError("reading", "is cut short or too large")
    return opened
