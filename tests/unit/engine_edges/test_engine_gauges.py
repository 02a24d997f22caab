"""Gauges of what is on: sums by venue and currency, and nothing left of what was closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry, Gauge

from services.common.metrics import CurrentGauge, ServiceMetrics, exemplar_of
from services.engine.book import PositionBook
from services.engine.figures import EarnedSum, EarningsBook, HeldSum, earnings_of
from services.engine.gauges import EngineGauges
from services.engine.guard_facts import GuardLimits, LegMarket
from services.engine.guard_health import GuardHealth
from services.engine.guard_memory import GuardMemory
from services.engine.guard_ports import AccountFacts, HoldingFacts
from services.engine.instruments import LegSide
from services.engine.orders import AssetAmount, OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.owned_tasks import OwnedTasks
from services.engine.policy import EngineLimits
from services.engine.position import Position
from services.engine.risk_desk import RiskDesk
from services.engine.risk_limits import RiskLimits
from services.engine.slippage import slippage_ratio
from services.engine.views import PositionStatus
from tests.support.engine_rig import MemoryJournal, Recorder
from tests.support.risk_positions import PERP, SPOT, entering, opened, ordered
from tests.support.virtual_clock import VirtualClock

MARK = LegMarket(mark=Decimal(100))


def held(position: Position) -> HeldSum:
    """Return the sum of one position."""
    total = HeldSum()
    total.add(position, {})
    return total


def test_matched_legs_have_values_of_opposite_sign_and_no_residual() -> None:
    """Both legs are valued at the same price: what is left is quantity, not basis."""
    total = held(opened("p1"))
    assert total.legs == {
        ("spot", PERP.ref.symbol, "long"): 100,
        ("perp", PERP.ref.symbol, "short"): -100,
    }
    assert total.residuals == {PERP.ref.symbol: 0}
    assert total.unhedged == 0
    assert (total.count, total.notional) == (1, Decimal(100))


def test_a_lead_without_its_hedge_is_unhedged() -> None:
    """From the fill on, before anything settles."""
    position = ordered(entering("p1"), LegSide.LONG, OrderClass.ENTRY, filled="1")
    assert held(position).unhedged == 100


def test_what_ended_is_looked_at_once_for_each_revision() -> None:
    """A payment that comes late is in the next sum."""
    paid = {LegSide.SHORT: AssetAmount(PERP.quote_asset, Decimal("1.5"))}
    ended = replace(opened("p1"), status=PositionStatus.CLOSED, funding=paid)
    book = EarningsBook()
    assert not book.knows(ended)
    assert book.of(ended).funding == Decimal("1.5")
    assert book.knows(ended)
    late = {LegSide.SHORT: AssetAmount(PERP.quote_asset, Decimal(2))}
    assert not book.knows(replace(ended, funding=late, revision=ended.revision + 1))


def test_fees_count_on_the_day_of_their_orders() -> None:
    """Those of the day before are in the total alone."""
    made = replace(earnings_of(opened("p1"), {}), fees=Decimal(2), day_fees=Decimal(2))
    for day, fees in ((made.day, made.fees), (made.day + timedelta(days=1), Decimal(0))):
        total = EarnedSum(day)
        total.add(made)
        assert total.day_fees == fees
        assert total.fees == {PERP.quote_asset: made.fees}


def test_guard_health_takes_the_worst_leg_of_each_venue() -> None:
    """A venue that tells no margin has no figure, never a zero."""
    memory = GuardMemory(GuardLimits())
    holding = HoldingFacts(Decimal(-1), Decimal(100), Decimal(110), Decimal("0.3"))
    memory.heard_account("perp", 5.0, AccountFacts({PERP.ref.symbol: holding}))
    memory.heard_markets("perp", 5.0, {PERP.ref.symbol: MARK})
    memory.heard_account("spot", 2.0, AccountFacts())
    health = GuardHealth(memory, 7.0)
    assert health.add(opened("p1")) == {PERP.ref: Decimal(100)}
    assert health.distances == {"perp": Decimal("0.1")}
    assert health.margin_ratios == {"perp": Decimal("0.3")}
    assert health.silences == {"perp": timedelta(seconds=2), "spot": timedelta(seconds=5)}


async def test_a_journal_that_is_being_read_shows_what_is_on_and_no_result() -> None:
    """What has ended is not known yet: a sum without it would look like a loss."""
    clock, metrics, recorder = VirtualClock(), ServiceMetrics("engine"), Recorder()
    book = PositionBook(MemoryJournal(), recorder, recorder, clock)
    whole = book.begin_with(())
    await book.record(opened("p1").intent)
    risk = RiskDesk(book, clock, EngineLimits(), RiskLimits(max_daily_fees=Decimal(100)))
    gauges = EngineGauges(metrics)
    await gauges.refresh(book, risk, None, clock)
    shown = metrics.registry.get_sample_value
    quote = {"quote_asset": PERP.quote_asset}
    assert shown("opensqt_engine_journal_whole") == 0
    assert shown("opensqt_engine_residual_notional", {"symbol": PERP.ref.symbol}) == 0
    assert shown("opensqt_engine_result", quote) is None
    assert shown("opensqt_engine_limit_used_ratio", {"limit": "max_daily_fees"}) is None
    book.join(whole)
    await gauges.refresh(book, risk, None, clock)
    assert shown("opensqt_engine_journal_whole") == 1
    assert shown("opensqt_engine_result", quote) == 0
    assert shown("opensqt_engine_limit_used_ratio", {"limit": "max_daily_fees"}) == 0


async def test_figures_age_while_nothing_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands still is seen from outside, from the start on and until it works again."""
    clock, metrics, recorder = VirtualClock(), ServiceMetrics("engine"), Recorder()
    book = PositionBook(MemoryJournal(), recorder, recorder, clock)
    risk = RiskDesk(book, clock, EngineLimits(), RiskLimits())
    gauges, tasks = EngineGauges(metrics), OwnedTasks()

    def age() -> float | None:
        return metrics.registry.get_sample_value("opensqt_engine_figures_age_seconds")

    assert age() == 0
    await clock.pass_time(100)
    with monkeypatch.context() as broken:
        broken.setattr(risk, "used_ratios", None)
        tasks.spawn(gauges.run(book, risk, None, clock), "gauges")
        await clock.pass_time(61)
        assert age() == 61
    await clock.pass_time(6)
    assert age() == 2
    await tasks.close()


