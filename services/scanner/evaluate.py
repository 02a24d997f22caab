"""From statistics and market rows to an opportunity, or the reason why a pair is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from services.scanner.basis import basis_problem, basis_ratio
from services.scanner.books import book_problem
from services.scanner.caveats import Caveat
from services.scanner.costs import (
    HOURS_PER_YEAR,
    LegCost,
    cost_caveats,
    crossing_budget,
    expected_holding_time,
    net_carry,
    round_trip_costs,
)
from services.scanner.crossing import crossing_of, pair_capacity
from services.scanner.endings import end_exclusion
from services.scanner.funding_caveats import funding_caveats
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
from services.scanner.slippage import slippage_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.scanner.analytics import FundingStatistics
    from services.scanner.books import Book
    from services.scanner.capacity import Capacity
    from services.scanner.costs import NetCarry
    from services.scanner.crossing import Crossing
    from services.scanner.market import VenueView
    from services.scanner.pairs import PairOfLegs
    from services.scanner.rules import ScanRules

# Figures of statistics are published to this many fraction digits.
_STEP = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that one scan knows: venue views, sound funding statistics, borrow rates by (venue,
    asset), order books of the shortlist's legs (None: asked for, not told).

    `regime_hours` remembers ages of regimes by pair. Mutable, and shared by the copies that
    `replace` makes: the histories of one scan stand still.
    """

    scan_id: str
    views: Mapping[str, VenueView]
    statistics: Mapping[InstrumentKey, FundingStatistics]
    borrow_aprs: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    books: Mapping[InstrumentKey, Book | None] = field(default_factory=dict)
    regime_hours: dict[PairOfLegs, float] = field(default_factory=dict, repr=False, compare=False)


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
    basis = basis_ratio(pair, evidence.views)
    apart = basis_problem(basis, rules.universe.max_basis_ratio)
    if apart is not None:
        return Rejection((pair.long_leg, pair.short_leg), ExclusionReason.PRICES_APART, apart)
    legs = funding_legs(pair, evidence.statistics)
    gross = to_decimal(window_carry(legs, rules.window_days))
    price = _price(pair, legs, gross, evidence, rules)
    if isinstance(price, Rejection):
        return price
    ending = _ending(pair, evidence, price.holding)
    if ending is not None:
        return ending
    net = price.net
    if net.net_apr < rules.min_net_apr or gross <= 0:
        return _carry_low(pair, net, rules)
    # The thinner leg decides how much can be traded.
    volume = _quote_volume(pair, evidence)
    given = ScoreInput(
        float(net.net_apr),
        _regime_hours(pair, legs, evidence),
        float(volume),
        None if basis is None else float(basis),
    )
    factors = score_factors(legs, given, rules.score)
    largest = _capacity(pair, gross, price, rules)
    # As old as its oldest figure, and it expires with it.
    received = min(evidence.views[leg.venue].received for leg in (pair.long_leg, pair.short_leg))
    return Opportunity(
        pair=pair,
        scan_id=evidence.scan_id,
        gross_apr=gross,
        net_apr=net.net_apr,
        naive_apr=to_decimal(naive_carry(legs)),
        costs=price.costs,
        round_trip_cost_ratio=net.round_trip_cost_ratio,
        break_even_hours=net.break_even_hours,
        borrow_apr=price.borrow_apr,
        basis_ratio=basis,
        quote_volume=volume,
        expected_holding_time=price.holding,
        quality_score=to_decimal(quality_score(factors, rules.score)),
        score_factors={name: to_decimal(factor) for name, factor in factors.items()},
        long_funding=_leg_funding(pair.long_leg, evidence),
        short_funding=_leg_funding(pair.short_leg, evidence),
        observe_time=received,
        expire_time=received + rules.lifetime,
        cost_notional=price.crossing.notional,
        capacity_notional=largest.notional if largest is not None else None,
        current_apr=current_apr(pair, evidence),
        caveats=tuple(
            sorted(
                (
                    *_caveats(pair, evidence, price, largest),
                    *funding_caveats([leg.statistics for leg in legs], rules.window_days),
                )
            )
        ),
    )


@dataclass(frozen=True, slots=True)
class _Price:
    """What a pair costs, and what is left of its carry."""

    borrow_apr: Decimal | None
    crossing: Crossing
    costs: Mapping[str, Decimal]
    holding: timedelta
    net: NetCarry


