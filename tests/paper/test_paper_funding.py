"""Funding on paper: at the venue's own settlement, at the rate that the venue then tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from services.common.paper import PAPER_KEY, PAPER_SECRET
from services.simulator.core.clock import from_millis
from services.simulator.core.money import down8
from tests.support.connector import eventually
from tests.support.paper import paper_venue
from tests.support.simulator import ccxt_exchange, simulator_settings

LEAD = timedelta(seconds=12)
"""From the start of the test to the settlement: time to read the market and open a position."""
EVERY = timedelta(hours=8)
SYMBOL = "BTCUSDT"


class ShiftedClock:
    """The machine's clock, ahead by as much as makes the next settlement near."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self.settlement = day + ((now - day) // EVERY + 1) * EVERY
        self._ahead = self.settlement - LEAD - now

    def now(self) -> datetime:
        """Return the shifted instant."""
        return datetime.now(UTC) + self._ahead


async def test_a_position_pays_what_the_venue_settled() -> None:
    """The paper account's income is its position times the venue's own rate and mark price."""
    clock = ShiftedClock()
    market = {"symbol_count": 12, "seed": 7}
    keys = (PAPER_KEY, PAPER_SECRET)
    options = {"fetchCurrencies": False}
    async with (
        paper_venue(simulator_settings(market=market), clock, price_seconds=0.3) as rig,
        ccxt_exchange("binanceusdm", rig.paper.address, keys=keys, options=options) as client,
    ):
        await client.load_time_difference()
        await client.create_order("BTC/USDT:USDT", "market", "sell", 0.5)
        assert clock.now() < clock.settlement

        async def is_paid() -> bool:
            return bool([row for row in await rig.control.get("income") if _is_funding(row)])

        await eventually(is_paid, 60)
        paid = [row for row in await rig.control.get("income") if _is_funding(row)]
        source, now = rig.venue.simulation.market.source, rig.venue.simulation.market.now()
        (settled,) = source.settlements(SYMBOL, clock.settlement - LEAD, now, 10, now)
    amount = down8(Decimal("0.5") * settled.mark_price * settled.rate)
    assert [(row["symbol"], Decimal(row["amount"])) for row in paid] == [(SYMBOL, amount)]
    assert from_millis(paid[0]["time"]) == settled.time
    assert rig.log.forbidden() == []


def _is_funding(row: dict[str, str]) -> bool:
    return row["type"] == "FUNDING_FEE"
