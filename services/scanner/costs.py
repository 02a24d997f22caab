"""What a pair of legs costs and what is left of its carry.

Every cost is a fraction of one leg's notional and covers entry and exit together, so that the named
costs add up to the round trip. `net_apr = gross_apr - borrow_apr - round_trip * 8760 / holding
hours`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from services.scanner.instruments import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from services.scanner.rules import CostRules

HOURS_PER_YEAR = Decimal(8760)
_SECONDS_PER_HOUR = Decimal(3600)


@dataclass(frozen=True, slots=True)
class LegCost:
    """Fee and half-spread of one crossing of one leg; None where nobody told."""

    kind: InstrumentKind
    taker_fee_ratio: Decimal | None
    half_spread_ratio: Decimal | None


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

    A cost that stands on a default of the settings carries the suffix `_default`.
    Raises ValueError when a half-spread is unknown and the settings have no default for it.
    """
    costs: dict[str, Decimal] = {}
    for side, leg in (("long", long_leg), ("short", short_leg)):
        fee, fee_suffix = leg.taker_fee_ratio, ""
        if fee is None:
            fee, fee_suffix = rules.default_taker_fee_ratio, "_default"
        costs[f"{side}_taker_fee{fee_suffix}"] = 2 * fee
        spread, spread_suffix = leg.half_spread_ratio, ""
        if spread is None:
            spread, spread_suffix = rules.default_half_spread_ratio, "_default"
        if spread is None:
            raise ValueError(f"the half-spread of the {side} leg is unknown")
        costs[f"{side}_half_spread{spread_suffix}"] = 2 * spread
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
    # Whole seconds, because a timedelta in float seconds is not exact.
    hours = Decimal(int(holding.total_seconds())) / _SECONDS_PER_HOUR
    carry = gross_apr - borrow_apr
    break_even = round_trip * HOURS_PER_YEAR / carry if carry > 0 else None
    return NetCarry(carry - round_trip * HOURS_PER_YEAR / hours, round_trip, break_even)
