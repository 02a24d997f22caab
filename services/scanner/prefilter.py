"""Which perpetuals may still be worth their history, by what bulk calls brought and what is held.

For each pair of legs the best case is taken: of each perpetual leg the better of its coming rate
and what its held history paid, no borrow, no slippage, and the longest holding time. A perpetual
that falls short of the wanted net APR in the best case of all its pairs would be turned down with
its history too, so it is not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import nlargest
from typing import TYPE_CHECKING

import numpy as np

from services.scanner.instruments import Exclusion, ExclusionReason, InstrumentKey, InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.scanner.funding import Settlements
    from services.scanner.market import VenueView
    from services.scanner.pairs import PairOfLegs
    from services.scanner.rules import CostRules, ScanRules

_HOURS_PER_YEAR = 8760.0
_DAY_MINUTES = 1440
# Costs are rounded where they are published: the last digit must not turn a pair down.
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class LegOutlook:
    """What a leg may pay a year, at least and at most, and what one crossing of its book costs.

    `is_known` is False where a rate or an interval is not told: then nothing can be ruled out.
    """

    lowest_apr: float
    highest_apr: float
    crossing_ratio: float
    is_known: bool = True


@dataclass(slots=True)
class Prefiltered:
    """Symbols by venue that may qualify, and those that cannot. Mutable: filled by `prefilter`."""

    needed: dict[str, set[str]]
    exclusions: list[Exclusion] = field(default_factory=list)

    def holds(self, needed: Mapping[str, set[str]]) -> bool:
        """Whether all of these symbols are among the needed ones."""
        return all(names <= self.needed.get(venue, set()) for venue, names in needed.items())


def leg_outlook(
    view: VenueView,
    symbol: str,
    held: Settlements,
    interval_hours: float | None,
    now_minute: int,
    rules: ScanRules,
) -> LegOutlook:
    """Return the outlook of one instrument; `held` are its settlements on record, if any."""
    crossing = _crossing_ratio(view, symbol, rules.costs)
    if view.kind is not InstrumentKind.PERPETUAL:
        return LegOutlook(0.0, 0.0, crossing)
    row = view.rates.get(symbol)
    if row is None or row.rate is None or not interval_hours:
        return LegOutlook(0.0, 0.0, crossing, is_known=False)
    aprs = [float(row.rate) * _HOURS_PER_YEAR / interval_hours]
    paid = _paid_apr(held, interval_hours, now_minute, rules.window_days)
    if paid is not None:
        aprs.append(paid)
    return LegOutlook(min(aprs), max(aprs), crossing)


def best_net_apr(long_leg: LegOutlook, short_leg: LegOutlook, rules: ScanRules) -> float:
    """Return what a pair of legs earns a year after costs in the best case."""
    gross = short_leg.highest_apr - long_leg.lowest_apr
    # Entry and exit cross both books: four crossings, two of each leg.
    round_trip = 2 * (long_leg.crossing_ratio + short_leg.crossing_ratio)
    hours = rules.costs.max_holding.total_seconds() / 3600
    return gross - round_trip * _HOURS_PER_YEAR / hours


def borrowed_legs(
    pairs: Iterable[PairOfLegs], outlooks: Mapping[InstrumentKey, LegOutlook]
) -> dict[str, set[InstrumentKey]]:
    """Return by venue the spot legs that pairs may want to be short of, by the rates told."""
    found: dict[str, set[InstrumentKey]] = {}
    for pair in pairs:
        long_leg, short_leg = outlooks[pair.long_leg], outlooks[pair.short_leg]
        if pair.borrows and long_leg.is_known and short_leg.highest_apr > long_leg.lowest_apr:
            found.setdefault(pair.short_leg.venue, set()).add(pair.short_leg)
    return found


def likely_best(
    pairs: Iterable[PairOfLegs],
    outlooks: Mapping[InstrumentKey, LegOutlook],
    rules: ScanRules,
    count: int,
) -> list[PairOfLegs]:
    """Return the pairs, at most `count`, that earn most in the best case by what is told so far."""
    nets = {
        pair: best_net_apr(outlooks[pair.long_leg], outlooks[pair.short_leg], rules)
        for pair in pairs
        if outlooks[pair.long_leg].is_known and outlooks[pair.short_leg].is_known
    }
    return nlargest(count, nets, key=nets.__getitem__)


def prefilter(
    pairs: Iterable[PairOfLegs],
    outlooks: Mapping[InstrumentKey, LegOutlook],
    rules: ScanRules,
) -> Prefiltered:
    """Return which perpetuals of the pairs may qualify, and why the others cannot."""
    best: dict[InstrumentKey, float] = {}
    for pair in pairs:
        long_leg, short_leg = outlooks[pair.long_leg], outlooks[pair.short_leg]
        is_known = long_leg.is_known and short_leg.is_known
        net = best_net_apr(long_leg, short_leg, rules) if is_known else float("inf")
        for leg in pair.perpetuals:
            best[leg] = max(net, best.get(leg, net))
    wanted = float(rules.min_net_apr)
    found = Prefiltered({leg.venue: set() for leg in best})
    for leg, net in best.items():
        if net >= wanted - _TOLERANCE:
            found.needed[leg.venue].add(leg.symbol)
        else:
            detail = (
                f"net APR {net:.4f} in the best case, by its coming rate and what is held of its "
                f"history; wanted {rules.min_net_apr:f}"
            )
            found.exclusions.append(Exclusion(leg, ExclusionReason.CARRY_LOW, detail))
    return found


def _crossing_ratio(view: VenueView, symbol: str, costs: CostRules) -> float:
    fee = view.taker_fee(symbol)
    ticker = view.tickers.get(symbol)
    spread = ticker.half_spread if ticker is not None else None
    if spread is None:
        spread = costs.default_half_spread_ratio
    known_fee = costs.default_taker_fee_ratio if fee is None else fee
    return float(known_fee) + float(spread or 0)


def _paid_apr(
    held: Settlements, interval_hours: float, now_minute: int, window_days: int
) -> float | None:
    """Return what the held settlements of the window paid a year; None where there are none.

    The window ends at the last of them, as those of the statistics do.
    """
    minutes = held.minutes
    window = window_days * _DAY_MINUTES
    if not minutes.size or minutes[-1] <= now_minute - window:
        return None
    first = int(np.searchsorted(minutes, minutes[-1] - window, side="right"))
    hours = float(minutes[-1] - minutes[max(first - 1, 0)]) / 60
    # The earliest settlement of all has no predecessor that told the hours it covered.
    if first == 0:
        hours += interval_hours
    return float(held.rates[first:].sum()) / hours * _HOURS_PER_YEAR
