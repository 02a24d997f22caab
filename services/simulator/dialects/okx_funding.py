"""Funding, mark prices and open interest of OKX's swaps.

Source: OKX API v5 "Public Data": funding rate and its history, mark price, open interest.
"""

from __future__ import annotations

from typing import Final

from services.simulator.core.clock import from_millis, millis
from services.simulator.core.money import fixed, plain
from services.simulator.dialects.context import Context, Routes
from services.simulator.dialects.okx_common import (
    TYPES,
    Row,
    contract_of,
    done,
    name_of,
    spec_of,
)
from services.simulator.dialects.okx_market import all_of, public
from services.simulator.market.source import FundingState, InstrumentSpec
from services.simulator.simulation import Simulation

_MOST_SETTLEMENTS: Final = 400


def funding_row(simulation: Simulation, spec: InstrumentSpec) -> Row:
    """Return the rate of the next settlement, its time, and the time of the one after."""
    market, now = simulation.market, simulation.market.now()
    state: FundingState = market.source.funding_state(spec.symbol, now)
    interval = state.interval
    following = state.next_time
    return {
        "instType": "SWAP",
        "instId": name_of(spec),
        "method": "current_period",
        "formulaType": "noRate",
        "fundingRate": plain(state.last_rate),
        "fundingTime": "" if following is None else str(millis(following)),
        # Empty in the venue's answers too, for swaps whose method is current_period.
        "nextFundingRate": "",
        "nextFundingTime": "" if following is None else str(millis(following + interval)),
        "minFundingRate": plain(-spec.funding_cap),
        "maxFundingRate": plain(spec.funding_cap),
        "interestRate": plain(state.interest_rate),
        "settState": "settled",
        "settFundingRate": plain(state.last_rate),
        "premium": "0",
        "ts": str(millis(now)),
    }


def funding_history(context: Context) -> object:
    """Answer settled rates newest first: those before `after` and later than `before`."""
    spec, params, market = spec_of(context), context.params, context.simulation.market
    after, before = params.integer("after"), params.integer("before")
    found = market.source.settlements(
        spec.symbol,
        None if before is None else from_millis(before + 1),
        None if after is None else from_millis(after - 1),
        100_000,
        market.now(),
    )
    newest = list(found)[::-1][: params.limit(_MOST_SETTLEMENTS, _MOST_SETTLEMENTS)]
    return done(
        [
            {
                "instType": "SWAP",
                "instId": name_of(spec),
                "fundingRate": plain(row.rate),
                "realizedRate": plain(row.rate),
                "fundingTime": str(millis(row.time)),
                "method": "current_period",
                "formulaType": "noRate",
            }
            for row in newest
        ]
    )


def mark_row(simulation: Simulation, spec: InstrumentSpec) -> Row:
    """Return the mark price of a swap; of spot, the last price stands for it."""
    market = simulation.market
    price = market.reference(spec.kind, spec.symbol)
    return {
        "instType": TYPES[spec.kind],
        "instId": name_of(spec),
        "markPx": plain(price),
        "ts": str(millis(market.now())),
    }


def interest_row(simulation: Simulation, spec: InstrumentSpec) -> Row:
    """Return open interest in contracts, in the base and in USD."""
    market, now = simulation.market, simulation.market.now()
    interest = market.source.open_interest(spec.symbol, now)
    return {
        "instType": "SWAP",
        "instId": name_of(spec),
        "oi": contract_of(spec).to_venue(interest),
        "oiCcy": plain(interest),
        "oiUsd": fixed(interest * market.mark(spec.symbol), 2),
        "ts": str(millis(now)),
    }


ROUTES: Routes = {
    ("GET", "/api/v5/public/funding-rate"): public(
        all_of("funding", funding_row), "get_funding_rates"
    ),
    ("GET", "/api/v5/public/funding-rate-history"): public(
        funding_history, "get_funding_history", 10
    ),
    ("GET", "/api/v5/public/mark-price"): public(all_of("mark", mark_row), "get_prices", 10),
    ("GET", "/api/v5/public/open-interest"): public(
        all_of("interest", interest_row), "get_open_interest"
    ),
}
