"""The engine's words against the enums of the contract: both sides whole, nothing twice."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest
from google.protobuf.descriptor import EnumDescriptor

from opensqt.market_maker.v1 import engine_pb2, instrument_pb2, types_pb2
from services.engine import wire_enums as wire
from services.engine.instruments import InstrumentKind, LegSide, PositionMode
from services.engine.orders import OrderClass, OrderSide, OrderState
from services.engine.views import EngineMode, PositionStatus

TO_WIRE: tuple[tuple[Mapping[Any, int], type[Enum], EnumDescriptor, frozenset[str]], ...] = (
    (wire.KIND_TO_WIRE, InstrumentKind, instrument_pb2.InstrumentKind.DESCRIPTOR, frozenset()),
    (wire.LEG_TO_WIRE, LegSide, engine_pb2.LegSide.DESCRIPTOR, frozenset()),
    (wire.SIDE_TO_WIRE, OrderSide, types_pb2.OrderSide.DESCRIPTOR, frozenset()),
    # Orders people send by hand are no orders of a position.
    (
        wire.CLASS_TO_WIRE,
        OrderClass,
        types_pb2.OrderClass.DESCRIPTOR,
        frozenset({"ORDER_CLASS_MANUAL"}),
    ),
    (
        wire.ORDER_STATE_TO_WIRE,
        OrderState,
        engine_pb2.PositionOrderState.DESCRIPTOR,
        frozenset(),
    ),
    (wire.STATUS_TO_WIRE, PositionStatus, engine_pb2.HedgedPositionState.DESCRIPTOR, frozenset()),
    (wire.MODE_TO_WIRE, EngineMode, engine_pb2.EngineState.DESCRIPTOR, frozenset()),
)
FROM_WIRE: tuple[tuple[Mapping[Any, Any], type[Enum], EnumDescriptor], ...] = (
    (wire.KIND_FROM_WIRE, InstrumentKind, instrument_pb2.InstrumentKind.DESCRIPTOR),
    (wire.LEG_FROM_WIRE, LegSide, engine_pb2.LegSide.DESCRIPTOR),
    (wire.STATUS_FROM_WIRE, PositionStatus, engine_pb2.HedgedPositionState.DESCRIPTOR),
    (wire.POSITION_MODE_FROM_WIRE, PositionMode, types_pb2.PositionMode.DESCRIPTOR),
)


def _numbers(enum: EnumDescriptor, left_out: frozenset[str] = frozenset()) -> set[int]:
    return {value.number for value in enum.values if value.number and value.name not in left_out}


@pytest.mark.parametrize(("table", "words", "enum", "left_out"), TO_WIRE)
def test_every_word_has_a_wire_value_and_every_wire_value_a_word(
    table: Mapping[Any, int], words: type[Enum], enum: EnumDescriptor, left_out: frozenset[str]
) -> None:
    """A value added on either side is missed here first."""
    assert set(table) == set(words)
    assert set(table.values()) == _numbers(enum, left_out)


@pytest.mark.parametrize(("table", "words", "enum", "left_out"), TO_WIRE)
def test_each_word_goes_to_the_wire_value_of_its_name(
    table: Mapping[Any, int], words: type[Enum], enum: EnumDescriptor, left_out: frozenset[str]
) -> None:
    """Two values swapped would trade the wrong way round."""
    names = {word: enum.values_by_number[number].name for word, number in table.items()}
    own = {word: name for word, name in names.items() if word is not OrderState.NOT_SENT}
    assert all(name.endswith(f"_{word.name}") for word, name in own.items())


@pytest.mark.parametrize(("table", "words", "enum"), FROM_WIRE)
def test_every_wire_value_is_understood_by_its_name(
    table: Mapping[int, Any], words: type[Enum], enum: EnumDescriptor
) -> None:
    """Only the unspecified value has no word."""
    assert set(table) == _numbers(enum)
    assert set(table.values()) == set(words)
    for number, word in table.items():
        assert enum.values_by_number[number].name.endswith(f"_{word.name}")


def test_an_order_that_never_arrived_reads_as_one_that_executed_nothing() -> None:
    """The wire has one word for both, and neither traded."""
    assert wire.ORDER_STATE_TO_WIRE[OrderState.NOT_SENT] == engine_pb2.POSITION_ORDER_STATE_REJECTED


def test_the_statuses_after_which_nothing_can_fill_are_known() -> None:
    """Every status is either final or may still fill; a new one must be sorted here."""
    live = {
        types_pb2.ORDER_STATUS_NEW,
        types_pb2.ORDER_STATUS_PARTIALLY_FILLED,
    }
    assert wire.CLOSED_ORDER_STATUSES | live == _numbers(types_pb2.OrderStatus.DESCRIPTOR)
    assert not wire.CLOSED_ORDER_STATUSES & live
