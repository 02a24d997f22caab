"""Fills and lists at their edges: trades with oneself, ends out of order, lists cut off."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest

from services.connector.fill_history import read_fills_since
from services.connector.ledger_writer import LedgerWriter
from services.connector.order_log import ToldFills
from services.connector.order_mapping import merge_states
from services.connector.order_types import OrderStatus, VenueFill, VenueOrder
from services.connector.profile import Priority
from services.connector.sent_before import _reaches_back
from tests.support.connector_orders import instrument, sample_state
from tests.support.desk_rig import HandOrders, accept, venue_row

NOW = datetime(2024, 6, 1, tzinfo=UTC)
FILL = VenueFill("7", "28", "BTCUSDT", None, Decimal(100), Decimal(1), None, None, NOW)


async def test_a_trade_with_oneself_fills_two_orders() -> None:
    """One trade id on two orders is two fills, in the history and in what was told."""
    orders = HandOrders(accept, trades=[FILL, replace(FILL, exchange_order_id="29")])
    found = await read_fills_since(
        cast("Any", orders),
        instrument(),
        NOW,
        NOW + timedelta(hours=1),
        timedelta(days=1),
        Priority.ORDER,
    )
    assert [one.exchange_order_id for one in found] == ["28", "29"]
    told = ToldFills()
    assert told.add("BTCUSDT", "28", "7")
    assert told.add("BTCUSDT", "29", "7")
    assert not told.add("BTCUSDT", "28", "7")
    assert ("BTCUSDT", "29", "7") in told


def test_an_end_that_tells_less_is_still_the_end() -> None:
    """Executed never falls, and an order that was canceled stays canceled whatever it says."""
    known = replace(sample_state(), status=OrderStatus.PARTIALLY_FILLED)
    seen = replace(known, status=OrderStatus.CANCELED, executed=Decimal(1), fills=())
    merged = merge_states(known, seen)
    assert (merged.status, merged.executed) == (OrderStatus.CANCELED, known.executed)


def aged(days: int, status: OrderStatus) -> VenueOrder:
    """Return a row of an order that was placed so many days ago."""
    return replace(venue_row("x"), create_time=NOW - timedelta(days=days), status=status)


@pytest.mark.parametrize(
    ("rows", "reaches"),
    [
        ([aged(0, OrderStatus.FILLED), aged(9, OrderStatus.FILLED)], True),
        ([aged(0, OrderStatus.FILLED), aged(9, OrderStatus.NEW)], False),
        ([aged(0, OrderStatus.CANCELED), aged(9, OrderStatus.FILLED)], False),
        ([aged(0, OrderStatus.FILLED), aged(7, OrderStatus.FILLED)], False),
        ([], False),
    ],
    ids=["old end", "old live order", "two lists", "a week", "none"],
)
def test_a_list_cut_off_reaches_back_by_its_ended_orders(
    rows: list[VenueOrder], reaches: bool
) -> None:
    """An old live order, or an old row of one list alone, says nothing of where a list was cut."""
    assert _reaches_back(rows) is reaches


class BrokenDisk:
    """A connection on which nothing can be written or taken back."""

    in_transaction = True

    def execute(self, statement: str) -> None:
        """Fail."""
        raise sqlite3.OperationalError(f"disk I/O error in {statement}")

    def close(self) -> None:
        """Do nothing."""


async def test_the_writer_outlives_a_broken_disk() -> None:
    """Each job is told of the failure; none waits for a thread that died."""
    writer = LedgerWriter(cast("Any", BrokenDisk()))
    writer.start()
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError):
            await writer.run(lambda _connection: None, urgent=True)
    writer.close()
