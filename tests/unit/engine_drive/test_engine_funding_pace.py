"""How often funding is read, whatever the number of positions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.engine.funding_ledger import pause_between_reads
from services.engine.policy import EnginePolicy

POLICY = EnginePolicy(
    funding_read_interval=timedelta(seconds=15), funding_read_spacing=timedelta(seconds=6)
)


@pytest.mark.parametrize(("positions", "seconds"), [(0, 15), (1, 15), (2, 7.5), (3, 6), (100, 6)])
def test_readings_never_bunch(positions: int, seconds: float) -> None:
    """Readings spread over the interval; many positions stretch the round, not the rate."""
    assert pause_between_reads(positions, POLICY) == timedelta(seconds=seconds)
