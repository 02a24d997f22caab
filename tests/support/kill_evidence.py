"""The venue's books, the journal and the connectors' ledgers as the rules of the simulation read.

All are read from outside: the books over the simulator's control, the files by SQLite.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from cli.demo.control import SimulatorControl
from cli.demo.stack import PERPETUAL, SPOT
from services.engine.event_codec import decode_event
from services.engine.events import Event
from services.engine.orders import OrderSide
from simulation.evidence import Arrival, Execution, VenueBooks
from tests.support.stack import Market

_ONE = Decimal(1)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a moment at rest leaves to judge by. `arrivals` are in the order they came."""

    events: Sequence[Event]
    arrivals: Sequence[Arrival]
    books: VenueBooks
    ledger_ids: Sequence[str]
    partial_orders: int

    @property
    def duplicates(self) -> list[str]:
        """Ids that came to a venue more than once."""
        return sorted(key for key, count in self.books.arrival_counts.items() if count > 1)


class Names:
    """Canonical symbol and multiplier of the venues' own names."""

    def __init__(self, markets: Mapping[str, Market]) -> None:
        self.markets = tuple(markets.values())
        self._perpetuals = {one.perpetual: one for one in markets.values()}

    def canonical(self, exchange: str, name: str) -> str:
        """Return the symbol as the engine has it."""
        market = self._perpetuals.get(name) if exchange == PERPETUAL else None
        return name if market is None else market.symbol

    def multiplier(self, exchange: str, name: str) -> Decimal:
        """Return how many coins one unit of the venue is."""
        market = self._perpetuals.get(name) if exchange == PERPETUAL else None
        return _ONE if market is None else market.multiplier


async def read_evidence(control: SimulatorControl, folder: Path, names: Names) -> Evidence:
    """Read everything once; the stack must be at rest."""
    requests: list[dict[str, Any]] = await control.get("requests")
    orders: list[dict[str, Any]] = await control.get("orders")
    trades: list[dict[str, Any]] = await control.get("trades")
    books = VenueBooks()
    arrivals = [_arrival(row, names) for row in requests]
    for arrival in arrivals:
        books.arrive(arrival)
    for row in trades:
        books.execute(_execution(row, names))
    for row in orders:
        if row["status"] not in ("NEW", "PARTIALLY_FILLED"):
            books.end(row["client_order_id"])
    accepted = Counter(row["client_order_id"] for row in orders)
    for arrival in arrivals:
        # Refused: it came and never stood in the books.
        if arrival.client_order_id not in accepted:
            books.end(arrival.client_order_id, refused=True)
    return Evidence(
        events=read_journal(folder / "journal.db"),
        arrivals=arrivals,
        books=books,
        ledger_ids=[key for venue in (SPOT, PERPETUAL) for key in _ledger_ids(folder, venue)],
        partial_orders=sum(_ZERO < Decimal(o["executed"]) < Decimal(o["quantity"]) for o in orders),
    )


def read_journal(path: Path) -> list[Event]:
    """Return the events of a journal that another process may have open."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT kind, version, body FROM journal ORDER BY sequence")
        return [decode_event(kind, version, body) for kind, version, body in rows]


def _ledger_ids(folder: Path, venue: str) -> list[str]:
    path = folder / f"ledger-{venue}.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return [key for (key,) in connection.execute("SELECT client_order_id FROM orders")]


def _arrival(row: dict[str, Any], names: Names) -> Arrival:
    exchange, sent = row["venue"], row["parameters"]
    multiplier = names.multiplier(exchange, row["symbol"])
    price = sent.get("price")
    return Arrival(
        exchange=exchange,
        client_order_id=row["client_order_id"],
        symbol=names.canonical(exchange, row["symbol"]),
        side=OrderSide(row["side"].lower()),
        quantity=Decimal(sent["quantity"]) * multiplier,
        worst_price=None if price is None else Decimal(price) / multiplier,
        reduce_only=sent.get("reduceOnly") == "true",
        at=row["wire_time"] / 1000,
    )


def _execution(row: dict[str, Any], names: Names) -> Execution:
    exchange = PERPETUAL if row["product"] == "PERPETUAL" else SPOT
    multiplier = names.multiplier(exchange, row["symbol"])
    fee_asset = row["fee_asset"]
    is_base = exchange == SPOT and row["symbol"] == f"{fee_asset}USDT"
    return Execution(
        exchange=exchange,
        client_order_id=row["client_order_id"],
        quantity=Decimal(row["quantity"]) * multiplier,
        base_fee=Decimal(row["fee"]) if is_base else _ZERO,
        price=Decimal(row["price"]) / multiplier,
        at=row["time"] / 1000,
    )


def instant_of(arrival: Arrival) -> datetime:
    """Return when an order came, by the wall clock all processes share."""
    return datetime.fromtimestamp(arrival.at, UTC)
