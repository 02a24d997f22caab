"""An order desk on a venue made by hand: what tests of the desk share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from services.common.clock import SystemClock
from services.common.errors import UnimplementedError, UnreachableError
from services.common.ids import RandomIds
from services.common.metrics import ServiceMetrics
from services.connector.connector_metrics import ConnectorMetrics
from services.connector.desk_options import DeskOptions
from services.connector.evidence_reader import EvidenceReader
from services.connector.instruments import InstrumentBook
from services.connector.ledger import Ledger
from services.connector.order_calls import OrderKey
from services.connector.order_desk import OrderDesk
from services.connector.order_settler import OrderSettler, SettlePace
from services.connector.order_types import OrderIntent, VenueFill, VenueOrder
from services.connector.profile import Fence
from services.connector.send_judgement import SendResult, Verdict
from services.connector.venue import Venue
from services.connector.venue_orders import VenueOrders
from services.connector.venue_stamps import VenueStamps
from services.connector.venues import find_profile
from services.connector.venues.binance_rows import order_row
from tests.support.connector_orders import SPOT_FULL, instrument

FENCE = timedelta(milliseconds=150)


def venue_row(name: str, **changes: Any) -> VenueOrder:
    """Return the venue's row of a filled purchase of 0.01 BTC under a client id."""
    fill = {
        "price": "100",
        "qty": "0.01",
        "commission": "0.00001",
        "commissionAsset": "BTC",
        "tradeId": 1,
    }
    base = {
        **SPOT_FULL,
        "clientOrderId": name,
        "origQty": "0.01",
        "executedQty": "0.01",
        "cummulativeQuoteQty": "1",
        "status": "FILLED",
        "fills": [fill],
    }
    return order_row({**base, **changes})


# Mutable: a test arms it and counts what it was asked.
@dataclass
class HandOrders:
    """A venue that answers as the test says."""

    reply: Callable[[str], SendResult]
    sent: list[str] = field(default_factory=list)
    found: dict[str, VenueOrder] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    listed: list[VenueOrder] | None = field(default_factory=list)
    lists_read: int = 0
    live: list[VenueOrder] = field(default_factory=list)
    trades: list[VenueFill] = field(default_factory=list)
    trades_fail: bool = False
    by_order_id: dict[str, VenueOrder] = field(default_factory=dict)
    position_changed: datetime | None = None
    position_fails: bool = False

    async def place(self, intent: OrderIntent, _instrument: Any, name: str) -> SendResult:
        """Count the sending, wait for the gate, and reply."""
        self.sent.append(name)
        await self.gate.wait()
        return self.reply(name)

    async def query(self, key: OrderKey, _priority: Any = None) -> VenueOrder | None:
        """Return what the test put there."""
        self.asked += 1
        if not key.venue_client_id:
            return self.by_order_id.get(key.exchange_order_id)
        return self.found.get(key.venue_client_id)

    async def recent_orders(self, *_args: Any, **_names: Any) -> tuple[list[VenueOrder], bool]:
        """Return the venue's list, or that it gives none when `listed` is None."""
        self.lists_read += 1
        if self.listed is None:
            raise UnimplementedError("no list")
        return [*self.listed, *self.found.values()], True

    async def fills(self, *_args: Any, **_names: Any) -> list[VenueFill]:
        """Return the trades the test put there."""
        if self.trades_fail:
            raise UnreachableError("no trades now")
        return self.trades

    async def changed(self, _instrument: Any) -> datetime | None:
        """Return when the position changed, as the test says."""
        if self.position_fails:
            raise UnreachableError("no positions now")
        return self.position_changed

    async def order_fills(self, key: OrderKey, _priority: Any = None) -> list[VenueFill]:
        """Return the trades of an order that the test put there."""
        return [one for one in self.trades if one.exchange_order_id == key.exchange_order_id]

    async def open_orders(self, _instrument: Any, *, use_margin: bool) -> list[VenueOrder]:
        """Return what the test put there."""
        assert not use_margin
        return self.live

    async def best_opposite_price(self, _instrument: Any, _side: Any) -> Decimal:
        """Return 100."""
        return Decimal(100)


def accept(name: str) -> SendResult:
    """Reply with the fill."""
    return SendResult(Verdict.ACCEPTED, row=venue_row(name))


def lose(_name: str) -> SendResult:
    """Reply with nothing."""
    return SendResult(Verdict.UNKNOWN, note="lost")


@contextlib.asynccontextmanager
async def open_desk(
    orders: HandOrders,
    folder: Path,
    fence: timedelta | None = FENCE,
    kept_records: int = 100,
    max_wait_seconds: float = 2.0,
) -> AsyncIterator[tuple[OrderDesk, Ledger]]:
    """Open a desk on a hand-made venue and a ledger in a folder."""
    ledger = Ledger(folder / "orders.ledger")
    ledger.open()
    venue = Venue(
        code="binance",
        name="binance",
        kind=instrument().kind,
        exchange=None,
        trading=None,
        instruments=InstrumentBook([instrument()]),
        budget=cast("Any", None),
        clock=SystemClock(),
        profile=find_profile("binance"),
        fence=None if fence is None else Fence(fence, timedelta(0), timedelta(0)),
    )
    calls = cast("VenueOrders", orders)
    pace = SettlePace(
        grace_seconds=0.01,
        first_seconds=0.01,
        most_seconds=0.05,
        most_unfenced_seconds=0.05,
        lag_seconds=0.1,
    )
    metrics, stamps = ConnectorMetrics(ServiceMetrics("connector")), VenueStamps(venue)
    evidence = EvidenceReader(venue, calls, ledger, stamps, orders)
    desk = OrderDesk(
        venue,
        calls,
        OrderSettler(calls, evidence, venue.clock, pace, metrics),
        ledger,
        stamps,
        RandomIds(),
        DeskOptions(max_wait_seconds, fill_seconds=0.2, kept_records=kept_records),
        metrics,
    )
    try:
        yield desk, ledger
    finally:
        orders.gate.set()
        await desk.close(1.0)
        ledger.close()


async def sent_one(orders: HandOrders) -> None:
    """Wait until the venue has seen an order."""
    async with asyncio.timeout(60):
        for _ in range(1_000):
            if orders.sent:
                return
            await asyncio.sleep(0.01)
