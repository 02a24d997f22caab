"""The connector's figures: requests by their end, allowances spent, durable writes that fail."""

from __future__ import annotations

import math
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from services.common.metrics import ServiceMetrics
from services.common.rate_window import Allowance
from services.connector.connector_metrics import ConnectorMetrics
from services.connector.ledger import Ledger
from services.connector.profile import EndpointClass, Priority
from services.connector.rate_budget import RateBudget
from services.connector.venue_errors import VenueAnswerError
from tests.support.hand_venue import venue
from tests.support.virtual_clock import VirtualClock


class Figures:
    """A connector's metrics on a registry of their own."""

    def __init__(self) -> None:
        service = ServiceMetrics("connector")
        self._registry = service.registry
        self.connector = ConnectorMetrics(service)

    def read(self, name: str, **labels: str) -> float | None:
        """Return the value of one sample, None where it was never observed."""
        return self._registry.get_sample_value(f"opensqt_connector_{name}", labels)


async def _answer() -> str:
    return "done"


@pytest.mark.parametrize(
    ("status", "outcome"), [(400, "refused"), (429, "rate_limited"), (503, "venue_error")]
)
async def test_a_refused_request_is_counted_by_how_it_ended(status: int, outcome: str) -> None:
    """One request, one count and one time."""
    figures, asked = Figures(), venue()
    asked.observer = figures.connector

    async def refuse() -> str:
        raise VenueAnswerError(status, None, "no", timedelta(0))

    with pytest.raises(VenueAnswerError):
        await asked.call(EndpointClass.WEIGHT, 1, refuse)
    counted = figures.read("venue_requests_total", endpoint_class="weight", outcome=outcome)
    assert counted == 1
    assert figures.read("venue_request_duration_seconds_count", endpoint_class="weight") == 1


async def test_an_answer_and_a_silence_are_told_apart() -> None:
    """Whatever is not the venue's word counts as no answer."""
    figures, asked = Figures(), venue()
    asked.observer = figures.connector

    async def break_off() -> str:
        raise ConnectionResetError

    assert await asked.call(EndpointClass.ORDER, 1, _answer) == "done"
    with pytest.raises(ConnectionResetError):
        await asked.call(EndpointClass.ORDER, 1, break_off)
    for outcome in ("answered", "no_answer"):
        assert figures.read("venue_requests_total", endpoint_class="order", outcome=outcome) == 1


async def test_the_spent_share_of_an_allowance_falls_as_its_window_moves_on() -> None:
    """The fullest of a class's windows counts."""
    clock = VirtualClock()
    budget = RateBudget({"order": (Allowance(10, 60.0), Allowance(100, 3600.0))}, clock)
    async with budget.take("order", 5, Priority.EXIT):
        assert budget.used_ratio("order") == 0.5
    await clock.pass_time(61)
    assert budget.used_ratio("order") == 0.05
    assert budget.classes == ("order",)
    assert budget.used_ratio("never heard of") == 0


async def test_a_failing_ledger_shows_until_a_write_succeeds(tmp_path: Path) -> None:
    """The gauge is what an alert watches; the counter stays."""
    figures = Figures()
    ledger = Ledger(tmp_path / "orders.ledger", observer=figures.connector)
    ledger.open()

    def fail(_connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(sqlite3.OperationalError):
        await ledger._write(fail, urgent=True)
    assert figures.read("ledger_failing") == 1
    await ledger._write(lambda connection: connection.execute("SELECT 1").fetchall(), urgent=True)
    ledger.close()
    assert figures.read("ledger_failing") == 0
    assert figures.read("ledger_failures_total") == 1
    assert figures.read("ledger_write_seconds_count") == 1


def test_a_clock_nobody_read_has_no_skew() -> None:
    """A zero would look like a clock that agrees."""
    asked = venue()
    assert math.isnan(asked.skew_seconds())
    asked.clock_skew = timedelta(seconds=-2)
    assert asked.skew_seconds() == -2
