"""A spot venue as the connector sees it, over ccxt instances made by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.common.clock import SystemClock
from services.connector.instruments import InstrumentBook
from services.connector.profile import Fence
from services.connector.rate_budget import RateBudget
from services.connector.rate_lanes import SCAN_CALLS_AT_ONCE
from services.connector.venue import Venue
from services.connector.venues import find_profile
from tests.support.connector_orders import instrument

FENCE = Fence(timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=1))


def venue(
    trading: Any = None,
    exchange: Any = None,
    clock: Any = None,
    scan_calls_at_once: int = SCAN_CALLS_AT_ONCE,
) -> Venue:
    """Return a spot venue over hand-made ccxt instances."""
    profile = find_profile("binance")
    held = clock or SystemClock()
    return Venue(
        code="binance",
        name="binance",
        kind=profile.kind,
        exchange=exchange,
        trading=trading,
        instruments=InstrumentBook([instrument()]),
        budget=RateBudget(profile.allowances, held, scan_calls_at_once=scan_calls_at_once),
        clock=held,
        profile=profile,
        fence=FENCE,
    )