def test_a_label_that_is_gone_leaves_the_exposition() -> None:
    """The series of a closed position would else stand for ever."""
    registry = CollectorRegistry()
    gauge = CurrentGauge(Gauge("held", "Held.", ("symbol",), registry=registry))
    gauge.show({("BTCUSDT",): 1.0, ("ETHUSDT",): 2.0})
    gauge.show({("ETHUSDT",): 3.0})
    assert registry.get_sample_value("held", {"symbol": "BTCUSDT"}) is None
    assert registry.get_sample_value("held", {"symbol": "ETHUSDT"}) == 3.0


def test_an_exemplar_is_short_enough_for_openmetrics() -> None:
    """Names and values together may have 128 characters."""
    exemplar = exemplar_of("p" * 500)
    assert exemplar is not None
    assert sum(len(key) + len(value) for key, value in exemplar.items()) <= 128
    assert exemplar_of("") is None


def test_slippage_is_positive_where_the_price_was_worse() -> None:
    """A buy pays more, a sell gets less; an exit has no price it was decided by."""
    bought = OrderOutcome("a", True, Decimal(2), Decimal(2), Decimal(101))
    plan = OrderPlan(
        "a", SPOT.ref, LegSide.LONG, OrderClass.ENTRY, OrderSide.BUY, Decimal(2), Decimal(102)
    )
    assert slippage_ratio(plan, bought, Decimal(100)) == Decimal("0.01")
    sold = replace(plan, side=OrderSide.SELL, order_class=OrderClass.HEDGE)
    assert slippage_ratio(sold, bought, Decimal(100)) == Decimal("-0.01")
    assert slippage_ratio(replace(plan, order_class=OrderClass.EXIT), bought, Decimal(100)) is None
