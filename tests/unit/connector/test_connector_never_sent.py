"""What a whole ledger says of an order it has no row of, at a venue without a validity window."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from services.common.errors import OpensqtError, OutcomeUnknownError, RetryableError
from services.connector.order_desk import OrderDesk
from services.connector.order_ids import OrderIds, read_order_ids
from services.connector.order_reader import OrderReader
from services.connector.send_judgement import SendResult, Verdict
from services.connector.venues import find_profile
from tests.support.connector_orders import instrument, order_request
from tests.support.desk_rig import FENCE, HandOrders, lose, open_desk, venue_row

NEVER_SENT, NOT_FOUND = "ORDER_NEVER_SENT", "ORDER_NOT_FOUND"


def refuse_for_now(_name: str) -> SendResult:
    """Reply that nothing was done."""
    return SendResult(Verdict.NOT_SENT, error=RetryableError("slow down"))


def ids_of(name: str, exchange_order_id: str = "") -> OrderIds:
    """Return the ids of a question by client order id."""
    profile = find_profile("binance")
    return read_order_ids(name, exchange_order_id, 0, use_margin=False, profile=profile)


async def reason_of(desk: OrderDesk, orders: HandOrders, ids: OrderIds) -> str:
    """Return the reason of the refusal to tell of an order."""
    reader = OrderReader(desk._venue, cast("Any", orders), desk)
    with pytest.raises(OpensqtError) as caught:
        await reader.get(instrument(), ids)
    return caught.value.reason


@pytest.mark.parametrize(
    ("fence", "listed", "reason"),
    [
        (None, [], NEVER_SENT),
        (None, None, NOT_FOUND),
        (None, [venue_row("asked")], NOT_FOUND),
        (FENCE, [], NOT_FOUND),
    ],
    ids=["whole", "no list", "listed once", "fenced"],
)
async def test_an_id_without_a_row(
    tmp_path: Path, fence: timedelta | None, listed: Any, reason: str
) -> None:
    """Only a ledger that is known to be whole can say so, and only where no fence can."""
    orders = HandOrders(lose, listed=listed)
    async with open_desk(orders, tmp_path, fence) as (desk, _ledger):
        assert await reason_of(desk, orders, ids_of("asked")) == reason


async def test_an_order_that_was_sent_is_not_never_sent(tmp_path: Path) -> None:
    """Its outcome is unknown after a restart; of the venue's own ids nothing is said."""
    orders = HandOrders(lose)
    orders.gate.set()
    async with open_desk(orders, tmp_path, None) as (desk, _ledger):
        with pytest.raises(OutcomeUnknownError):
            await desk.place(order_request(client_order_id="asked"), instrument())
    async with open_desk(orders, tmp_path, None) as (desk, _ledger):
        assert await reason_of(desk, orders, ids_of("asked")) == "ORDER_OUTCOME_UNKNOWN"
        assert await reason_of(desk, orders, ids_of("", "77")) == NOT_FOUND


async def test_an_order_that_was_refused_for_now_was_never_sent(tmp_path: Path) -> None:
    """The row says so, in memory and in the next process."""
    orders = HandOrders(refuse_for_now)
    orders.gate.set()
    for _ in range(2):
        async with open_desk(orders, tmp_path, None) as (desk, _ledger):
            if not orders.sent:
                with pytest.raises(RetryableError):
                    await desk.place(order_request(client_order_id="asked"), instrument())
            assert await reason_of(desk, orders, ids_of("asked")) == NEVER_SENT
