"""Funding history and intervals of Binance USD-M futures; the two share a limit of their own."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from services.simulator.core.clock import millis
from services.simulator.core.limits import Family
from services.simulator.core.money import text8
from services.simulator.dialects.context import USDM_VENUE, Context, Endpoint, Handler, Routes
from services.simulator.market.source import FundingSettlement, Kind

DEFAULT_INTERVAL = timedelta(hours=8)
DEFAULT_CAPS = (Decimal("0.02"), Decimal("0.03"))


def funding_history(context: Context) -> object:
    """Answer paid funding rates of one symbol or of all, ascending."""
    params = context.params
    market = context.simulation.market
    symbol = params.text("symbol")
    # an unknown symbol is an error, a known one without rows an empty list
    if symbol is not None:
        market.spec(Kind.PERPETUAL, symbol)
    rows = market.source.settlements(
        symbol,
        params.time("startTime"),
        params.time("endTime"),
        params.limit(100, 1000),
        market.now(),
    )
    return [_settlement_row(row) for row in rows]


def _settlement_row(row: FundingSettlement) -> dict[str, object]:
    return {
        "symbol": row.symbol,
        "fundingTime": millis(row.time),
        "fundingRate": text8(row.rate),
        "markPrice": text8(row.mark_price),
    }


def funding_info(context: Context) -> object:
    """Answer intervals and caps of the symbols that differ from the venue's defaults."""
    market = context.simulation.market
    specs = market.instruments(Kind.PERPETUAL)
    now = market.now()
    return [
        {
            "symbol": symbol,
            "adjustedFundingRateCap": text8(specs[symbol].funding_cap),
            "adjustedFundingRateFloor": text8(-specs[symbol].funding_cap),
            "fundingIntervalHours": interval // timedelta(hours=1),
            "disclaimer": False,
            "updateTime": millis(specs[symbol].onboard_time),
        }
        for symbol, interval in market.source.funding_intervals(now).items()
        # what is absent has the defaults; a client must not take absence for no funding
        if symbol in specs
        and (interval != DEFAULT_INTERVAL or specs[symbol].funding_cap not in DEFAULT_CAPS)
    ]


def _limited(handler: Handler, operation: str) -> Endpoint:
    return Endpoint(handler, operation, 1, family=Family.FUNDING_HISTORY, venue=USDM_VENUE)


ROUTES: Routes = {
    ("GET", "/fapi/v1/fundingRate"): _limited(funding_history, "get_funding_history"),
    ("GET", "/fapi/v1/fundingInfo"): _limited(funding_info, "get_funding_intervals"),
}
