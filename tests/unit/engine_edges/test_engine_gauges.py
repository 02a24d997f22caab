"""Gauges of what is on: sums by venue and currency, and nothing left of what was closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from prometheus_client import CollectorRegistry, Gauge

from services.common.metrics import CurrentGauge, exemplar_of
from services.engine.figures import EarningsBook, held_figures
from services.engine.guard_facts import GuardAction, GuardLimits, LegMarket
from services.engine.guard_health import guard_health
from services.engine.guard_memory import GuardMemory
from services.engine.guard_ports import AccountFacts, HoldingFacts
from services.engine.instruments import LegSide
from services.engine.orders import AssetAmount, OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.position import Position
from services.engine.slippage import slippage_ratio
from services.engine.views import PositionStatus
from tests.support.risk_positions import PERP, SPOT, entering, opened, ordered

MARK = LegMarket(mark=Decimal(100))


def test_matched_legs_have_values_of_opposite_sign_and_no_residual() -> None:
    """Both legs are valued at the same price: what is left is quantity, not basis."""
    held = held_figures([opened("p1")], {})
    assert held.legs == {
        ("spot", PERP.ref.symbol, "long"): 100,
        ("perp", PERP.ref.symbol, "short"): -100,
    }
    assert held.residuals == {PERP.ref.symbol: 0}
    assert held.unhedged == 0


def test_a_lead_without_its_hedge_is_unhedged() -> None:
    """From the fill on, before anything settles."""
    position = ordered(entering("p1"), LegSide.LONG, OrderClass.ENTRY, filled="1")
    assert held_figures([position], {}).unhedged == 100


def test_a_final_position_holds_nothing_and_keeps_what_it_made() -> None:
    """Its funding stays in the sum of its currency."""
    closed = replace(
        opened("p1"),
        status=PositionStatus.CLOSED,
        funding={LegSide.SHORT: AssetAmount(PERP.quote_asset, Decimal("1.5"))},
    )
    assert held_figures([closed], {}).legs == {}
    book = EarningsBook()
    first = book.total([closed], {})[PERP.quote_asset]
    assert first.funding == Decimal("1.5")
    assert book.total([closed], {})[PERP.quote_asset] == first


def test_guard_health_takes_the_worst_leg_of_each_venue() -> None:
    """A venue that tells no margin has no figure, never a zero."""
    memory = GuardMemory(GuardLimits())
    position: Position = opened("p1")
    holding = HoldingFacts(Decimal(-1), Decimal(100), Decimal(110), Decimal("0.3"))
    memory.heard("perp", 5.0, AccountFacts({PERP.ref.symbol: holding}), {PERP.ref.symbol: MARK})
    memory.heard("spot", 2.0, AccountFacts(), {})
    found = {("delta_leak", "p1"): GuardAction.TRIP}
    health = guard_health([position], memory, found, 7.0)
    assert health.distances == {"perp": Decimal("0.1")}
    assert health.margin_ratios == {"perp": Decimal("0.3")}
    assert health.silences == {"perp": timedelta(seconds=2), "spot": timedelta(seconds=5)}
    assert health.findings == {("delta_leak", "trip"): 1}


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
