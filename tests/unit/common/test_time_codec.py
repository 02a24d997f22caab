"""Instants and lengths of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from opensqt.market_maker.v1 import resources_pb2
from services.common.errors import InvalidFieldError
from services.common.time_codec import (
    from_duration,
    from_millis,
    from_timestamp,
    optional_duration,
    optional_time,
    require_time,
    to_duration,
    to_millis,
    to_timestamp,
)

INSTANTS = st.datetimes(timezones=st.just(UTC))


@given(INSTANTS)
def test_instants_survive_the_wire(instant: datetime) -> None:
    """To the microsecond, from year 1 to 9999, and within protobuf's own ranges."""
    stamp = to_timestamp(instant)
    assert 0 <= stamp.nanos < 1_000_000_000
    assert from_timestamp(stamp) == instant


@given(st.timedeltas())
def test_lengths_survive_the_wire(length: timedelta) -> None:
    """To the microsecond, negative ones too, with both parts of one sign."""
    duration = to_duration(length)
    assert duration.seconds * duration.nanos >= 0
    assert from_duration(duration) == length


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_venue_milliseconds_are_exact(milliseconds: int) -> None:
    """No float on the way: every millisecond of every year comes back."""
    assert to_millis(from_millis(milliseconds)) == milliseconds


def test_zones_do_not_move_an_instant() -> None:
    """The same instant in another zone has the same wire form."""
    there = datetime(2024, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert to_timestamp(there).seconds == 1_704_067_200
    assert to_millis(there) == 1_704_067_200_000


def test_a_naive_datetime_is_a_bug() -> None:
    """Without zone there is no instant."""
    naive = datetime(2024, 1, 1)  # noqa: DTZ001 - the refusal of naive values is the subject
    with pytest.raises(ValueError, match="time zone"):
        to_timestamp(naive)
    with pytest.raises(ValueError, match="time zone"):
        to_millis(naive)


@pytest.mark.parametrize(
    "stamp",
    [
        Timestamp(seconds=253_402_300_800),
        Timestamp(seconds=-62_135_596_801),
        Timestamp(seconds=2**63 - 1),
        Timestamp(seconds=1, nanos=-1),
        Timestamp(seconds=1, nanos=1_000_000_000),
    ],
)
def test_an_impossible_timestamp_is_refused_by_name(stamp: Timestamp) -> None:
    """A stranger's numbers never become an OverflowError."""
    with pytest.raises(InvalidFieldError, match="start_time"):
        from_timestamp(stamp, "start_time")


@pytest.mark.parametrize(
    "duration",
    [
        Duration(seconds=2**63 - 1),
        Duration(seconds=-(2**63)),
        Duration(seconds=1, nanos=-1),
        Duration(seconds=0, nanos=1_000_000_000),
    ],
)
def test_an_impossible_duration_is_refused_by_name(duration: Duration) -> None:
    """Out of range, or two signs."""
    with pytest.raises(InvalidFieldError, match="fill_timeout"):
        from_duration(duration, "fill_timeout")


def test_absent_times_are_unknown() -> None:
    """Optional ones read as None, required ones are an error with the field's name."""
    request = resources_pb2.PlaceOrderRequest()
    assert optional_duration(request, "fill_timeout") is None
    request.fill_timeout.FromSeconds(0)
    assert optional_duration(request, "fill_timeout") == timedelta(0)
    with pytest.raises(InvalidFieldError, match="fill_timeout"):
        optional_duration(request, "fill_timeout", positive=True)
    rate = resources_pb2.FundingPayment()
    assert optional_time(rate, "settle_time") is None
    with pytest.raises(InvalidFieldError, match="settle_time: is required"):
        require_time(rate, "settle_time")
