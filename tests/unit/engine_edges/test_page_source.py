"""What the page gathers of a running engine, and what it does without a scanner."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.errors import UnreachableError
from services.engine.follower_offer import Offer
from services.engine.guard_facts import GuardAction, GuardFinding
from services.engine.page.events import doubtful_orders
from services.engine.page.facts import Level, PageFacts
from services.engine.page.source import PageSource
from services.engine.risk_alerts import AlertFeed
from services.engine.strategy_words import StrategyMode
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import Fault
from tests.support.page_samples import offer
from tests.support.virtual_clock import VirtualClock


async def facts_of(rig: EngineRig, alerts: AlertFeed | None = None, problem: str = "") -> PageFacts:
    """Gather the page of a rig's engine, with a scanner that answers or not."""

    async def best(count: int) -> Sequence[Offer]:
        if problem:
            raise UnreachableError(problem)
        return [offer("WIFUSDT", "0.3")][:count]

    told = alerts or AlertFeed(rig.clock)
    gathering = PageSource(
        rig.engine,
        rig.clock,
        best=best,
        alerts=lambda: told.recent,
        strategy=lambda: StrategyMode.MANUAL,
        day_result=lambda: None,
    )
    return await gathering.facts()


async def test_an_open_position_is_shown_with_its_figures() -> None:
    """Notional, residual and result stand on the ledger; carry is unknown without guards."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    view = await rig.open("1")
    facts = await facts_of(rig)
    (row,) = facts.positions
    assert row.view == view
    assert (row.base_asset, row.quote_asset, row.is_neutral) == ("BTC", "USDT", True)
    assert row.notional > 90
    assert row.result < 0
    assert row.carry_apr is None
    assert facts.status == rig.engine.status()
    assert [each.symbol for each in facts.offers.rows] == ["WIFUSDT"]
    await rig.close_rig()


async def test_an_ended_position_moves_to_those_that_ended() -> None:
    """Its events stay among the last ones."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    view = await rig.open("1")
    await rig.close(view.position_id)
    facts = await facts_of(rig)
    assert facts.positions == ()
    assert [each.position_id for each in facts.ended] == [view.position_id]
    assert facts.events[0].text.startswith("closed")
    await rig.close_rig()


async def test_an_order_in_doubt_is_named() -> None:
    """While nobody proved its outcome, it stands among what is unknown."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    rig.short_venue.script.append(Fault(reply_lost=True))
    view = await rig.call(rig.engine.open(rig.open_command("1")))
    assert (await facts_of(rig)).doubtful == ()
    book = rig.engine.ledger
    await rig.clock.run_until(lambda: bool(doubtful_orders(book.all(), rig.clock.now())))
    facts = await facts_of(rig)
    assert [each.position_id for each in facts.doubtful] == [view.position_id]
    await rig.settled(view.position_id)
    assert (await facts_of(rig)).doubtful == ()
    await rig.close_rig()


async def test_a_silent_scanner_costs_the_page_one_part() -> None:
    """The rest is shown, and why there are no opportunities."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    facts = await facts_of(rig, problem="the scanner does not answer")
    assert (facts.offers.rows, facts.offers.problem) == ((), "the scanner does not answer")
    await rig.close_rig()


async def test_alerts_of_guards_are_events() -> None:
    """An alert that nobody listened to is seen by whoever looks later."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    alerts = AlertFeed(rig.clock)
    alerts.raised(GuardFinding("margin", "p1", "BTCUSDT", GuardAction.REDUCE, "too thin"))
    event = (await facts_of(rig, alerts)).events[0]
    assert (event.level, event.subject, event.text) == (
        Level.BAD,
        "BTCUSDT",
        "guard margin: too thin",
    )
    await rig.close_rig()
