"""The table of methods is complete, and roles open what they should."""

from __future__ import annotations

from typing import Any

import pytest

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2, types_pb2
from services.common.auth import OPEN_METHODS
from services.common.scopes import (
    METHOD_RULES,
    ROLE_SCOPES,
    Lane,
    MethodRule,
    Role,
    Scope,
    lane_of_request,
    scopes_of,
)
from tests.support.contract_methods import contract_methods

METHODS = contract_methods()
OWN = {name for name in METHOD_RULES if name.startswith("/opensqt.")}


def test_every_method_of_the_contract_has_a_rule_and_no_other_has() -> None:
    """A new method is refused to everybody until somebody decides who may call it."""
    assert len(METHODS) > 60
    assert set(METHODS) == OWN


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_request_may_be_long_only_where_it_holds_a_list(name: str) -> None:
    """Bound by the shape of the message, not by a wish."""
    method = METHODS[name]
    holds_list = any(field.is_repeated for field in method.input_type.fields)
    assert METHOD_RULES[name].has_list == holds_list


def test_only_health_is_open() -> None:
    """Its three methods, by their whole names; reflection asks for a scope."""
    assert {f"/grpc.health.v1.Health/{name}" for name in ("Check", "Watch", "List")} == OPEN_METHODS
    assert [name for name in OWN if METHOD_RULES[name].scope is Scope.OPEN] == []


def test_only_the_operator_has_every_scope_and_a_reader_changes_nothing() -> None:
    """Changes of state: orders, cancels, scans, entries, exits, halt, control."""
    changes = {
        Scope.ORDERS,
        Scope.CANCEL,
        Scope.SCANS,
        Scope.ENTRIES,
        Scope.EXITS,
        Scope.HALT,
        Scope.CONTROL,
    }
    assert changes <= ROLE_SCOPES[Role.OPERATOR]
    assert ROLE_SCOPES[Role.READER] & changes == set()
    assert ROLE_SCOPES[Role.SCANNER] & changes == set()
    assert ROLE_SCOPES[Role.ENGINE] & changes == {Scope.ORDERS, Scope.CANCEL}
    assert scopes_of((Role.SCANNER, Role.ENGINE)) == ROLE_SCOPES[Role.ENGINE]


def test_what_reduces_exposure_has_the_exit_lane() -> None:
    """By name: cancels, closes, reductions, halts; orders are judged by their request."""
    exits = {name.rpartition("/")[2] for name in OWN if METHOD_RULES[name].lane is Lane.EXIT}
    assert exits == {
        "CancelOrder",
        "CancelAllOrders",
        "BatchCancelOrders",
        "CloseHedgedPosition",
        "ReduceHedgedPosition",
        "CloseAllHedgedPositions",
        "Halt",
        "HaltTrading",
        "OpenCircuitBreaker",
    }
    asked = {name.rpartition("/")[2] for name in OWN if METHOD_RULES[name].lane is Lane.BY_REQUEST}
    assert asked == {"PlaceOrder", "BatchPlaceOrders", "EnterOrders"}


RULE = MethodRule(Scope.ORDERS, Lane.BY_REQUEST)
ENTRY, EXIT = types_pb2.ORDER_CLASS_ENTRY, types_pb2.ORDER_CLASS_EXIT


@pytest.mark.parametrize(
    ("order_class", "reduce_only", "lane"),
    [
        (types_pb2.ORDER_CLASS_UNSPECIFIED, False, Lane.COMMON),
        (ENTRY, False, Lane.COMMON),
        (types_pb2.ORDER_CLASS_MANUAL, False, Lane.COMMON),
        (types_pb2.ORDER_CLASS_HEDGE, False, Lane.EXIT),
        (types_pb2.ORDER_CLASS_UNWIND, False, Lane.EXIT),
        (EXIT, False, Lane.EXIT),
        (ENTRY, True, Lane.EXIT),
        (99, False, Lane.COMMON),
    ],
)
def test_an_order_that_reduces_is_an_exit(order_class: Any, reduce_only: bool, lane: Lane) -> None:
    """By its class or by reduce_only; an unknown class is none."""
    order = resources_pb2.PlaceOrderRequest(reduce_only=reduce_only, order_class=order_class)
    assert lane_of_request(RULE, order) is lane


def test_a_batch_is_an_exit_when_all_of_it_is() -> None:
    """One entry among exits, or nothing at all, is no exit."""
    entry = resources_pb2.PlaceOrderRequest(order_class=ENTRY)
    leave = resources_pb2.PlaceOrderRequest(order_class=EXIT)
    lanes = [
        lane_of_request(RULE, exchange_pb2.BatchPlaceOrdersRequest(orders=orders))
        for orders in ([leave, leave], [leave, entry], [])
    ]
    assert lanes == [Lane.EXIT, Lane.COMMON, Lane.COMMON]
