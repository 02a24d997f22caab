"""What a mirror's follower makes of what it reads, and how often it asks again."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import cast

from services.simulator.core.matching import Execution
from services.simulator.core.orders import Order, OrderStatus, Side
from services.simulator.market.source import Kind
from services.simulator.mirror.binance_rows import PublicTrade
from services.simulator.mirror.follower import Follower
from services.simulator.mirror.pace import MirrorPace
from services.simulator.mirror.reader import MirrorReader
from tests.support.venue_rig import Rig, make_rig


class ScriptedReader:
    """Answers with the trades that the test has made; mutable."""

    def __init__(self) -> None:
        self.trades: list[PublicTrade] = []

    def trade(self, *prices: str) -> None:
        """Let somebody trade one coin at each price."""
        for price in prices:
            execution = Execution(Decimal(price), Decimal(1))
            self.trades.append(PublicTrade(len(self.trades) + 1, execution))

    async def read_book(self, kind: Kind, symbol: str) -> None:
        """Read nothing."""

    async def read_trades(self, kind: Kind, symbol: str) -> Sequence[PublicTrade]:
        """Return all trades."""
        return list(self.trades)


def _follower(rig: Rig, reader: ScriptedReader) -> Follower:
    return Follower(cast("MirrorReader", reader), rig.exchange, MirrorPace())


def _bid(rig: Rig) -> Order:
    return rig.place(Side.BUY, "1", "99.00")


async def test_an_order_is_not_filled_by_trades_that_were_before_it() -> None:
    """Not even where an older order rests in the symbol, whose trades were read up to now."""
    rig, reader = make_rig(), ScriptedReader()
    follower = _follower(rig, reader)
    older = rig.place(Side.BUY, "1", "98.00")
    reader.trade("98.50")
    await follower.follow()
    # between two readings: through the price of the order that comes after them
    reader.trade("98.50", "98.50")
    younger = _bid(rig)
    await follower.follow()
    assert (older.status, younger.status) == (OrderStatus.NEW, OrderStatus.NEW)
    reader.trade("98.50")
    await follower.follow()
    assert (older.status, younger.status) == (OrderStatus.NEW, OrderStatus.FILLED)
    reader.trade("97.50")
    await follower.follow()
    assert older.status is OrderStatus.FILLED
