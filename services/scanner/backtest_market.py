"""What a scan would have known of recorded markets at a moment, and how it would have ranked them.

The rules are the scanner's own: the same statistics, quarantine, pairs, costs and score. Only rows
settled by the moment are handed to them, so nothing later can change a rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from services.scanner.analytics import HOURS_PER_YEAR, FundingStatistics
from services.scanner.costs import LegCost, round_trip_costs
from services.scanner.evaluate import Evidence, Rejection, evaluate_pair, funding_legs
from services.scanner.funding import MAX_INTERVAL_HOURS, Settlements
from services.scanner.instruments import (
    InstrumentKey,
    InstrumentKind,
    SymbolRow,
    TickerRow,
    TradingStatus,
)
from services.scanner.market import VenueView
from services.scanner.pairs import PairOfLegs, pairs_of_legs
from services.scanner.ranking import naive_carry
from services.scanner.sound_statistics import Candidate, sound_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.scanner.backtest_data import Recording
    from services.scanner.rules import ScanRules

# The row before the first one wanted tells the hours that one covered.
_EARLIER_MINUTES = int(MAX_INTERVAL_HOURS * 60)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class MarketAssumptions:
    """What stands in for what funding histories do not tell.

    Fees and half-spread are fractions of one crossing of one leg. `spot_symbols` names the
    canonical symbols with a spot market on `spot_venues`; None gives one to every perpetual there.
    """

    perpetual_fee_ratio: Decimal = Decimal("0.0005")
    spot_fee_ratio: Decimal = Decimal("0.001")
    half_spread_ratio: Decimal = Decimal("0.0002")
    spot_venues: tuple[str, ...] = ("binance", "bybit")
    spot_symbols: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A pair of legs whose perpetuals have sound histories at the moment.

    `score` is None where the scan would not publish the pair. APRs are fractions a year.
    """

    pair: PairOfLegs
    score: float | None
    net_apr: float
    current_apr: float
    naive_apr: float


@dataclass(frozen=True, slots=True)
class _Known:
    """Sound statistics at a moment, and the last settled rate of each perpetual a year."""

    statistics: Mapping[InstrumentKey, FundingStatistics]
    current_aprs: Mapping[InstrumentKey, float]


def judged_pairs(
    recording: Recording, now_minute: int, rules: ScanRules, assumptions: MarketAssumptions
) -> tuple[JudgedPair, ...]:
    """Return every pair that could be judged at `now_minute`, from the rows settled by then."""
    known = _known(recording, now_minute, rules)
    views = _views(known, now_minute, rules, assumptions)
    tradable = {venue: view.symbols.keys() for venue, view in views.items()}
    evidence = Evidence("backtest", views, known.statistics)
    found = [_judged(pair, evidence, known, rules) for pair in pairs_of_legs(views, tradable)]
    return tuple(each for each in found if each is not None)


def round_trip_cost(pair: PairOfLegs, rules: ScanRules, assumptions: MarketAssumptions) -> float:
    """Return what entry and exit of both legs cost, as a fraction of one leg's notional."""
    long_cost, short_cost = (_leg_cost(leg, assumptions) for leg in (pair.long_leg, pair.short_leg))
    return float(sum(round_trip_costs(long_cost, short_cost, rules.costs).values()))


def known_rows(rows: Settlements, now_minute: int, history: timedelta) -> Settlements:
    """Return the rows settled by `now_minute` that a scan of that moment would have held."""
    bounds = (now_minute - history // _MINUTE - _EARLIER_MINUTES, now_minute)
    first, last = np.searchsorted(rows.minutes, bounds, side="right")
    return Settlements(rows.minutes[first:last], rows.rates[first:last])


def _known(recording: Recording, now_minute: int, rules: ScanRules) -> _Known:
    # Cut before anything is worked out: the hours of a row depend on the spacing after it.
    cut = {
        key: known_rows(rows, now_minute, rules.history)
        for key, rows in recording.histories.items()
    }
    given = [Candidate(key, rows, None) for key, rows in cut.items() if rows.minutes.size]
    statistics, _ = sound_statistics(given, now_minute, rules)
    current = {
        key: float(cut[key].rates[-1]) * HOURS_PER_YEAR / figures.interval_hours
        for key, figures in statistics.items()
    }
    return _Known(statistics, current)


def _views(
    known: _Known, now_minute: int, rules: ScanRules, assumptions: MarketAssumptions
) -> dict[str, VenueView]:
    symbols: dict[tuple[str, InstrumentKind], list[str]] = {}
    for key in known.statistics:
        symbols.setdefault((key.venue, key.kind), []).append(key.symbol)
        if key.venue in assumptions.spot_venues and _has_spot(key.symbol, assumptions):
            place = (f"{key.venue}-spot", InstrumentKind.SPOT)
            symbols.setdefault(place, []).append(key.symbol)
    received = datetime.fromtimestamp(now_minute * 60, UTC)
    return {
        venue: _view(venue, kind, names, received, rules, assumptions)
        for (venue, kind), names in symbols.items()
    }


def _view(
    venue: str,
    kind: InstrumentKind,
    symbols: list[str],
    received: datetime,
    rules: ScanRules,
    assumptions: MarketAssumptions,
) -> VenueView:
    # The volume that makes the factor one half, the same for all: it moves no rank.
    volume = Decimal(repr(rules.score.liquidity_half_volume))
    lends = rules.costs.default_borrow_apr is not None
    return VenueView(
        venue=venue,
        kind=kind,
        symbols={
            name: SymbolRow(name, name[:-4], name[-4:], TradingStatus.TRADING, lends, None)
            for name in symbols
        },
        tickers={name: TickerRow(name, volume, *_prices(assumptions)) for name in symbols},
        received=received,
        fees={"": _fee(kind, assumptions)},
    )


def _prices(assumptions: MarketAssumptions) -> tuple[Decimal, Decimal]:
    """Return a bid and an ask around one, so that every pair has the stated spread and no basis."""
    return 1 - assumptions.half_spread_ratio, 1 + assumptions.half_spread_ratio


def _has_spot(symbol: str, assumptions: MarketAssumptions) -> bool:
    return assumptions.spot_symbols is None or symbol in assumptions.spot_symbols


def _fee(kind: InstrumentKind, assumptions: MarketAssumptions) -> Decimal:
    is_spot = kind is InstrumentKind.SPOT
    return assumptions.spot_fee_ratio if is_spot else assumptions.perpetual_fee_ratio


def _leg_cost(leg: InstrumentKey, assumptions: MarketAssumptions) -> LegCost:
    return LegCost(leg.kind, _fee(leg.kind, assumptions), assumptions.half_spread_ratio)


def _judged(
    pair: PairOfLegs, evidence: Evidence, known: _Known, rules: ScanRules
) -> JudgedPair | None:
    result = evaluate_pair(pair, evidence, rules)
    if result.net_apr is None:
        return None
    legs = funding_legs(pair, evidence.statistics)
    current = sum(
        leg.direction * known.current_aprs[key]
        for key, leg in zip(pair.perpetuals, legs, strict=True)
    )
    return JudgedPair(
        pair=pair,
        score=None if isinstance(result, Rejection) else float(result.quality_score),
        net_apr=float(result.net_apr),
        current_apr=current,
        naive_apr=naive_carry(legs),
    )
