"""Walk forward through a recording: rank at a date, hold, see what it earned.

At half past midnight UTC of every day each method picks its best pairs from what was known then,
and is paid what settled in the days after. One unit of notional stands in each of `top` places; a
place that a method leaves empty earns nothing and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from services.scanner.backtest_market import JudgedPair, judged_pairs, round_trip_cost
from services.scanner.funding import FloatArray, IntArray, funding_history
from services.scanner.instruments import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from services.scanner.backtest_data import Recording
    from services.scanner.backtest_market import MarketAssumptions
    from services.scanner.instruments import InstrumentKey
    from services.scanner.pairs import PairOfLegs
    from services.scanner.rules import ScanRules

_DAY_MINUTES = 1440
# The settlement of midnight is on record by then, the next one of no venue is.
_OFFSET_MINUTES = 30
_YEAR_DAYS = 365.0


class Method(StrEnum):
    """How pairs are picked; EVERY_PAIR holds all of them in equal parts, as a level to beat."""

    SCORE = "score"
    CURRENT_RATE = "current_rate"
    NAIVE_APR = "naive_8h_apr"
    NET_APR = "net_apr"
    EVERY_PAIR = "every_pair"


@dataclass(frozen=True, slots=True)
class BacktestPlan:
    """How to walk: places to fill, days to hold, and the rules and stand-ins to judge by."""

    top: int
    horizon_days: tuple[int, ...]
    rules: ScanRules
    assumptions: MarketAssumptions


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method's picks of one date earned, in fractions of the notional of all places.

    `net_hit_count` counts positions that earned more than they cost; `covered_ratio` is the share
    of the hours held for which settlements are on record, averaged over the positions.
    """

    minute: int
    horizon_days: int
    method: Method
    place_count: int
    position_count: int
    gross: float
    net: float
    gross_hit_count: int
    net_hit_count: int
    covered_ratio: float


@dataclass(frozen=True, slots=True)
class Walk:
    """All outcomes over a recording, with how many pairs could be judged at each date."""

    outcomes: tuple[Outcome, ...]
    pair_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Paid:
    """Running totals of one perpetual's rates and covered hours, to sum any span at once."""

    minutes: IntArray
    rates: FloatArray
    hours: FloatArray

    def between(self, after: int, until: int) -> tuple[float, float]:
        first, last = np.searchsorted(self.minutes, (after, until), side="right")
        return float(self.rates[last] - self.rates[first]), float(
            self.hours[last] - self.hours[first]
        )


def walk(recording: Recording, plan: BacktestPlan) -> Walk:
    """Return the outcome of every method, date and horizon that the recording can tell."""
    paid = {key: _paid(recording, key) for key in recording.histories}
    costs: dict[PairOfLegs, float] = {}
    outcomes: list[Outcome] = []
    counts: list[int] = []
    for minute in dates(recording, plan):
        found = judged_pairs(recording, minute, plan.rules, plan.assumptions)
        counts.append(len(found))
        for each in found:
            if each.pair not in costs:
                costs[each.pair] = round_trip_cost(each.pair, plan.rules, plan.assumptions)
        chosen = {method: picks(found, method, plan.top) for method in Method}
        for days in plan.horizon_days:
            if minute + days * _DAY_MINUTES <= recording.last_minute + _OFFSET_MINUTES:
                outcomes += _outcomes(chosen, minute, days, paid, costs, plan)
    return Walk(tuple(outcomes), tuple(counts))


def dates(recording: Recording, plan: BacktestPlan) -> Iterator[int]:
    """Yield the dates to rank at: daily, from when a history can be long enough to judge."""
    covered = int(plan.rules.quarantine.min_covered.total_seconds()) // 60
    first_day = -(-(recording.first_minute + covered) // _DAY_MINUTES)
    shortest = min(plan.horizon_days) * _DAY_MINUTES
    minute = first_day * _DAY_MINUTES + _OFFSET_MINUTES
    while minute + shortest <= recording.last_minute + _OFFSET_MINUTES:
        yield minute
        minute += _DAY_MINUTES


def picks(found: Sequence[JudgedPair], method: Method, top: int) -> tuple[JudgedPair, ...]:
    """Return the pairs a method would hold, best first; only what it thinks pays.

    Ties stay in the order given, which is by name.
    """
    if method is Method.EVERY_PAIR:
        return tuple(found)
    value = _VALUES[method]
    good = [each for each in found if value(each) > 0]
    return tuple(sorted(good, key=lambda each: -value(each))[:top])


def date_text(minute: int) -> str:
    """Return the day of a date in minutes since 1970, as 2026-03-20."""
    return datetime.fromtimestamp(minute * 60, UTC).date().isoformat()


_VALUES: Mapping[Method, Callable[[JudgedPair], float]] = {
    Method.SCORE: lambda each: each.score or 0.0,
    Method.CURRENT_RATE: lambda each: each.current_apr,
    Method.NAIVE_APR: lambda each: each.naive_apr,
    Method.NET_APR: lambda each: each.net_apr,
}


def _outcomes(
    chosen: Mapping[Method, Sequence[JudgedPair]],
    minute: int,
    days: int,
    paid: Mapping[InstrumentKey, _Paid],
    costs: Mapping[PairOfLegs, float],
    plan: BacktestPlan,
) -> Iterator[Outcome]:
    until = minute + days * _DAY_MINUTES
    # A perpetual is a leg of several pairs, and several methods pick the same pair.
    by_leg = {key: totals.between(minute, until) for key, totals in paid.items()}
    pairs = {each.pair for held in chosen.values() for each in held}
    earned = {pair: _earned(pair, days, by_leg) for pair in pairs}
    borrow = float(plan.rules.costs.default_borrow_apr or 0) * days / _YEAR_DAYS
    for method, held in chosen.items():
        gross = [earned[each.pair][0] for each in held]
        net = [
            earned[each.pair][0] - costs[each.pair] - (borrow if each.pair.borrows else 0.0)
            for each in held
        ]
        places = len(held) if method is Method.EVERY_PAIR else plan.top
        covered = [earned[each.pair][1] for each in held]
        yield Outcome(
            minute=minute,
            horizon_days=days,
            method=method,
            place_count=places,
            position_count=len(held),
            gross=sum(gross) / places if places else 0.0,
            net=sum(net) / places if places else 0.0,
            gross_hit_count=sum(1 for each in gross if each > 0),
            net_hit_count=sum(1 for each in net if each > 0),
            covered_ratio=sum(covered) / len(covered) if covered else 1.0,
        )


def _earned(
    pair: PairOfLegs, days: int, by_leg: Mapping[InstrumentKey, tuple[float, float]]
) -> tuple[float, float]:
    """Return funding received over the days held and the share of it on record, the worse leg's.

    A settlement that is not on record counts as zero.
    """
    total, covered = 0.0, 1.0
    for leg, sign in ((pair.long_leg, -1), (pair.short_leg, 1)):
        if leg.kind is InstrumentKind.PERPETUAL:
            rates, hours = by_leg[leg]
            total += sign * rates
            covered = min(covered, hours / (days * 24))
    return total, covered


def _paid(recording: Recording, key: InstrumentKey) -> _Paid:
    rows = recording.histories[key]
    # For telling afterwards what is lacking only; no rank stands on these hours.
    history = funding_history(rows, None)
    hours = np.zeros(rows.minutes.size) if history is None else history.hours
    zero = np.zeros(1)
    return _Paid(
        rows.minutes,
        np.concatenate((zero, np.cumsum(rows.rates))),
        np.concatenate((zero, np.cumsum(hours))),
    )
