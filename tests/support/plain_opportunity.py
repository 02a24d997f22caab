"""An opportunity with round numbers, for tests to which the numbers are nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.opportunity import Opportunity
from services.scanner.pairs import PairOfLegs

TIME = datetime(2026, 3, 20, 3, 30, tzinfo=UTC)


def plain_opportunity(symbol: str = "AUSDT", **changes: Any) -> Opportunity:
    """Return the opportunity of a symbol between a spot and a perpetual venue."""
    ratio = Decimal("0.5")
    found = Opportunity(
        pair=PairOfLegs(
            InstrumentKey("spot.ty", symbol, InstrumentKind.SPOT),
            InstrumentKey("perpy", symbol, InstrumentKind.PERPETUAL),
        ),
        scan_id="scan",
        gross_apr=ratio,
        net_apr=ratio,
        naive_apr=ratio,
        costs={},
        round_trip_cost_ratio=Decimal(0),
        break_even_hours=None,
        borrow_apr=None,
        basis_ratio=Decimal(0),
        quote_volume=Decimal(1),
        expected_holding_time=timedelta(days=1),
        quality_score=ratio,
        score_factors={},
        long_funding=None,
        short_funding=None,
        observe_time=TIME,
        expire_time=TIME + timedelta(minutes=10),
    )
    return replace(found, **changes)
