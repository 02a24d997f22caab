"""Fills and lists at their edges: trades with oneself, ends out of order, lists cut off."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.common.errors import UnreachableError
from services.connector.fill_history import read_fills_since
from services.connector.instruments import InstrumentBook
from services.connector.ledger_writer import LedgerWriter
from services.connector.order_calls import OrderKey, TradedSymbols
from services.connector.order_gap import OrderGap
from services.connector.order_log import ToldFills
from services.connector.order_mapping import merge_states, to_state
from services.connector.order_types import OrderStatus, Side, VenueFill, VenueOrder
from services.connector.profile import Priority
from services.connector.record_shelf import RecordShelf
from services.connector.sent_before import _reaches_back
from services.connector.venues import find_profile
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


@dataclass
class Listing:
    """A venue with a fill every half minute, a thousand at most a time; mutable, it counts."""

    fills_: list[VenueFill]
    asked: int = 0

    async def fills(
        self, _instrument: Any, *, start: datetime, end: datetime, limit: int, **_names: Any
    ) -> list[VenueFill]:
        """Return what lies within, both ends inclusive, from the oldest on."""
        self.asked += 1
        return [one for one in self.fills_ if one.time and start <= one.time <= end][:limit]


async def test_every_fill_of_a_long_time_is_read_once() -> None:
    """Full pages go on where they ended, and windows where the last one did."""
    made = [
        replace(FILL, trade_id=str(n), time=NOW + timedelta(seconds=30 * (n - n % 2)))
        for n in range(5_000)
    ]
    made += [
        replace(FILL, trade_id=f"late {n}", time=NOW + timedelta(days=2, hours=n))
        for n in range(70)
    ]
    listing = Listing(made)
    found = await read_fills_since(
        cast("Any", listing),
        instrument(),
        NOW,
        NOW + timedelta(days=5),
        timedelta(days=1),
        Priority.ORDER,
    )
    assert [one.trade_id for one in found] == [one.trade_id for one in made]
    assert listing.asked < 20


async def test_a_crowd_at_one_instant_is_not_taken_for_the_whole() -> None:
    """More fills at one instant than a page holds cannot be read, and that is said."""
    made = [replace(FILL, trade_id=str(n)) for n in range(1_001)]
    with pytest.raises(UnreachableError) as dense:
        await read_fills_since(
            cast("Any", Listing(made)),
            instrument(),
            NOW,
            NOW + timedelta(hours=1),
            timedelta(days=1),
            Priority.ORDER,
        )
    assert dense.value.reason == "HISTORY_TOO_DENSE"


class Gapped(Listing):
    """The same, with the orders that the fills belong to."""

    async def query(self, key: OrderKey, _priority: Any = None) -> VenueOrder | None:
        """Know one order."""
        return venue_row("mine") if key.exchange_order_id == "28" else None

    async def recent_orders(self, *_args: Any, **_names: Any) -> tuple[list[VenueOrder], bool]:
        """Tell none."""
        return [], True


async def test_a_gap_yields_each_untold_fill_with_its_order() -> None:
    """From five seconds before the gap; of an order that is gone, what its fills prove."""
    own = replace(FILL, time=NOW - timedelta(seconds=4))
    lost = replace(FILL, trade_id="8", exchange_order_id="30", side=Side.SELL)
    old = replace(FILL, trade_id="9", time=NOW - timedelta(seconds=6))
    orders = cast("Any", Gapped([own, lost, replace(lost, trade_id="6"), old]))

    async def traded(*_args: Any, **_names: Any) -> TradedSymbols:
        return TradedSymbols(frozenset({"BTCUSDT"}), whole=True)

    profile = find_profile("binance")
    venue = SimpleNamespace(
        read=traded, profile=profile, trading=None, instruments=InstrumentBook([instrument()])
    )
    desk = SimpleNamespace(shelf=RecordShelf(10))
    gap = OrderGap(cast("Any", venue), orders, cast("Any", desk), cast("Any", Stamps()))
    told = ToldFills()
    told.add("BTCUSDT", "30", "6")
    found = await gap.read(NOW, (), told)
    assert [(row.exchange_order_id, [one.trade_id for one in row.fills]) for row in found] == [
        ("28", ["7"]),
        ("30", ["8"]),
    ]
    assert found[1].side is Side.SELL
    assert found[1].executed == Decimal(2)


class Stamps:
    """The venue's clock, standing still."""

    def now(self) -> datetime:
        """Return the instant."""
        return NOW


def test_an_end_that_tells_less_is_still_the_end() -> None:
    """Executed never falls, and an order that was canceled stays canceled whatever it says."""
    known = replace(sample_state(), status=OrderStatus.PARTIALLY_FILLED)
    seen = replace(known, status=OrderStatus.CANCELED, executed=Decimal(1), fills=())
    merged = merge_states(known, seen)
    assert (merged.status, merged.executed) == (OrderStatus.CANCELED, known.executed)


def test_contracts_become_coins_in_states_fills_and_averages() -> None:
    """Three contracts of a hundredth of a thousand-coin unit, priced by the unit."""
    swap = instrument(base="1000PEPE", perpetual=True, contract_size=Decimal("0.01"))
    row = replace(
        venue_row("mine"),
        quantity=Decimal(5),
        executed=Decimal(3),
        cumulative_quote=None,
        average_price=Decimal(20),
        fills=(replace(FILL, quantity=Decimal(3), price=Decimal(20)),),
    )
    state = to_state(row, swap, "mine")
    coins = swap.to_base_quantity(Decimal(3))
    assert coins == Decimal(30)
    assert (state.executed, state.quantity) == (coins, Decimal(50))
    assert state.average_price == Decimal("0.02")
    assert (state.fills[0].quantity, state.fills[0].price) == (coins, Decimal("0.02"))
    bare = to_state(replace(row, fills=()), swap, "mine")
    assert (bare.cumulative_quote, bare.average_price) == (Decimal("0.6"), Decimal("0.02"))


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
