"""Batches: as many as can be are placed, and each that cannot be is named by its index."""

from __future__ import annotations

from typing import Any, cast

import grpc
import pytest

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.common.errors import InvalidFieldError, OutcomeUnknownError, RejectedError
from services.connector.servicers.orders import MAX_BATCH, OrderMethods


class Methods(OrderMethods):
    """The methods on a venue that does what an order's client id says."""

    async def _place(
        self, request: resources_pb2.PlaceOrderRequest, path: str = ""
    ) -> resources_pb2.Order:
        name = request.client_order_id
        if name == "refused":
            raise RejectedError("no", reason="ORDER_REJECTED")
        if name == "unknown":
            raise OutcomeUnknownError("perhaps", client_order_id="made1")
        if name == "bug":
            raise TypeError("nobody thought of it")
        return resources_pb2.Order(client_order_id=name)


async def place(*names: str) -> exchange_pb2.BatchPlaceOrdersResponse:
    """Place orders of these client ids in one batch."""
    orders = [resources_pb2.PlaceOrderRequest(client_order_id=name) for name in names]
    request = exchange_pb2.BatchPlaceOrdersRequest(orders=orders)
    return await Methods().BatchPlaceOrders(request, cast("Any", None))


async def test_each_failure_has_its_index_and_stops_no_other() -> None:
    """Refused, unknown, given twice, and a bug: one row each, the rest placed."""
    response = await place("a", "refused", "unknown", "a", "bug", "", "", "b")
    assert [one.client_order_id for one in response.orders] == ["a", "", "", "b"]
    assert not response.all_success
    assert [(row.index, row.client_order_id, row.reason) for row in response.errors] == [
        (1, "refused", "ORDER_REJECTED"),
        (2, "made1", "ORDER_OUTCOME_UNKNOWN"),
        (3, "a", "FIELD_INVALID"),
        (4, "bug", "INTERNAL"),
    ]
    assert response.errors[3].code == grpc.StatusCode.INTERNAL.value[0]
    assert "nobody thought" not in response.errors[3].error_message


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
async def test_too_many_or_none_are_refused_whole(count: int) -> None:
    """A batch out of bounds sends nothing."""
    with pytest.raises(InvalidFieldError):
        await place(*(f"n{number}" for number in range(count)))
