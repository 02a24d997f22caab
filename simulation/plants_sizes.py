"""Bugs of quantity for the engine: hedges, exits and rests of the wrong size, side or price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from services.engine.instruments import InstrumentKind, LegSide
from services.engine.orders import OrderClass, OrderState
from services.engine.steps import BookDust, LegDone
from simulation.plants import Part, Plant, Replacement

_ZERO = Decimal(0)
_ENGINE = "services.engine"


def _hedge(change: Callable[[Any, Any], Any]) -> Replacement:
    """Return a wrapper of `hedge_plan` that changes (position, plan)."""

    def outer(sound: Any) -> Any:
        def planned(position: Any, quantity: Decimal, policy: Any) -> Any:
            return change(position, sound(position, quantity, policy))

        return planned

    return outer


def _by_request(position: Any, plan: Any) -> Any:
    sent = position.of(position.lead_leg, OrderClass.ENTRY)
    return replace(plan, quantity=sent[-1].plan.quantity if sent else plan.quantity)


def _by_gross(position: Any, plan: Any) -> Any:
    filled = sum((r.executed for r in position.of(position.lead_leg, OrderClass.ENTRY)), _ZERO)
    lot = position.rules(position.hedge_leg).lot_size
    return replace(plan, quantity=max(filled // lot * lot, lot))


def _wrong_side(_position: Any, plan: Any) -> Any:
    return replace(plan, side=plan.side.opposite)


def _without_bound(_position: Any, plan: Any) -> Any:
    return replace(plan, worst_price=None)


def _reduction(change: Callable[[Any], Any]) -> Replacement:
    """Return a wrapper of `reduction_plan` that changes its plan."""

    def outer(sound: Any) -> Any:
        return lambda *given, **named: change(sound(*given, **named))

    return outer


def _by_wallet(sound: Any) -> Any:
    async def priced(self: Any, step: Any) -> Any:
        plan = await sound(self, step)
        rules = self._desk.position.rules(self._leg)
        if rules.ref.kind is not InstrumentKind.SPOT:
            return plan
        gateway = self._desk._context.gateways[rules.ref.exchange]
        free = await gateway.free_balance(rules.base_asset)
        return replace(plan, quantity=max(free // rules.lot_size * rules.lot_size, plan.quantity))

    return priced


def _one_lot_more(sound: Any) -> Any:
    def remaining(position: Any, leg: Any) -> Decimal:
        rest: Decimal = sound(position, leg)
        return rest + position.rules(leg).lot_size if rest > 0 else rest

    return remaining


def _leg_waits_for_leg(sound: Any) -> Any:
    def step(position: Any, leg: LegSide, policy: Any) -> Any:
        others = position.of(leg.other, OrderClass.EXIT)
        if any(record.state is OrderState.REJECTED for record in others):
            return LegDone()
        return sound(position, leg, policy)

    return step


def _one_leg_reduces(sound: Any) -> Any:
    def step(position: Any, leg: LegSide, policy: Any) -> Any:
        if position.exit is not None and not position.exit.is_final and leg is LegSide.SHORT:
            return LegDone()
        return sound(position, leg, policy)

    return step


def _dust_too_soon(sound: Any) -> Any:
    def step(position: Any, leg: LegSide, rest: Decimal, *given: Any) -> Any:
        price = position.intent.lead_reference
        if rest * price < 4 * max(position.rules(leg).min_notional, Decimal(5)):
            return None
        return sound(position, leg, rest, *given)

    return step


def _rest_given_up(sound: Any) -> Any:
    def relieve(position: Any, open_quantity: Decimal, *given: Any) -> Any:
        step = sound(position, open_quantity, *given)
        if type(step).__name__ != "WorkDown":
            return step
        lead = position.lead_leg
        signed = open_quantity if lead is LegSide.LONG else -open_quantity
        return BookDust(lead, signed, "HEDGE_FAILED")

    return relieve


def _round_up(_sound: Any) -> Any:
    def rounded(quantity: Decimal, lot_size: Decimal) -> Decimal:
        if quantity <= 0:
            return _ZERO
        return (quantity / lot_size).to_integral_value(rounding=ROUND_CEILING) * lot_size

    return rounded


def _off_tick(_sound: Any) -> Any:
    def priced(side: Any, reference: Decimal, bound: Decimal, _tick: Decimal) -> Decimal:
        buying = side.value == "buy"
        return (reference * (1 + bound if buying else 1 - bound)).quantize(Decimal("1e-9"))

    return priced


def _gross_change(_sound: Any) -> Any:
    def change(side: Any, executed: Decimal, _net: Decimal) -> Decimal:
        return executed if side.value == "buy" else -executed

    return change


def _settles_in_flight(sound: Any) -> Any:
    def finished(self: Any) -> bool:
        return self._in_flight is not None or bool(sound(self))

    return finished


def _plant(name: str, place: str, stands_for: str, breaks: str, replacement: Replacement) -> Plant:
    rules = tuple(breaks.split())
    return Plant(name, Part.ENGINE, f"{_ENGINE}.{place}", stands_for, rules, replacement)


PLANTS: Final = (
    _plant(
        "hedge_by_request",
        "entry:hedge_plan",
        "the hedge sized by what was asked of the lead, not by its fill",
        "I9",
        _hedge(_by_request),
    ),
    _plant(
        "hedge_by_gross",
        "entry:hedge_plan",
        "the hedge sized by gross fills, fees and earlier hedges not taken off",
        "I9",
        _hedge(_by_gross),
    ),
    _plant(
        "hedge_on_the_wrong_side",
        "entry:hedge_plan",
        "the hedge doubles the exposure",
        "I2 I8",
        _hedge(_wrong_side),
    ),
    _plant(
        "hedge_without_a_bound",
        "entry:hedge_plan",
        "the hedge goes at any price",
        "I2",
        _hedge(_without_bound),
    ),
    _plant(
        "exit_by_wallet",
        "leg_exit:LegExit.priced",
        "the exit sells what the wallet holds, the user's own coins too",
        "I15 I10",
        _by_wallet,
    ),
    _plant(
        "exit_not_reduce_only",
        "reduction:reduction_plan",
        "an exit of a perpetual that can open the other way",
        "I10",
        _reduction(lambda plan: replace(plan, reduce_only=False)),
    ),
    _plant(
        "exit_on_the_wrong_side",
        "reduction:closing_side",
        "an exit that enlarges its leg",
        "I10",
        lambda sound: lambda leg: sound(leg).opposite,
    ),
    _plant(
        "exit_one_lot_too_large",
        "exit:remaining",
        "the exit's size rounded up",
        "I15",
        _one_lot_more,
    ),
    _plant(
        "exit_leg_stops_the_other",
        "exit:next_exit_step",
        "one leg's refusal ends the other's exit (hummingbot gateway 380)",
        "I16 I8",
        _leg_waits_for_leg,
    ),
    _plant(
        "reduce_of_one_leg",
        "exit:next_exit_step",
        "a reduction that takes off one leg only",
        "I8",
        _one_leg_reduces,
    ),
    _plant(
        "dust_while_tradable",
        "reduction:next_reduction",
        "a rest that the venue trades is given up (hummingbot 5299)",
        "I8",
        _dust_too_soon,
    ),
    _plant(
        "no_unwind",
        "entry:_relieve",
        "what has no hedge is written off instead of traded back",
        "I8",
        _rest_given_up,
    ),
    _plant(
        "rounded_up",
        "sizing:floor_to_lot",
        "quantities rounded up to the lot",
        "I9 I15",
        _round_up,
    ),
    _plant(
        "price_off_the_tick",
        "pricing:worst_price",
        "prices not rounded to the tick",
        "I21",
        _off_tick,
    ),
    _plant(
        "fees_in_the_coin_forgotten",
        "neutrality:signed_change",
        "the ledger holds what was bought, not what is left after the fee",
        "I17 I15",
        _gross_change,
    ),
    _plant(
        "exit_settles_in_flight",
        "leg_exit:LegExit.is_finished",
        "a leg counts as closed while its order is under way",
        "I8 I16 I26",
        _settles_in_flight,
    ),
)
"""Every bug of quantity."""
