"""Gauges of the best opportunities, by rank."""

from __future__ import annotations

import math

from services.common.metrics import ServiceMetrics
from services.common.settings import VenueSettings
from services.scanner.bootstrap import scanner
from services.scanner.history_store import MemoryHistoryStore
from services.scanner.metrics import RANKS, ScannerMetrics
from services.scanner.settings import ScannerSettings


def test_each_rank_shows_the_net_apr_of_its_opportunity() -> None:
    """A rank nobody holds has no figure, never a zero."""
    service = ServiceMetrics("scanner")
    ScannerMetrics(service).watch_best(lambda: [0.3, 0.2])
    shown = {
        rank: service.registry.get_sample_value(
            "opensqt_scanner_opportunity_net_apr_ratio", {"rank": str(rank)}
        )
        for rank in range(1, RANKS + 1)
    }
    assert (shown[1], shown[2]) == (0.3, 0.2)
    assert all(value is not None and math.isnan(value) for value in list(shown.values())[2:])


async def test_what_alerts_measure_by_is_shown_from_the_start() -> None:
    """Late and stale are shares of the interval and of the lifetime that are set."""
    metrics = ServiceMetrics("scanner")
    venue = VenueSettings(name="perpy", kind="perpetual", address="127.0.0.1:9")
    settings = ScannerSettings(venues=(venue,), scan_interval_seconds=300, lifetime_seconds=700)
    async with scanner(settings, metrics, store=MemoryHistoryStore()):
        shown = metrics.registry.get_sample_value
        assert shown("opensqt_scanner_scan_interval_seconds") == 300
        assert shown("opensqt_scanner_opportunity_lifetime_seconds") == 700
