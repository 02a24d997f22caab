"""PortfolioService: market scores come from the scanner; the rest is not served yet."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from opensqt.market_maker.v1 import (
    instrument_pb2,
    opportunity_pb2,
    portfolio_pb2,
    portfolio_pb2_grpc,
)
from services.common.codec import decimal_from_proto, decimal_to_proto, limit_fraction
from services.common.errors import FatalError, InvalidFieldError, UnimplementedError

if TYPE_CHECKING:
    import grpc.aio

_HOURS_A_YEAR = Decimal(8760)
_SECONDS_AN_HOUR = Decimal(3600)
_SECONDS_A_DAY = 86_400
_SPOT = instrument_pb2.INSTRUMENT_KIND_SPOT
_METRIC_SOURCES = (
    ("stability_score", "stability_score"),
    ("rate_standard_deviation", "volatility_score"),
    ("slope", "momentum"),
    ("open_interest_to_volume", "oi_factor"),
    ("positive_ratio", "positive_ratio"),
    ("annualized_rate", "average_annual_apr"),
)


class OpportunityLister(Protocol):
    """Where the list of opportunities comes from: the scanner."""

    async def opportunities(self) -> list[opportunity_pb2.Opportunity]:
        """Read all opportunities, best first."""
        ...


class PortfolioServicer(portfolio_pb2_grpc.PortfolioServiceServicer):
    """Answers GetMarketScores from the scanner's opportunities."""

    def __init__(self, scanner: OpportunityLister) -> None:
        self._scanner = scanner

    async def GetMarketScores(
        self,
        request: portfolio_pb2.GetMarketScoresRequest,
        context: grpc.aio.ServicerContext[
            portfolio_pb2.GetMarketScoresRequest, portfolio_pb2.GetMarketScoresResponse
        ],
    ) -> portfolio_pb2.GetMarketScoresResponse:
        """List the ranked opportunities in the portfolio's form."""
        rows = await self._scanner.opportunities()
        return portfolio_pb2.GetMarketScoresResponse(
            opportunities=[portfolio_opportunity(row) for row in rows]
        )

    async def GetRiskProfile(
        self,
        request: portfolio_pb2.GetRiskProfileRequest,
        context: grpc.aio.ServicerContext[
            portfolio_pb2.GetRiskProfileRequest, portfolio_pb2.RiskProfile
        ],
    ) -> portfolio_pb2.RiskProfile:
        """Refuse: not served."""
        raise _not_served("GetRiskProfile")

    async def SimulateMargin(
        self,
        request: portfolio_pb2.SimulateMarginRequest,
        context: grpc.aio.ServicerContext[
            portfolio_pb2.SimulateMarginRequest, portfolio_pb2.SimulateMarginResponse
        ],
    ) -> portfolio_pb2.SimulateMarginResponse:
        """Refuse: not served."""
        raise _not_served("SimulateMargin")

    async def GetTargetPositions(
        self,
        request: portfolio_pb2.GetTargetPositionsRequest,
        context: grpc.aio.ServicerContext[
            portfolio_pb2.GetTargetPositionsRequest, portfolio_pb2.GetTargetPositionsResponse
        ],
    ) -> portfolio_pb2.GetTargetPositionsResponse:
        """Refuse: not served."""
        raise _not_served("GetTargetPositions")


def _not_served(method: str) -> UnimplementedError:
    return UnimplementedError(
        f"PortfolioService.{method} is not served by this version", reason="METHOD_NOT_SERVED"
    )


def portfolio_opportunity(row: opportunity_pb2.Opportunity) -> portfolio_pb2.PortfolioOpportunity:
    """Write an opportunity in the contract's older form; figures nobody knows stay absent.

    `spread` is the carry of one hour as a fraction of notional, `spread_apr` the same a year.
    """
    gross = _gross_apr(row)
    kinds = {row.long_leg.kind, row.short_leg.kind}
    score = portfolio_pb2.PortfolioOpportunity(
        symbol=row.symbol,
        strategy="spot_perpetual" if _SPOT in kinds else "perpetual_perpetual",
        long_exchange=row.long_leg.exchange,
        short_exchange=row.short_leg.exchange,
        spread=None if gross is None else decimal_to_proto(limit_fraction(gross / _HOURS_A_YEAR)),
        spread_apr=row.gross_apr if row.HasField("gross_apr") else None,
        basis=row.basis_ratio if row.HasField("basis_ratio") else None,
        quality_score=row.quality_score if row.HasField("quality_score") else None,
        net_apr=row.net_apr if row.HasField("net_apr") else None,
        opportunity_id=row.opportunity_id,
        timestamp=row.observe_time.ToMilliseconds() if row.HasField("observe_time") else 0,
    )
    # The short leg is the one that earns; the older form has room for one only.
    funding = row.short_funding if row.HasField("short_funding") else row.long_funding
    score.metrics.CopyFrom(_metrics(funding))
    return score


def _gross_apr(row: opportunity_pb2.Opportunity) -> Decimal | None:
    try:
        return decimal_from_proto(row, "gross_apr")
    except InvalidFieldError as error:
        # The request has no such field: the scanner's answer is broken, not the caller's question.
        raise FatalError(
            f"the scanner sent a bad {error.field}", reason="SCANNER_INVALID"
        ) from error


def _metrics(funding: opportunity_pb2.FundingStatistics) -> portfolio_pb2.FundingMetrics:
    windows = {window.length.seconds: window for window in funding.windows}
    metrics = portfolio_pb2.FundingMetrics(
        num_sign_flips=funding.sign_flip_count,
        current_duration=int(Decimal(funding.regime_age.seconds) / _SECONDS_AN_HOUR),
    )
    for day, field in ((1, "sma_1d"), (7, "sma_7d"), (30, "sma_30d")):
        window = windows.get(day * _SECONDS_A_DAY)
        if window is not None and window.HasField("mean_rate"):
            getattr(metrics, field).CopyFrom(window.mean_rate)
    # Only what is there: the form's figures are messages, and an empty one reads as zero.
    present = {field.name: value for field, value in funding.ListFields()}
    for source, target in _METRIC_SOURCES:
        if source in present:
            getattr(metrics, target).CopyFrom(present[source])
    return metrics
