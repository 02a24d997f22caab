"""What a page costs the loop that hedges: no step is long, however many positions there are."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from services.common.metrics import ServiceMetrics
from services.common.principals import LOCAL, PrincipalBook
from services.engine.follower_offer import Offer
from services.engine.guard_desk import GuardNeeds
from services.engine.guard_facts import GuardLimits, GuardPace, LegMarket
from services.engine.instruments import InstrumentKind, InstrumentRef
from services.engine.page.server import PageServer
from services.engine.page.source import PageSource
from services.engine.risk_alerts import AlertFeed
from services.engine.strategy_words import StrategyMode
from tests.support.engine_rig import EngineRig, MemoryJournal, make_rules
from tests.support.page_samples import offer
from tests.support.risk_positions import closed, opened
from tests.support.virtual_clock import VirtualClock

LIVE, ENDED = 1_000, 50_000
LONGEST_SECONDS = 0.02
_MARKET = LegMarket(Decimal("100.12"), Decimal("100.1"), Decimal("0.0008"), timedelta(hours=8))
SPOT, PERP = InstrumentKind.SPOT, InstrumentKind.PERPETUAL


def fill(rig: EngineRig) -> None:
    """Let the engine hold many positions, and many that have ended."""
    ledger = rig.engine.ledger._ledger
    symbols = [f"C{number}USDT" for number in range(LIVE)]
    for number, symbol in enumerate(symbols):
        long = replace(make_rules("spot", SPOT), ref=InstrumentRef("spot", symbol, SPOT))
        short = replace(make_rules("perp", PERP), ref=InstrumentRef("perp", symbol, PERP))
        ledger.put(opened(f"p{number}", long_rules=long, short_rules=short))
    ended = closed()
    ledger.positions |= {f"e{number}": ended for number in range(ENDED)}
    assert rig.engine.guards is not None
    for venue in ("spot", "perp"):
        markets = dict.fromkeys(symbols, _MARKET)
        rig.engine.guards.memory.heard_markets(venue, rig.clock.monotonic(), markets)


def page_over(rig: EngineRig, alerts: AlertFeed) -> PageServer:
    """Return a page of this engine with a scanner that answers."""

    async def best(count: int) -> Sequence[Offer]:
        return [offer("WIFUSDT", "0.3")] * count

    page = PageServer(PrincipalBook([], {}), ServiceMetrics("engine"), rig.clock)
    source = PageSource(
        rig.engine,
        rig.clock,
        best=best,
        alerts=lambda: alerts.recent,
        strategy=lambda: StrategyMode.MANUAL,
        day_result=lambda: None,
    )
    page.show(source)
    return page


def longest_step(page: PageServer) -> tuple[float, str]:
    """Draw the page anew, step by step; return the longest one's seconds of CPU, and the page."""
    page._drawn = None
    drawing, longest = page._page(LOCAL), 0.0
    while True:
        began, drawn = time.thread_time(), None
        try:
            drawing.send(None)
        except StopIteration as end:
            drawn = str(end.value)
        longest = max(longest, time.thread_time() - began)
        if drawn is not None:
            return longest, drawn


async def test_no_step_of_a_page_holds_the_loop() -> None:
    """A hedge waits for one step at most; before, it waited for all marks of all positions."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    alerts = AlertFeed(rig.clock)
    rig.extras["guards"] = GuardNeeds({}, alerts, GuardLimits(), GuardPace())
    rig.new_engine()
    await rig.start()
    fill(rig)
    page = page_over(rig, alerts)
    gc.collect()
    # The quickest of some: another process may have had the caches meanwhile.
    found = [longest_step(page) for _ in range(5)]
    assert min(seconds for seconds, _ in found) < LONGEST_SECONDS
    assert "and 950 more" in found[0][1]
    await rig.close_rig()
