"""A ranked pair of legs with the numbers that made its rank, as the scanner holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.scanner.analytics import HOURS_PER_YEAR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from decimal import Decimal

    from services.scanner.analytics import FundingStatistics
    from services.scanner.pairs import PairOfLegs


@dataclass(frozen=True, slots=True)
class LegFunding:
    """Funding of one perpetual leg: history, the coming settlement, and what only a shortlist is
    asked for.
    """

    statistics: FundingStatistics
    predicted_rate: Decimal | None
    next_funding_time: datetime | None
    price_volatility: float | None = None
    open_interest_to_volume: float | None = None

    @property
    def predicted_rate_drift(self) -> float | None:
        """Predicted rate less what an interval of the present length was paid in the last day."""
        if self.predicted_rate is None:
            return None
        # By the hour, and not the mean of the rows: those may have paid for another interval.
        hourly = self.statistics.window(1).annualized_rate / HOURS_PER_YEAR
        return float(self.predicted_rate) - hourly * self.statistics.interval_hours


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A pair of legs worth publishing. APRs and costs are fractions of one leg's notional.

    `observe_time` is when the oldest of the rates and prices of both legs was received. `revision`
    is 0 until the board publishes it.
    """

    pair: PairOfLegs
    scan_id: str
    gross_apr: Decimal
    net_apr: Decimal
    naive_apr: Decimal
    costs: Mapping[str, Decimal]
    round_trip_cost_ratio: Decimal
    break_even_hours: Decimal | None
    borrow_apr: Decimal | None
    basis_ratio: Decimal | None
    quote_volume: Decimal
    expected_holding_time: timedelta
    quality_score: Decimal
    score_factors: Mapping[str, Decimal]
    long_funding: LegFunding | None
    short_funding: LegFunding | None
    observe_time: datetime
    expire_time: datetime
    revision: int = 0
    cost_notional: Decimal | None = None
    capacity_notional: Decimal | None = None
    current_apr: Decimal | None = None
    caveats: tuple[str, ...] = ()

    @property
    def opportunity_id(self) -> str:
        """Name of the pair of legs, the same from scan to scan."""
        return self.pair.opportunity_id

    @property
    def rank_key(self) -> tuple[Decimal, str]:
        """Sort key: best score first, ties by name so that the order is stable."""
        return (-self.quality_score, self.opportunity_id)
