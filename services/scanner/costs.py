"""What a pair of legs costs and what is left of its carry.

Every cost is a fraction of one leg's notional and covers entry and exit together, so that the named
costs add up to the round trip. `net_apr = gross_apr - borrow_apr - round_trip * 8760 / holding
hours`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from services.common.codec import limit_fraction
from services.scanner.caveats import Caveat
from services.scanner.instruments import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from services.scanner.rules import CostRules

HOURS_PER_YEAR = Decimal(8760)
_SECONDS_PER_HOUR = Decimal(3600)


@dataclass(frozen=True, slots=True)
class LegCost:
    """Fee, half-spread and slippage of one crossing of one leg; None where nobody told.

    Slippage is what the size costs beyond the best price, the mean of buying and selling it.
    """

    kind: InstrumentKind
    taker_fee_ratio: Decimal | None
    half_spread_ratio: Decimal | None
    slippage_ratio: Decimal | None = None


@dataclass(frozen=True, slots=True)
class NetCarry:
    """What a pair earns a year after costs; `break_even_hours` is None where carry is not
    positive.
    """

    net_apr: Decimal
    round_trip_cost_ratio: Decimal
    break_even_hours: Decimal | None


def round_trip_costs(
    long_leg: LegCost, short_leg: LegCost, rules: CostRules
) -> Mapping[str, Decimal]:
    """Return the costs of entering and leaving both legs, by name.

    A cost that stands on a default of the settings carries the suffix `_default`; slippage is
    named only where a book was walked. Each is rounded to what the wire carries, so that the sum
    told is the sum of those told. Raises ValueError when a half-spread is unknown and the settings
    have no default for it.
    """
    costs: dict[str, Decimal] = {}
    for side, leg in (("long", long_leg), ("short", short_leg)):
        fee, fee_suffix = leg.taker_fee_ratio, ""
        if fee is None:
            fee, fee_suffix = rules.default_taker_fee_ratio, "_default"
        costs[f"{side}_taker_fee{fee_suffix}"] = limit_fraction(2 * fee)
        spread, spread_suffix = leg.half_spread_ratio, ""
        if spread is None:
            spread, spread_suffix = rules.default_half_spread_ratio, "_default"
        if spread is None:
            raise ValueError(f"the half-spread of the {side} leg is unknown")
        costs[f"{side}_half_spread{spread_suffix}"] = limit_fraction(2 * spread)
        if leg.slippage_ratio is not None:
            costs[f"{side}_slippage"] = limit_fraction(2 * leg.slippage_ratio)
    return costs


def expected_holding_time(regime_age: timedelta, rules: CostRules) -> timedelta:
    """Return how long the carry is expected to last: as long as it has lasted, within the bounds.

    A regime seen at a random moment has on average lived half its life, so its age is the plain
    estimate of what is left.
    """
    return min(max(regime_age, rules.min_holding), rules.max_holding)


def net_carry(
    gross_apr: Decimal, borrow_apr: Decimal, costs: Mapping[str, Decimal], holding: timedelta
) -> NetCarry:
    """Return carry after borrow and the round trip spread over the holding time."""
    round_trip = sum(costs.values(), Decimal(0))
    carry = gross_apr - borrow_apr
    break_even = round_trip * HOURS_PER_YEAR / carry if carry > 0 else None
    net_apr = carry - round_trip * HOURS_PER_YEAR / hours_of(holding)
    return NetCarry(net_apr, round_trip, break_even)


def crossing_budget(
    carry: Decimal, least_apr: Decimal, costs: Mapping[str, Decimal], holding: timedelta
) -> Decimal:
    """Return what crossing both books in and out may cost, a fraction of one leg's notional, for
    the net APR to stay at or above `least_apr`.

    `carry` is the gross APR less borrow; of the costs only the fees count, since the others grow
    with the size.
    """
    fees = sum((cost for name, cost in costs.items() if "_taker_fee" in name), Decimal(0))
    return (carry - least_apr) * hours_of(holding) / HOURS_PER_YEAR - fees


def cost_caveats(costs: Mapping[str, Decimal]) -> frozenset[Caveat]:
    """Return the doubts about costs that stand on a default of the settings."""
    suffixes = {
        "_taker_fee_default": Caveat.FEE_DEFAULT,
        "_half_spread_default": Caveat.SPREAD_DEFAULT,
    }
    return frozenset(
        caveat for name in costs for suffix, caveat in suffixes.items() if name.endswith(suffix)
    )


def hours_of(length: timedelta) -> Decimal:
    """Return a length of time in hours, of its whole seconds: a timedelta in float seconds is not
    exact.
    """
    return Decimal(int(length.total_seconds())) / _SECONDS_PER_HOUR
