"""Metrics of the engine: each observation arrives in the figure of its name."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.common.metrics import ServiceMetrics
from services.engine.metrics import EngineMetrics
from services.engine.orders import OrderClass
from services.engine.views import EngineMode, PositionStatus
from tests.support.engine_views import status_view


class Figures:
    """The engine's metrics on a registry of their own."""

    def __init__(self) -> None:
        service = ServiceMetrics("engine")
        self._registry = service.registry
        self.engine = EngineMetrics(service, ("binance", "binanceusdm"))

    def read(self, name: str, **labels: str) -> float | None:
        """Return the value of one sample, None where it was never observed."""
        return self._registry.get_sample_value(f"opensqt_engine_{name}", labels)


@pytest.fixture
def figures() -> Figures:
    """Return fresh metrics."""
    return Figures()


def test_orders_are_counted_by_venue_class_and_outcome(figures: Figures) -> None:
    """How long they took is kept beside."""
    figures.engine.order_ended("binance", OrderClass.HEDGE, "partial", 0.25, "p-1")
    labels = {"exchange": "binance", "order_class": "hedge"}
    assert figures.read("orders_total", **labels, outcome="partial") == 1
    assert figures.read("orders_total", **labels, outcome="filled") == 0
    assert figures.read("order_duration_seconds_sum", **labels) == 0.25


def test_a_settled_position_tells_how_long_it_was_naked_and_what_is_left(
    figures: Figures,
) -> None:
    """The naked leg is what costs money."""
    figures.engine.position_settled(PositionStatus.OPEN, 0.75, Decimal("-12.5"), "p-1")
    assert figures.read("positions_settled_total", state="open") == 1
    assert figures.read("naked_leg_seconds_sum") == 0.75
    assert figures.read("settled_residual_notional") == -12.5


def test_a_failing_journal_shows_until_a_write_succeeds(figures: Figures) -> None:
    """The gauge is what an alert watches; the counter stays."""
    figures.engine.journal_failed()
    figures.engine.journal_failed()
    assert figures.read("journal_failing") == 1
    figures.engine.journal_written(0.001)
    assert figures.read("journal_failing") == 0
    assert figures.read("journal_failures_total") == 2


def test_dispatches_and_writes_are_timed_each_on_its_own(figures: Figures) -> None:
    """None of the three is taken for another."""
    figures.engine.hedge_dispatched(0.001, "p-1")
    figures.engine.exit_dispatched(0.002, "p-1")
    figures.engine.journal_written(0.003)
    assert figures.read("hedge_dispatch_seconds_sum") == 0.001
    assert figures.read("exit_dispatch_skew_seconds_sum") == 0.002
    assert figures.read("journal_write_seconds_sum") == 0.003


def test_alarms_and_refusals_are_counted_by_their_cause(figures: Figures) -> None:
    """An alert stands on each."""
    figures.engine.unhedged_alarm("binanceusdm")
    figures.engine.entry_refused("ENGINE_HALTED")
    assert figures.read("unhedged_alarms_total", exchange="binanceusdm") == 1
    assert figures.read("entries_refused_total", reason="ENGINE_HALTED") == 1


def test_reasons_that_a_connector_makes_up_add_no_series_without_end(figures: Figures) -> None:
    """Those seen before are counted on."""
    for number in range(5_000):
        figures.engine.entry_refused(f"MADE_UP_{number}")
    figures.engine.entry_refused("MADE_UP_7")
    assert figures.read("entries_refused_total", reason="MADE_UP_7") == 2
    assert figures.read("entries_refused_total", reason="MADE_UP_4000") is None
    assert figures.read("entries_refused_total", reason="other") == 4_900


@pytest.mark.parametrize("mode", EngineMode)
def test_exactly_one_mode_is_shown(figures: Figures, mode: EngineMode) -> None:
    """The mode before is taken back."""
    for other in EngineMode:
        figures.engine.engine_changed(status_view(mode=other))
    figures.engine.engine_changed(status_view(mode=mode, reconciled=False))
    shown = {each: figures.read("mode", mode=each.value) for each in EngineMode}
    assert shown == {each: float(each is mode) for each in EngineMode}
    assert figures.read("reconciled") == 0
    assert figures.read("open_positions") == 3
    assert figures.read("unknown_orders") == 2
