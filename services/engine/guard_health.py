"""How near the guards are to acting: the worst figure of each venue, and what they find now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from services.engine.guard_facts import GuardAction
from services.engine.guard_liquidation import liquidation_distance
from services.engine.guard_memory import GuardMemory
from services.engine.instruments import LegSide
from services.engine.position import Position


@dataclass(frozen=True, slots=True)
class GuardHealth:
    """The worst of each venue that has a position, by exchange; what it does not tell is absent.

    `distances` are fractions of the mark, `margin_ratios` of the margin balance, `silences` the
    time since the venue answered. `findings` counts by guard and action.
    """

    distances: Mapping[str, Decimal] = field(default_factory=dict)
    margin_ratios: Mapping[str, Decimal] = field(default_factory=dict)
    silences: Mapping[str, timedelta] = field(default_factory=dict)
    findings: Mapping[tuple[str, str], int] = field(default_factory=dict)


def guard_health(
    positions: Iterable[Position],
    memory: GuardMemory,
    found: Mapping[tuple[str, str], GuardAction],
    now: float,
) -> GuardHealth:
    """Return the health of these positions; `found` has an action by guard and position id."""
    distances: dict[str, Decimal] = {}
    ratios: dict[str, Decimal] = {}
    silences: dict[str, timedelta] = {}
    for position in positions:
        market = memory.market(position, now)
        account = memory.account(position, now, has_moved=False)
        for leg in LegSide:
            exchange, facts = position.rules(leg).ref.exchange, account.legs[leg]
            silences[exchange] = facts.silent_for
            if position.held(leg) <= 0:
                continue
            if facts.margin_ratio is not None:
                ratios[exchange] = max(facts.margin_ratio, ratios.get(exchange, facts.margin_ratio))
            mark, price = market.legs[leg].mark, facts.liquidation_price
            if mark is not None and price is not None and mark > 0:
                distance = liquidation_distance(leg, mark, price)
                distances[exchange] = min(distance, distances.get(exchange, distance))
    findings = Counter((guard, action.value) for (guard, _), action in found.items())
    return GuardHealth(distances, ratios, silences, findings)
