"""Funding history and intervals of Binance USD-M futures; the two share a limit of their own."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from services.simulator.core.clock import millis
from services.simulator.core.limits import Family
from services.simulator.core.money import text8
from services.simulator.dialects.context import USDM_VENUE, Context, Endpoint, Handler, Routes
from services.simulator.market.source import FundingSettlement, Kind
from services.simulator.simulation import Simulation

DEFAULT_INTERVAL = timedelta(hours=8)
DEFAULT_CAPS = (Decimal("0.02"), Decimal("0.03"))


def funding_history(context: Context) -> bytes:
    """Answer paid funding rates of one symbol or of all, ascending."""
    params = context.params
    simulation = context.simulation
    market = simulation.market
    symbol = params.text("symbol")
    # an unknown symbol is an error, a known one without rows an empty list
    if symbol is not None:
        market.spec(Kind.PERPETUAL, symbol)
    start, end = params.time("startTime"), params.time("endTime")
    limit, now = params.limit(100, 1000), market.now()
    if symbol is None and start is not None:
        page = settlements_page(simulation, start, now if end is None else end, limit)
        if page is not None:
            return page
    rows = market.source.settlements(symbol, start, end, limit, now)
    return b"[" + b",".join(map(_row_bytes, rows)) + b"]"


def settlements_page(
    simulation: Simulation, start: datetime, end: datetime, limit: int
) -> bytes | None:
    """Return the first `limit` settlements of all symbols in the inclusive range, encoded.

    None where the range is so long that it is not read from what was encoded before.
    """
    blocks = simulation.settlement_blocks("usdm.fundingRate", _row_bytes)
    return blocks.page(millis(start), millis(end), limit, millis(simulation.market.now()))


def _row_bytes(row: FundingSettlement) -> bytes:
    # written out: a dictionary for the encoder would cost several times as much per row
    return (
        f'{{"symbol":{_quoted(row.symbol)},"fundingTime":{millis(row.time)},'
        f'"fundingRate":"{text8(row.rate)}","markPrice":"{text8(row.mark_price)}"}}'
    ).encode()


@lru_cache(maxsize=4096)
def _quoted(symbol: str) -> str:
    # some symbols of the venue are Chinese, which JSON writes as escapes
    return json.dumps(symbol)


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
