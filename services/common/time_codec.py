"""Instants and lengths of time between the wire, venue milliseconds and the domain.

The domain has aware `datetime` in UTC and `timedelta`; both keep microseconds, so the nanoseconds
of the wire are cut to microseconds. Nothing passes through a float.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.common.errors import InvalidFieldError

if TYPE_CHECKING:
    from google.protobuf.message import Message

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_LAST = datetime.max.replace(tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)
_NANOS_PER_SECOND = 1_000_000_000


def to_timestamp(instant: datetime) -> Timestamp:
    """Return the wire form of an aware datetime; raise ValueError for a naive one."""
    microseconds = (_aware(instant) - EPOCH) // _MICROSECOND
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def from_timestamp(timestamp: Timestamp, field: str = "time") -> datetime:
    """Return the instant in UTC, cut to microseconds.

    Raise InvalidFieldError outside years 1 to 9999.
    """
    if not 0 <= timestamp.nanos < _NANOS_PER_SECOND:
        raise InvalidFieldError(field, "nanos must be from 0 to 999999999")
    # Compared as integers: converting first would overflow on a stranger's seconds.
    first, last = (_FIRST - EPOCH) // _MICROSECOND, (_LAST - EPOCH) // _MICROSECOND
    microseconds = timestamp.seconds * 1_000_000 + timestamp.nanos // 1_000
    if not first <= microseconds <= last:
        raise InvalidFieldError(field, "must lie in the years 1 to 9999")
    return EPOCH + timedelta(microseconds=microseconds)


def optional_time(message: Message, field: str, *, path: str = "") -> datetime | None:
    """Return the Timestamp field `field` of `message`, None when absent."""
    if not message.HasField(field):
        return None
    return from_timestamp(getattr(message, field), path + field)


def require_time(message: Message, field: str, *, path: str = "") -> datetime:
    """Return the Timestamp field `field` of `message`; raise InvalidFieldError when absent."""
    instant = optional_time(message, field, path=path)
    if instant is None:
        raise InvalidFieldError(path + field, "is required")
    return instant


def to_duration(length: timedelta) -> Duration:
    """Return the wire form of a length of time; both parts carry its sign."""
    microseconds = length // _MICROSECOND
    sign = -1 if microseconds < 0 else 1
    # Of the absolute value: divmod floors, and both parts must carry one sign.
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    return Duration(seconds=sign * seconds, nanos=sign * rest * 1_000)


def from_duration(duration: Duration, field: str = "duration") -> timedelta:
    """Return the length, cut to microseconds.

    Raise InvalidFieldError when malformed or beyond timedelta.
    """
    seconds, nanos = duration.seconds, duration.nanos
    if abs(nanos) >= _NANOS_PER_SECOND or (seconds and nanos and (seconds < 0) != (nanos < 0)):
        raise InvalidFieldError(field, "nanos must be below one second, with the sign of seconds")
    try:
        length = timedelta(seconds=abs(seconds), microseconds=abs(nanos) // 1_000)
    except OverflowError:
        raise InvalidFieldError(field, "is too long") from None
    return -length if seconds < 0 or nanos < 0 else length


def optional_duration(
    message: Message, field: str, *, positive: bool = False, path: str = ""
) -> timedelta | None:
    """Return the Duration field `field`, None when absent.

    With `positive` it must be above zero.
    """
    if not message.HasField(field):
        return None
    length = from_duration(getattr(message, field), path + field)
    if positive and length <= timedelta(0):
        raise InvalidFieldError(path + field, "must be greater than zero")
    return length


def to_millis(instant: datetime) -> int:
    """Return whole milliseconds since 1970, rounded down; raise ValueError for a naive datetime."""
    return (_aware(instant) - EPOCH) // _MILLISECOND


def from_millis(milliseconds: int) -> datetime:
    """Return the instant of a venue stamp in milliseconds since 1970, in UTC, exactly."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("a datetime without time zone has no instant")
    return instant
