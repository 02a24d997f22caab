"""What the shelf of orders keeps when it is full, and what keeping it costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from services.connector.record_shelf import RecordShelf

if TYPE_CHECKING:
    from services.connector.order_record import OrderRecord

LIMIT = 100


# Not frozen: it counts the looks.
@dataclass(eq=False)
class Entry:
    """An order as the shelf sees it; `looks` counts how often it was asked whether it ended."""

    client_order_id: str
    is_ended: bool
    looks: list[str]
    busy: bool = False
    exchange_order_id: str = ""
    instrument: object = field(default_factory=lambda: SimpleNamespace(symbol="BTCUSDT"))

    @property
    def venue_client_id(self) -> str:
        """Return the same id."""
        return self.client_order_id

    @property
    def is_finished(self) -> bool:
        """Whether it ended."""
        self.looks.append(self.client_order_id)
        return self.is_ended


def fill(shelf: RecordShelf, count: int, *, is_ended: bool) -> list[str]:
    """Add so many orders and return whom the shelf looked at meanwhile."""
    looks: list[str] = []
    for number in range(count):
        shelf.add(cast("OrderRecord", Entry(f"{is_ended}-{number}", is_ended, looks)))
    return looks


def test_full_shelf_drops_the_oldest_finished_orders_alone() -> None:
    """Live orders stay however old; of the finished ones the latest stay."""
    shelf = RecordShelf(LIMIT)
    fill(shelf, LIMIT // 2, is_ended=False)
    fill(shelf, LIMIT * 3, is_ended=True)
    assert len(shelf) <= LIMIT
    assert all(shelf.find(f"False-{number}") is not None for number in range(LIMIT // 2))
    assert shelf.find(f"True-{LIMIT * 3 - 1}") is not None
    assert shelf.find("True-0") is None


def test_busy_order_stays_though_it_is_finished() -> None:
    """Its task still writes its end."""
    shelf = RecordShelf(LIMIT)
    busy = Entry("busy", is_ended=True, looks=[], busy=True)
    shelf.add(cast("OrderRecord", busy))
    fill(shelf, LIMIT * 2, is_ended=True)
    assert shelf.find("busy") is not None


def test_shelf_of_live_orders_is_not_swept_at_every_order() -> None:
    """Beyond the bound each order costs a few looks at others, not one at each of them."""
    shelf = RecordShelf(LIMIT)
    added = LIMIT * 10
    looks = fill(shelf, added, is_ended=False)
    assert len(shelf) == added
    # A sweep at every order would take half a million.
    assert len(looks) < added * 20


def test_shelf_comes_back_to_its_bound_once_the_live_orders_end() -> None:
    """Those that ended leave with the orders that follow."""
    shelf = RecordShelf(LIMIT)
    entries = [Entry(f"live-{number}", is_ended=False, looks=[]) for number in range(LIMIT * 4)]
    for entry in entries:
        shelf.add(cast("OrderRecord", entry))
    for entry in entries:
        entry.is_ended = True
    fill(shelf, LIMIT, is_ended=True)
    assert len(shelf) <= LIMIT
