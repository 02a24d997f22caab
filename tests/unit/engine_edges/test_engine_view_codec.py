"""Views on the wire: every field arrives, what is unknown stays absent, figures stay exact."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type import decimal_pb2

from opensqt.market_maker.v1 import engine_pb2
from services.common.time_codec import from_duration, from_timestamp
from services.engine import wire_enums as wire
from services.engine.view_codec import position_to_proto, ref_to_proto, status_to_proto
from tests.support.engine_views import (
    PERPETUAL,
    leg_view,
    order_view,
    position_view,
    status_view,
)

RENAMED = {"status": "state", "mode": "state", "mode_time": "state_time", "reason": "state_reason"}
ENUMS: dict[str, dict[str, Any]] = {
    "HedgedPosition": {"state": wire.STATUS_TO_WIRE, "lead_leg": wire.LEG_TO_WIRE},
    "PositionOrder": {
        "state": wire.ORDER_STATE_TO_WIRE,
        "leg": wire.LEG_TO_WIRE,
        "order_class": wire.CLASS_TO_WIRE,
        "side": wire.SIDE_TO_WIRE,
    },
    "EngineStatus": {"state": wire.MODE_TO_WIRE},
    "VenueStatus": {"kind": wire.KIND_TO_WIRE},
    "InstrumentRef": {"kind": wire.KIND_TO_WIRE},
}


def _wire_name(kind: str, field: str) -> str:
    return field if kind in ("PositionOrder", "VenueStatus") else RENAMED.get(field, field)


def assert_same(view: Any, message: Message) -> None:
    """Compare a view with its message, field by field, both ways complete."""
    kind = message.DESCRIPTOR.name
    fields = {_wire_name(kind, f.name): getattr(view, f.name) for f in dataclasses.fields(view)}
    assert set(fields) == {field.name for field in message.DESCRIPTOR.fields}, kind
    for name, value in fields.items():
        _assert_value(value, message, name, ENUMS.get(kind, {}).get(name))


def _assert_value(value: Any, message: Message, name: str, table: Any) -> None:
    held = getattr(message, name)
    if table is not None:
        assert held == table[value], name
    elif value is None:
        assert not message.HasField(name), name
    elif isinstance(held, decimal_pb2.Decimal):
        assert message.HasField(name)
        assert Decimal(held.value) == value, name
    elif isinstance(value, tuple):
        assert len(held) == len(value), name
        for one, its in zip(value, held, strict=True):
            if dataclasses.is_dataclass(one):
                assert_same(one, its)
            else:
                assert its == one, name
    elif dataclasses.is_dataclass(value):
        assert_same(value, held)
    elif isinstance(held, Duration):
        assert from_duration(held) == value, name
    elif isinstance(held, Timestamp):
        assert from_timestamp(held) == value, name
    else:
        assert held == value, name


def test_every_field_of_a_position_arrives() -> None:
    """A field forgotten by the codec, or added on one side only, is noticed."""
    view = position_view()
    assert_same(view, position_to_proto(view))


def test_what_is_unknown_of_a_position_stays_absent() -> None:
    """Unknown is never zero."""
    view = position_view(
        dispatch_skew=None,
        funding_received=None,
        fees_paid=None,
        trading_pnl=None,
        close_time=None,
        orders=(order_view(worst_price=None, average_price=None, fees=()),),
        long_leg=leg_view(
            average_entry_price=None, average_exit_price=None, funding_received=None, fees=()
        ),
    )
    assert_same(view, position_to_proto(view))


def test_a_zero_is_sent_as_a_zero() -> None:
    """A known zero is not absent."""
    message = position_to_proto(
        position_view(residual_quantity=Decimal(0), funding_received=Decimal("-0.00"))
    )
    assert message.residual_quantity.value == "0"
    assert message.funding_received.value == "0"


def test_a_quotient_is_rounded_to_the_digits_of_the_wire() -> None:
    """Averages come from divisions and have no last digit."""
    third = Decimal(200) / Decimal(3)
    message = position_to_proto(position_view(long_leg=leg_view(average_entry_price=third)))
    assert message.long_leg.average_entry_price.value == "66.666666666666666667"


def test_a_figure_that_is_no_number_is_not_sent() -> None:
    """NaN never leaves; it is a bug to be seen."""
    with pytest.raises(ValueError, match="finite"):
        position_to_proto(position_view(trading_pnl=Decimal("NaN")))


def test_every_field_of_the_status_arrives() -> None:
    """What is unknown and unreachable is what an operator looks for."""
    view = status_view()
    assert_same(view, status_to_proto(view))


def test_an_empty_status_carries_no_rows() -> None:
    """No venue and no unknown order are empty lists."""
    message = status_to_proto(status_view(venues=(), unknown_client_order_ids=(), reason=""))
    assert not message.venues
    assert not message.unknown_client_order_ids
    assert message.state == engine_pb2.ENGINE_STATE_HALTED


def test_an_instrument_keeps_its_name() -> None:
    """Venue, symbol and kind together name an instrument."""
    assert_same(PERPETUAL, ref_to_proto(PERPETUAL))
