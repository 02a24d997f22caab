"""Read models of risk, computed from the ledger and the last marks; None is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.engine.instruments import LegSide
from services.engine.orders import OrderClass
from services.engine.policy import EngineLimits
from services.engine.position import Position
from services.engine.position_view import quote_of
from services.engine.risk_exposure import Marks, leg_exposures, leg_price, pair_notional
from services.engine.risk_limits import RiskLimits

_ZERO = Decimal(0)
_OPENING = frozenset({OrderClass.ENTRY, OrderClass.HEDGE})


@dataclass(frozen=True, slots=True)
class SymbolRisk:
    """One symbol over all venues; `used_ratio` is the share of the tightest limit, at worst."""

    symbol: str
    quantity: Decimal
    notional: Decimal
    unrealized: Decimal | None
    used_ratio: Decimal | None
    broken_limit: str
    last_price: Decimal | None


@dataclass(frozen=True, slots=True)
class BreakerView:
    """One breaker; `symbol` is empty for the global one, `open_time` None while it is closed."""

    symbol: str
    reason: str
    open_time: datetime | None
    losses: int
    day_result: Decimal | None


def held_notional(position: Position, leg: LegSide, marks: Marks) -> Decimal:
    """Return what a leg holds by confirmed fills, valued at its mark or else its reference."""
    return abs(position.quantity(leg)) * leg_price(position, leg, marks)


def unrealized(position: Position, marks: Marks) -> Decimal | None:
    """Return the profit of what is held against its average entry; None without every mark."""
    total = _ZERO
    for leg in LegSide:
        quantity = position.quantity(leg)
        if quantity == 0:
            continue
        mark = marks.get(position.rules(leg).ref)
        opened = [r for r in position.of(leg) if r.plan.order_class in _OPENING and r.executed > 0]
        bought = sum((r.executed for r in opened), _ZERO)
        if mark is None or bought == 0:
            return None
        entry = sum((quote_of(r) for r in opened), _ZERO) / bought
        total += quantity * (mark - entry)
    return total


def symbol_risk(
    symbol: str,
    positions: Sequence[Position],
    marks: Marks,
    limits: EngineLimits,
    risk: RiskLimits,
) -> SymbolRisk:
    """Return the figures of one symbol, whose limits are judged with everything that is on."""
    own = [p for p in positions if p.symbol == symbol and not p.status.is_final]
    gains = [unrealized(p, marks) for p in own]
    used = _used(symbol, positions, marks, limits, risk)
    worst = max(used, default=None)
    return SymbolRisk(
        symbol=symbol,
        quantity=sum((p.residual for p in own), _ZERO),
        notional=sum((held_notional(p, leg, marks) for p in own for leg in LegSide), _ZERO),
        unrealized=None if None in gains else sum((g for g in gains if g is not None), _ZERO),
        used_ratio=None if worst is None else worst[0],
        broken_limit=worst[1] if worst is not None and worst[0] > 1 else "",
        last_price=_perpetual_mark(own, marks),
    )


def _used(
    symbol: str,
    positions: Sequence[Position],
    marks: Marks,
    limits: EngineLimits,
    risk: RiskLimits,
) -> list[tuple[Decimal, str]]:
    """Return how much of each limit is used, with its name; legs count at worst."""
    rows = leg_exposures(positions, marks)
    own = [row for row in rows if row.ref.symbol == symbol]
    venues = {row.ref.exchange for row in own}
    used: list[tuple[Decimal, str]] = []

    def add(name: str, bound: Decimal | None, amount: Decimal) -> None:
        if bound is not None:
            used.append((amount / bound, name))

    # The bounds of a pair name the notional of one leg: the larger one stands for it.
    add("max_leg_notional", limits.max_leg_notional, _largest(row.notional for row in own))
    add("max_symbol_notional", limits.max_symbol_notional, pair_notional(own))
    add("max_total_notional", limits.max_total_notional, pair_notional(rows))
    for venue in sorted(venues):
        amount = sum((row.notional for row in rows if row.ref.exchange == venue), _ZERO)
        add("max_venue_notional", risk.max_venue_notional, amount)
    return used


def _largest(values: Iterable[Decimal]) -> Decimal:
    return max(values, default=_ZERO)


def _perpetual_mark(positions: Iterable[Position], marks: Marks) -> Decimal | None:
    for position in positions:
        for leg in LegSide:
            rules = position.rules(leg)
            if rules.is_perpetual and rules.ref in marks:
                return marks[rules.ref]
    return None
