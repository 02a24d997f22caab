"""A connector on the simulator's dialect of a venue, and a cell of the fault table.

The simulator's own books are the witness: what arrived, which orders exist, what was filled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.common.call_errors import translated
from tests.support.connector import BUY, connector_part, number, order, running_connector
from tests.support.simulator import Control, running_simulator

VENUES = ("binance", "binanceusdm", "okx-swap", "bybit-linear")
"""One column of the table each; every order path differs between them."""

FENCE_SECONDS = 1.2
QUANTITY = Decimal("0.01")
SYMBOL = "BTCUSDT"


@dataclass(frozen=True, slots=True)
class VenueWords:
    """What a venue says: a refusal for want of funds, "we do not know", and an unknown symbol."""

    refusal: tuple[Any, str]
    unknown: tuple[Any, int]
    overloaded: tuple[Any, int]


WORDS: Mapping[str, VenueWords] = {
    "binance": VenueWords((-2010, "insufficient balance"), (-1007, 408), (-1008, 503)),
    "binanceusdm": VenueWords((-2019, "Margin is insufficient."), (-1007, 408), (-1008, 503)),
    "okx-swap": VenueWords((51008, "Insufficient balance"), (50004, 400), (50026, 500)),
    "bybit-linear": VenueWords((110007, "Balance is insufficient"), (10016, 200), (10016, 500)),
}


@dataclass(frozen=True, slots=True)
class FaultBench:
    """A connector of one venue on its simulator."""

    venue: str
    address: str
    stub: Any
    control: Control
    connector_address: str = ""

    @property
    def words(self) -> VenueWords:
        """What this venue says."""
        return WORDS[self.venue]

    async def place(
        self, name: str, quantity: Decimal = QUANTITY, *, seconds: float = 8.0, **fields: Any
    ) -> resources_pb2.Order:
        """Place an order to buy at market under an id; raise its error as the tree has it."""
        with translated():
            placed: resources_pb2.Order = await self.stub.PlaceOrder(
                order(BUY, str(quantity), client_order_id=name, **fields), timeout=seconds
            )
        return placed

    async def get(self, name: str, *, seconds: float = 8.0) -> resources_pb2.Order:
        """Ask for an order by its id; raise its error as the tree has it."""
        request = exchange_pb2.GetOrderRequest(symbol=SYMBOL, client_order_id=name)
        with translated():
            found: resources_pb2.Order = await self.stub.GetOrder(request, timeout=seconds)
        return found

    async def orders(self) -> list[dict[str, Any]]:
        """Return the orders in the venue's own books."""
        return list(await self.control.get("orders"))

    async def arrivals(self) -> list[dict[str, Any]]:
        """Return the order requests that came down the wire, lost ones too."""
        return list(await self.control.get("requests"))

    async def executed(self) -> Decimal:
        """Return all that was executed in the venue's own books."""
        fills = await self.control.get("trades")
        return sum((Decimal(fill["quantity"]) for fill in fills), Decimal(0))

    async def has_struck(self) -> bool:
        """Tell whether every armed fault has struck."""
        return all(fault["applied"] for fault in await self.control.get("faults"))

    async def fault(self, action: Mapping[str, Any], operation: str, **match: Any) -> None:
        """Arm one fault."""
        await self.control.fault(action, operation=operation, **match)

    async def silence_events(self) -> None:
        """Let no event arrive in time, so that only questions can tell."""
        await self.fault({"type": "event_late", "seconds": 60}, "order_event")


@asynccontextmanager
async def fault_bench(venue: str, folder: Path, **changes: Any) -> AsyncIterator[FaultBench]:
    """Run a simulator and a connector of one venue on it, with a short fence."""
    async with running_simulator() as simulator:
        part = connector_part(
            venue, simulator.address, folder, **{"request_timeout_seconds": 1.3, **changes}
        )
        async with running_connector(part) as connector:
            yield FaultBench(
                venue,
                simulator.address,
                connector.stub,
                Control(simulator.address),
                connector.address,
            )


# Mutable: filled in by the one test it belongs to.
@dataclass(slots=True)
class Cell:
    """One cell of the table: what the venue's books hold after the fault."""

    row: int
    fault: str
    venue: str
    record: Callable[[str, object], None]

    async def settle(
        self, bench: FaultBench, *, orders: int, filled: Decimal | int, arrived: int | None = None
    ) -> None:
        """Hold the books to what must be there, and enter them in the table.

        Fails when an id is at the venue twice, or an order was sent more often than once.
        """
        found = await bench.orders()
        ids = [one["client_order_id"] for one in found]
        assert len(set(ids)) == len(ids), "a client order id is at the venue twice"
        sent = [one["client_order_id"] for one in await bench.arrivals()]
        assert len(set(sent)) == len(sent), "an order was sent twice"
        assert arrived is None or len(sent) == arrived
        assert len(found) == orders
        executed = await bench.executed()
        assert executed == filled
        self.enter(len(found), executed)

    def enter(self, orders: int, filled: Decimal) -> None:
        """Enter the cell in the table."""
        self.record("fault_cell", (self.row, self.fault, self.venue, orders, str(filled)))


def executed_of(placed: resources_pb2.Order) -> Decimal:
    """Return what an answer says was executed."""
    return number(placed.executed_qty)