def _price(
    pair: PairOfLegs,
    legs: Sequence[FundingLeg],
    gross: Decimal,
    evidence: Evidence,
    rules: ScanRules,
) -> _Price | Rejection:
    borrow = _borrow_apr(pair, evidence, rules)
    # Borrow is asked for only where something could be earned; elsewhere it is unknown and beside
    # the point.
    if isinstance(borrow, Rejection) and gross > 0:
        return borrow
    borrow = None if isinstance(borrow, Rejection) else borrow
    unfit = _unfit_book(pair, evidence)
    if unfit is not None:
        return unfit
    crossing = crossing_of(pair, evidence.books, evidence.views, rules.costs)
    costs = round_trip_costs(
        _leg_cost(pair.long_leg, evidence, crossing),
        _leg_cost(pair.short_leg, evidence, crossing),
        rules.costs,
    )
    if len(legs) > 1:
        longest = net_carry(gross, borrow or Decimal(0), costs, rules.costs.max_holding)
        # Most pairs of two perpetuals: their difference need not be looked at.
        if gross <= 0 or longest.net_apr < rules.min_net_apr:
            return _carry_low(pair, longest, rules)
    age = timedelta(hours=_regime_hours(pair, legs, evidence))
    holding = expected_holding_time(age, rules.costs)
    net = net_carry(gross, borrow or Decimal(0), costs, holding)
    return _Price(borrow, crossing, costs, holding, net)


def _carry_low(pair: PairOfLegs, net: NetCarry, rules: ScanRules) -> Rejection:
    detail = f"net APR {net.net_apr:.4f} at best, wanted {rules.min_net_apr:f}"
    return Rejection(pair.perpetuals, ExclusionReason.CARRY_LOW, detail, net.net_apr)


def _regime_hours(pair: PairOfLegs, legs: Sequence[FundingLeg], evidence: Evidence) -> float:
    known = evidence.regime_hours.get(pair)
    if known is None:
        known = evidence.regime_hours[pair] = favourable_regime_hours(legs)
    return known


def _capacity(pair: PairOfLegs, gross: Decimal, price: _Price, rules: ScanRules) -> Capacity | None:
    carry = gross - (price.borrow_apr or Decimal(0))
    budget = crossing_budget(carry, rules.min_net_apr, price.costs, price.holding)
    return pair_capacity(pair, price.crossing, budget)


def _borrow_apr(
    pair: PairOfLegs, evidence: Evidence, rules: ScanRules
) -> Decimal | Rejection | None:
    if not pair.borrows:
        return None
    key = _borrow_key(pair, evidence)
    apr = evidence.borrow_aprs.get(key, rules.costs.default_borrow_apr)
    if apr is None:
        detail = f"no borrow rate of {key[1]}"
        return Rejection((pair.short_leg,), ExclusionReason.BORROW_UNKNOWN, detail)
    return apr


def _borrow_key(pair: PairOfLegs, evidence: Evidence) -> tuple[str, str]:
    leg = pair.short_leg
    return leg.venue, evidence.views[leg.venue].symbols[leg.symbol].base_asset


def _unfit_book(pair: PairOfLegs, evidence: Evidence) -> Rejection | None:
    """Return why a leg's book cannot be crossed: what the venue told of it now outdoes its
    ticker.
    """
    for leg in (pair.long_leg, pair.short_leg):
        book = evidence.books.get(leg)
        problem = book_problem(book) if book is not None else None
        if problem is not None:
            return Rejection((leg,), ExclusionReason.BOOK_MISSING, problem)
    return None


def _leg_cost(leg: InstrumentKey, evidence: Evidence, crossing: Crossing) -> LegCost:
    view = evidence.views[leg.venue]
    fee = view.taker_fee(leg.symbol)
    book = crossing.books.get(leg)
    if book is not None and crossing.notional is not None:
        slippage = slippage_ratio(book, crossing.notional)
        return LegCost(leg.kind, fee, book.half_spread_ratio, slippage)
    ticker = view.tickers.get(leg.symbol)
    return LegCost(leg.kind, fee, ticker.half_spread if ticker is not None else None)


def current_apr(pair: PairOfLegs, evidence: Evidence) -> Decimal | None:
    """Return the carry a year at the rates of the coming settlements; None where one is unknown."""
    total = Decimal(0)
    for leg in pair.perpetuals:
        row = evidence.views[leg.venue].rates.get(leg.symbol)
        if row is None or row.rate is None:
            return None
        yearly = row.rate * HOURS_PER_YEAR / to_decimal(evidence.statistics[leg].interval_hours)
        total += yearly if leg == pair.short_leg else -yearly
    return total


def _caveats(
    pair: PairOfLegs, evidence: Evidence, price: _Price, largest: Capacity | None
) -> tuple[Caveat, ...]:
    found = {*price.crossing.caveats, *cost_caveats(price.costs)}
    if pair.borrows and _borrow_key(pair, evidence) not in evidence.borrow_aprs:
        found.add(Caveat.BORROW_DEFAULT)
    if largest is not None and largest.is_book_end:
        found.add(Caveat.BOOK_SHALLOW)
    return tuple(found)


def _ending(pair: PairOfLegs, evidence: Evidence, holding: timedelta) -> Rejection | None:
    for leg in (pair.long_leg, pair.short_leg):
        found = end_exclusion(evidence.views[leg.venue], leg.symbol, holding)
        if found is not None:
            return Rejection((leg,), found.reason, found.detail)
    return None


def _quote_volume(pair: PairOfLegs, evidence: Evidence) -> Decimal:
    volumes = [
        evidence.views[leg.venue].tickers[leg.symbol].quote_volume or Decimal(0)
        for leg in (pair.long_leg, pair.short_leg)
    ]
    return min(volumes)


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
