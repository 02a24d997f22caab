"""Legs, orders and profits of all positions as the ledger has them: pure, for PositionService."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from services.engine.instruments import InstrumentRef, LegSide
from services.engine.orders import OrderClass, OrderSide
from services.engine.position import OrderRecord, Position
from services.engine.position_view import fee_value, quote_of, view_of

_ZERO = Decimal(0)
_FRACTION = Decimal(1).scaleb(-18)
_OPENING = frozenset({OrderClass.ENTRY, OrderClass.HEDGE})


@dataclass(frozen=True, slots=True)
class LegRow:
    """What the engine holds of one instrument: `quantity` signed, net of fees in the base coin.

    `entry_price` is None where nothing is held or a fill has no price; `realized_pnl` is of what
    was closed, fees taken off, None where one of both is not known.
    """

    ref: InstrumentRef
    quantity: Decimal
    entry_price: Decimal | None
    realized_pnl: Decimal | None
    open_time: datetime | None
    update_time: datetime | None


@dataclass(frozen=True, slots=True)
class SymbolProfit:
    """Realized profit of the ended positions in one symbol, fees taken off and funding added."""

    symbol: str
    realized_pnl: Decimal
    trades: int
    winners: int
    losers: int


def leg_row(ref: InstrumentRef, positions: Iterable[Position]) -> LegRow:
    """Return one instrument over all positions that ever traded it."""
    mine = [(p, leg) for p in positions for leg in LegSide if p.rules(leg).ref == ref]
    held = [(p, leg) for p, leg in mine if not p.status.is_final and p.quantity(leg)]
    quantity = sum((p.quantity(leg) for p, leg in held), _ZERO)
    fills = [r for p, leg in mine for r in p.of(leg) if r.executed > 0]
    times = [r.update_time or r.create_time for r in fills]
    profits = [_realized(p, leg) for p, leg in mine]
    known = [each for each in profits if each is not None]
    return LegRow(
        ref,
        quantity,
        _average_entry(held) if quantity else None,
        sum(known, _ZERO) if len(known) == len(profits) else None,
        min((r.create_time for r in fills), default=None),
        max(times, default=None),
    )


def held_refs(positions: Iterable[Position]) -> tuple[InstrumentRef, ...]:
    """Return the instruments in which something is on, by symbol and venue."""
    refs = {
        p.rules(leg).ref
        for p in positions
        for leg in LegSide
        if not p.status.is_final and p.quantity(leg)
    }
    return tuple(sorted(refs, key=lambda r: (r.symbol, r.exchange, r.kind)))


def orders_of(positions: Iterable[Position]) -> list[OrderRecord]:
    """Return the orders of all positions, newest first; of one moment by their ids."""
    records = [r for p in positions for r in p.orders.values()]
    return sorted(records, key=lambda r: (r.create_time, r.plan.client_order_id), reverse=True)


def profits_of(positions: Sequence[Position]) -> tuple[SymbolProfit, ...]:
    """Return the profit by symbol of positions that ended; those of unknown profit are left out."""
    by_symbol: dict[str, list[Decimal]] = {}
    for position in positions:
        made = view_of(position).made
        if made is not None:
            by_symbol.setdefault(position.symbol, []).append(made)
    return tuple(
        SymbolProfit(
            symbol,
            sum(made, _ZERO),
            len(made),
            sum(each > 0 for each in made),
            sum(each < 0 for each in made),
        )
        for symbol, made in sorted(by_symbol.items())
    )


def _average_entry(held: Sequence[tuple[Position, LegSide]]) -> Decimal | None:
    fills = [
        r for p, leg in held for r in p.of(leg) if r.executed > 0 and r.plan.order_class in _OPENING
    ]
    return _average(fills)


def _average(fills: Sequence[OrderRecord]) -> Decimal | None:
    unpriced = any(r.average_price is None and r.cumulative_quote is None for r in fills)
    if not fills or unpriced:
        return None
    with localcontext() as context:
        context.prec = 60
        quote = sum((quote_of(r) for r in fills), _ZERO)
        return (quote / sum((r.executed for r in fills), _ZERO)).quantize(_FRACTION)


def _realized(position: Position, leg: LegSide) -> Decimal | None:
    """Return what the closed part of a leg made, its fees taken off."""
    fills = [r for r in position.of(leg) if r.executed > 0]
    opening = [r for r in fills if r.plan.order_class in _OPENING]
    closing = [r for r in fills if r.plan.order_class not in _OPENING]
    fees = [fee_value(f, r, position.rules(leg)) for r in fills for f in r.fees]
    known = [each for each in fees if each is not None]
    if len(known) != len(fees):
        return None
    total = -sum(known, _ZERO)
    if not closing:
        return total
    entry, left = _average(opening), _average(closing)
    if entry is None or left is None:
        return None
    sign = 1 if closing[0].plan.side is OrderSide.SELL else -1
    closed = sum((r.executed for r in closing), _ZERO)
    with localcontext() as context:
        context.prec = 60
        return (total + sign * closed * (left - entry)).quantize(_FRACTION)
