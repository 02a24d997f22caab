"""Gauges of the best opportunities, by rank."""

from __future__ import annotations

import math

from services.common.metrics import ServiceMetrics
from services.scanner.metrics import RANKS, ScannerMetrics


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
