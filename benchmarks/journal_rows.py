"""Rows of positions as the engine journals them, for measurements of the journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from services.engine import events as ev
from services.engine.instruments import InstrumentKind, InstrumentRef, InstrumentRules, LegSide
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.views import PositionStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

_START: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
_PRICE: Final = Decimal(100)
_QUANTITY: Final = Decimal("0.5")
_SLICES: Final = 5


def open_position(number: int) -> Iterator[ev.Event]:
    """Yield the rows of a position that was entered in slices and is open."""
    key = f"p{number:015x}"
    legs = {
        LegSide.LONG: _rules(f"A{number}USDT", InstrumentKind.SPOT),
        LegSide.SHORT: _rules(f"A{number}USDT", InstrumentKind.PERPETUAL),
    }
    at = _START + timedelta(seconds=number)
    yield ev.CommandAccepted(at, f"request-{number}", "0" * 64, (key,))
    yield ev.EntryIntended(
        position_id=key,
        at=at,
        long_rules=legs[LegSide.LONG],
        short_rules=legs[LegSide.SHORT],
        lead_leg=LegSide.SHORT,
        quantity=_QUANTITY * _SLICES,
        slice_quantity=_QUANTITY,
        lead_reference=_PRICE,
        lead_worst_price=_PRICE - 1,
        hedge_reference=_PRICE,
        hedge=ev.OrderAllowance(LegSide.LONG, OrderSide.BUY, _QUANTITY * _SLICES, _PRICE + 1),
    )
    for attempt in range(_SLICES):
        for leg, purpose, side in (
            (LegSide.SHORT, OrderClass.ENTRY, OrderSide.SELL),
            (LegSide.LONG, OrderClass.HEDGE, OrderSide.BUY),
        ):
            name = f"{key}-{purpose.value}-{attempt}"
            plan = OrderPlan(name, legs[leg].ref, leg, purpose, side, _QUANTITY, _PRICE)
            outcome = OrderOutcome(name, True, _QUANTITY, _QUANTITY, _PRICE)
            yield ev.OrderIntended(key, at, plan)
            yield ev.OrderObserved(key, at, leg, outcome)
    yield ev.EntryMeasured(key, at, timedelta(milliseconds=3), _QUANTITY * _PRICE)
    yield ev.PositionSettled(key, at, PositionStatus.OPEN, "HEDGED")


def exit_orders(number: int, at: datetime, left: Decimal = Decimal(0)) -> Iterator[ev.Event]:
    """Yield the rows of a whole exit; `left` of the long leg is not sold."""
    key = f"p{number:015x}"
    for leg, kind, side, kept in (
        (LegSide.LONG, InstrumentKind.SPOT, OrderSide.SELL, left),
        (LegSide.SHORT, InstrumentKind.PERPETUAL, OrderSide.BUY, Decimal(0)),
    ):
        name, quantity = f"{key}-{leg.value}-exit", _QUANTITY * _SLICES
        ref = _rules(f"A{number}USDT", kind).ref
        plan = OrderPlan(name, ref, leg, OrderClass.EXIT, side, quantity, _PRICE)
        sold = quantity - kept
        yield ev.OrderIntended(key, at, plan)
        yield ev.OrderObserved(key, at, leg, OrderOutcome(name, True, sold, sold, _PRICE))


def late_fill(number: int, at: datetime) -> ev.OrderObserved:
    """Return the word that the exit's order on the long leg has filled whole after all."""
    key, quantity = f"p{number:015x}", _QUANTITY * _SLICES
    outcome = OrderOutcome(f"{key}-{LegSide.LONG.value}-exit", True, quantity, quantity, _PRICE)
    return ev.OrderObserved(key, at, LegSide.LONG, outcome)


def _rules(symbol: str, kind: InstrumentKind) -> InstrumentRules:
    return InstrumentRules(
        ref=InstrumentRef(kind.value, symbol, kind),
        base_asset=symbol.removesuffix("USDT"),
        quote_asset="USDT",
        lot_size=Decimal("0.001"),
        tick_size=Decimal("0.01"),
        min_quantity=Decimal("0.001"),
        min_notional=Decimal(5),
    )
