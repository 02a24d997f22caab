"""From statistics and market rows to an opportunity, or the reason why a pair is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from services.scanner.costs import LegCost, expected_holding_time, net_carry, round_trip_costs
from services.scanner.instruments import ExclusionReason, InstrumentKey
from services.scanner.opportunity import LegFunding, Opportunity
from services.scanner.ranking import (
    FundingLeg,
    ScoreInput,
    favourable_regime_hours,
    naive_carry,
    quality_score,
    score_factors,
    window_carry,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.scanner.analytics import FundingStatistics
    from services.scanner.market import VenueView
    from services.scanner.pairs import PairOfLegs
    from services.scanner.rules import ScanRules

# Figures of statistics are published to this many fraction digits.
_STEP = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that one scan knows: venue views, sound funding statistics, borrow rates by (venue,
    asset).
    """

    scan_id: str
    views: Mapping[str, VenueView]
    statistics: Mapping[InstrumentKey, FundingStatistics]
    borrow_aprs: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a pair is no opportunity; `net_apr` where it came as far as that."""

    instruments: tuple[InstrumentKey, ...]
    reason: ExclusionReason
    detail: str
    net_apr: Decimal | None = None


def to_decimal(value: float) -> Decimal:
    """Return a statistic as a decimal with at most 12 fraction digits."""
    return Decimal(repr(value)).quantize(_STEP)


def funding_legs(
    pair: PairOfLegs, statistics: Mapping[InstrumentKey, FundingStatistics]
) -> tuple[FundingLeg, ...]:
    """Return the perpetual legs with their direction; KeyError where a leg has no sound
    statistics.
    """
    return tuple(
        FundingLeg(statistics[leg], 1 if leg == pair.short_leg else -1) for leg in pair.perpetuals
    )


def could_earn(pair: PairOfLegs, evidence: Evidence, rules: ScanRules) -> bool:
    """Tell whether the pair's carry before costs is positive: only then is borrow worth asking
    for.
    """
    if any(leg not in evidence.statistics for leg in pair.perpetuals):
        return False
    return window_carry(funding_legs(pair, evidence.statistics), rules.window_days) > 0


def evaluate_pair(
    pair: PairOfLegs, evidence: Evidence, rules: ScanRules
) -> Opportunity | Rejection:
    """Return the opportunity a pair is, or why it is none.

    Both legs are tradable and their perpetuals have sound statistics.
    """
    legs = funding_legs(pair, evidence.statistics)
    gross = to_decimal(window_carry(legs, rules.window_days))
    borrow = _borrow_apr(pair, evidence, rules)
    # Borrow is asked for only where something could be earned; elsewhere it is unknown and beside
    # the point.
    if isinstance(borrow, Rejection) and gross > 0:
        return borrow
    borrow = None if isinstance(borrow, Rejection) else borrow
    costs = round_trip_costs(
        _leg_cost(pair.long_leg, evidence), _leg_cost(pair.short_leg, evidence), rules.costs
    )
    regime_hours = favourable_regime_hours(legs)
    holding = expected_holding_time(timedelta(hours=regime_hours), rules.costs)
    net = net_carry(gross, borrow or Decimal(0), costs, holding)
    if net.net_apr < rules.min_net_apr or gross <= 0:
        detail = f"net APR {net.net_apr:.4f} at best, wanted {rules.min_net_apr:f}"
        return Rejection(pair.perpetuals, ExclusionReason.CARRY_LOW, detail, net.net_apr)
    # The thinner leg decides how much can be traded.
    volume = _quote_volume(pair, evidence)
    basis = _basis_ratio(pair, evidence)
    given = ScoreInput(float(net.net_apr), float(volume), None if basis is None else float(basis))
    factors = score_factors(legs, given, rules.score)
    # As old as its oldest figure, and it expires with it.
    received = min(evidence.views[leg.venue].received for leg in (pair.long_leg, pair.short_leg))
    return Opportunity(
        pair=pair,
        scan_id=evidence.scan_id,
        gross_apr=gross,
        net_apr=net.net_apr,
        naive_apr=to_decimal(naive_carry(legs)),
        costs=costs,
        round_trip_cost_ratio=net.round_trip_cost_ratio,
        break_even_hours=net.break_even_hours,
        borrow_apr=borrow,
        basis_ratio=basis,
        quote_volume=volume,
        expected_holding_time=holding,
        quality_score=to_decimal(quality_score(factors, rules.score)),
        score_factors={name: to_decimal(factor) for name, factor in factors.items()},
        long_funding=_leg_funding(pair.long_leg, evidence),
        short_funding=_leg_funding(pair.short_leg, evidence),
        observe_time=received,
        expire_time=received + rules.lifetime,
    )


def _borrow_apr(
    pair: PairOfLegs, evidence: Evidence, rules: ScanRules
) -> Decimal | Rejection | None:
    if not pair.borrows:
        return None
    leg = pair.short_leg
    asset = evidence.views[leg.venue].symbols[leg.symbol].base_asset
    apr = evidence.borrow_aprs.get((leg.venue, asset), rules.costs.default_borrow_apr)
    if apr is None:
        return Rejection((leg,), ExclusionReason.BORROW_UNKNOWN, f"no borrow rate of {asset}")
    return apr


def _leg_cost(leg: InstrumentKey, evidence: Evidence) -> LegCost:
    view = evidence.views[leg.venue]
    ticker = view.tickers.get(leg.symbol)
    half_spread = ticker.half_spread if ticker is not None else None
    return LegCost(leg.kind, view.taker_fee(leg.symbol), half_spread)


def _quote_volume(pair: PairOfLegs, evidence: Evidence) -> Decimal:
    volumes = [
        evidence.views[leg.venue].tickers[leg.symbol].quote_volume or Decimal(0)
        for leg in (pair.long_leg, pair.short_leg)
    ]
    return min(volumes)


def _basis_ratio(pair: PairOfLegs, evidence: Evidence) -> Decimal | None:
    long_mid = evidence.views[pair.long_leg.venue].tickers[pair.symbol].mid
    short_mid = evidence.views[pair.short_leg.venue].tickers[pair.symbol].mid
    if long_mid is None or short_mid is None:
        return None
    return short_mid / long_mid - 1


def _leg_funding(leg: InstrumentKey, evidence: Evidence) -> LegFunding | None:
    statistics = evidence.statistics.get(leg)
    if statistics is None:
        return None
    row = evidence.views[leg.venue].rates.get(leg.symbol)
    return LegFunding(
        statistics,
        row.rate if row is not None else None,
        row.next_funding_time if row is not None else None,
    )
