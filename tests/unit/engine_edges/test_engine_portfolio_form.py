"""Opportunities in the portfolio's older form: figures are carried over, unknown ones stay out."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from opensqt.market_maker.v1 import instrument_pb2, opportunity_pb2, portfolio_pb2
from services.common.errors import FatalError
from services.engine.servicer_portfolio import portfolio_opportunity
from services.engine.view_codec import ref_to_proto
from tests.support.connector_messages import number
from tests.support.engine_views import PERPETUAL, SPOT


def window(days: float, rate: str | None) -> opportunity_pb2.FundingWindow:
    """Return a window of some days with a mean rate."""
    return opportunity_pb2.FundingWindow(
        length=Duration(seconds=int(days * 86_400)),
        mean_rate=None if rate is None else number(rate),
    )


def funding(**changes: Any) -> opportunity_pb2.FundingStatistics:
    """Return statistics in which no two figures are alike."""
    fields: dict[str, Any] = {
        "windows": [window(1, "0.0001"), window(7, "0.0002"), window(30, "0.0003")],
        "stability_score": number("0.81"),
        "rate_standard_deviation": number("0.00004"),
        "slope": number("-0.00001"),
        "open_interest_to_volume": number("0.35"),
        "positive_ratio": number("0.9"),
        "annualized_rate": number("0.12"),
        "sign_flip_count": 4,
        "regime_age": Duration(seconds=3 * 3600 + 3599),
    }
    return opportunity_pb2.FundingStatistics(**{**fields, **changes})


def opportunity(**changes: Any) -> opportunity_pb2.Opportunity:
    """Return an opportunity, complete as far as the older form can tell."""
    fields: dict[str, Any] = {
        "opportunity_id": "opportunity-9",
        "symbol": "BTCUSDT",
        "long_leg": ref_to_proto(SPOT),
        "short_leg": ref_to_proto(PERPETUAL),
        "gross_apr": number("0.876"),
        "net_apr": number("0.08"),
        "basis_ratio": number("0.0004"),
        "quality_score": number("0.7"),
        "short_funding": funding(),
        "observe_time": Timestamp(seconds=1_772_366_400, nanos=125_000_000),
    }
    return opportunity_pb2.Opportunity(**{**fields, **changes})


def test_every_field_of_the_older_form_is_filled() -> None:
    """The hourly spread is the yearly one by the hours of a year."""
    assert portfolio_opportunity(opportunity()) == portfolio_pb2.PortfolioOpportunity(
        symbol="BTCUSDT",
        strategy="spot_perpetual",
        long_exchange="binance",
        short_exchange="binanceusdm",
        spread=number("0.0001"),
        spread_apr=number("0.876"),
        basis=number("0.0004"),
        quality_score=number("0.7"),
        metrics=portfolio_pb2.FundingMetrics(
            sma_1d=number("0.0001"),
            sma_7d=number("0.0002"),
            sma_30d=number("0.0003"),
            stability_score=number("0.81"),
            volatility_score=number("0.00004"),
            momentum=number("-0.00001"),
            oi_factor=number("0.35"),
            positive_ratio=number("0.9"),
            num_sign_flips=4,
            current_duration=3,
            average_annual_apr=number("0.12"),
        ),
        timestamp=1_772_366_400_125,
        net_apr=number("0.08"),
        opportunity_id="opportunity-9",
    )


def test_figures_nobody_knows_stay_absent() -> None:
    """A bare opportunity has names and nothing else."""
    bare = opportunity_pb2.Opportunity(
        symbol="BTCUSDT", long_leg=ref_to_proto(SPOT), short_leg=ref_to_proto(PERPETUAL)
    )
    assert portfolio_opportunity(bare) == portfolio_pb2.PortfolioOpportunity(
        symbol="BTCUSDT",
        strategy="spot_perpetual",
        long_exchange="binance",
        short_exchange="binanceusdm",
        metrics=portfolio_pb2.FundingMetrics(),
    )


def test_two_perpetuals_show_the_short_ones_funding() -> None:
    """The strategy is named after both legs; the short leg earns."""
    long_leg = instrument_pb2.InstrumentRef(
        exchange="other", symbol="BTCUSDT", kind=instrument_pb2.INSTRUMENT_KIND_PERPETUAL
    )
    score = portfolio_opportunity(
        opportunity(long_leg=long_leg, long_funding=funding(sign_flip_count=99))
    )
    assert score.strategy == "perpetual_perpetual"
    assert score.metrics.num_sign_flips == 4


def test_a_short_spot_leg_shows_the_long_ones_funding() -> None:
    """Spot has no funding of its own."""
    score = portfolio_opportunity(
        opportunity(
            long_leg=ref_to_proto(PERPETUAL),
            short_leg=ref_to_proto(SPOT),
            short_funding=None,
            long_funding=funding(sign_flip_count=8),
        )
    )
    assert score.strategy == "spot_perpetual"
    assert score.metrics.num_sign_flips == 8


def test_a_window_of_another_length_is_not_taken_for_a_day() -> None:
    """A mean over a day and a half is not the daily mean; one without a mean is none."""
    rows = [window(1.5, "0.5"), window(7, None), window(30, "0.0003")]
    metrics = portfolio_opportunity(opportunity(short_funding=funding(windows=rows))).metrics
    assert not metrics.HasField("sma_1d")
    assert not metrics.HasField("sma_7d")
    assert metrics.sma_30d.value == "0.0003"


def test_an_hourly_spread_without_last_digit_is_rounded() -> None:
    """A quotient has no end; the wire has 18 digits."""
    spread = portfolio_opportunity(opportunity(gross_apr=number("1"))).spread
    assert spread.value == "0.000114155251141553"


@pytest.mark.parametrize("text", ["", "NaN", "1e5"])
def test_a_bad_figure_is_the_scanners_fault(text: str) -> None:
    """The caller asked for a list and named no figure."""
    with pytest.raises(FatalError) as caught:
        portfolio_opportunity(opportunity(gross_apr=number(text)))
    assert caught.value.reason == "SCANNER_INVALID"
