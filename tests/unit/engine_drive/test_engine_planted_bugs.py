"""Bugs planted one at a time: the seeded lives and their invariants must find each of them.

What the lives cannot tell from right they do not guard; this table keeps them honest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from services.common.errors import OutcomeUnknownError
from services.engine import entry, exit, order_desk, position
from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.entry import EntryFacts
from services.engine.instruments import InstrumentRules, LegSide
from services.engine.order_desk import OrderDesk
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderSide, OrderState
from services.engine.placing import PlaceEvent, event_of_answer
from services.engine.policy import EnginePolicy
from services.engine.ports import VenueGateway
from services.engine.position import OrderRecord, Position
from services.engine.resolver import OrderResolver
from services.engine.sizing import gross_up
from services.engine.steps import EntryStep
from services.engine.watched_gateway import WatchedGateway
from tests.support.engine_lives import Life

SEEDS = 150
"""Most lives a bug may take to show; the hardest of these shows well below."""

ZERO = Decimal(0)
Plant = Callable[[pytest.MonkeyPatch], None]


def hedge_by_request(patch: pytest.MonkeyPatch) -> None:
    """Hedge what the lead was asked for, not what it filled."""

    def asked(found: Position) -> Decimal:
        leads = found.of(found.lead_leg, OrderClass.ENTRY)
        return sum((r.plan.quantity for r in leads), ZERO) - found.held(found.hedge_leg)

    patch.setattr(entry, "exposure", asked)


def hedge_by_gross(patch: pytest.MonkeyPatch) -> None:
    """Forget the fee that was taken in the base coin."""

    def gross(side: OrderSide, executed: Decimal, net: Decimal) -> Decimal:
        return executed if side is OrderSide.BUY else -executed

    patch.setattr(position, "signed_change", gross)


def id_reused_after_unknown(patch: pytest.MonkeyPatch) -> None:
    """Take the id of an order that was never found for the next attempt."""

    def attempt(self: Position, leg: LegSide, order_class: OrderClass) -> int:
        return sum(r.state is not OrderState.NOT_SENT for r in self.of(leg, order_class))

    patch.setattr(Position, "next_attempt", attempt)


def unknown_is_zero(patch: pytest.MonkeyPatch) -> None:
    """Take a lost answer for a refusal."""

    def event(
        key: str, at: datetime, plan: OrderPlan, answer: OrderOutcome | Exception
    ) -> PlaceEvent:
        found = event_of_answer(key, at, plan, answer)
        if isinstance(found, ev.OrderUnknown):
            return ev.OrderRejected(key, at, plan.client_order_id, found.reason, retryable=True)
        return found

    patch.setattr(order_desk, "event_of_answer", event)


def expired_partial_is_zero(patch: pytest.MonkeyPatch) -> None:
    """Take an order that ended short for one that was refused, and forget what it filled."""

    def event(
        key: str, at: datetime, plan: OrderPlan, answer: OrderOutcome | Exception
    ) -> PlaceEvent:
        if isinstance(answer, OrderOutcome) and 0 < answer.executed < plan.quantity:
            return ev.OrderRejected(key, at, plan.client_order_id, "EXPIRED", retryable=True)
        return event_of_answer(key, at, plan, answer)

    patch.setattr(order_desk, "event_of_answer", event)


def same_id_sent_again(patch: pytest.MonkeyPatch) -> None:
    """Repeat a send whose answer was lost."""
    inner = WatchedGateway.place

    async def place(self: WatchedGateway, plan: OrderPlan) -> OrderOutcome:
        try:
            return await inner(self, plan)
        except OutcomeUnknownError:
            return await inner(self, plan)

    patch.setattr(WatchedGateway, "place", place)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Believe that an order never arrived as soon as the venue does not know it."""

    async def none(self: OrderResolver, gateway: VenueGateway) -> float:
        return -1e9

    patch.setattr(OrderResolver, "_fence", none)


def no_probe_on_recovery(patch: pytest.MonkeyPatch) -> None:
    """Do not ask for hedges that an earlier run may have sent."""

    async def done(self: OrderDesk) -> bool:
        return True

    patch.setattr(OrderDesk, "probe_hedge", done)


def exit_by_wallet(patch: pytest.MonkeyPatch) -> None:
    """Close what the account has, the user's coins included."""
    inner = exit.remaining

    def wallet(found: Position, leg: LegSide) -> Decimal:
        return inner(found, leg) + (7 if inner(found, leg) else 0)

    patch.setattr(exit, "remaining", wallet)


def journal_after_send(patch: pytest.MonkeyPatch) -> None:
    """Send without waiting for the intent to be durable."""
    inner = PositionBook.record

    async def soon(self: PositionBook, *events: ev.Event) -> None:
        if all(isinstance(event, ev.OrderIntended) for event in events):
            self.record_soon(*events)
        else:
            await inner(self, *events)

    patch.setattr(PositionBook, "record", soon)


def unwind_of_an_unknown_hedge(patch: pytest.MonkeyPatch) -> None:
    """Give the lead back while the hedge may still fill."""
    inner = entry.next_entry_step

    def step(found: Position, facts: EntryFacts, policy: EnginePolicy) -> EntryStep:
        orders = {
            key: replace(r, state=OrderState.NOT_SENT)
            if r.plan.order_class is OrderClass.HEDGE and r.state is OrderState.UNKNOWN
            else r
            for key, r in found.orders.items()
        }
        if orders == found.orders:
            return inner(found, facts, policy)
        return inner(
            replace(found, orders=orders), replace(facts, unhedged_for=timedelta(days=1)), policy
        )

    patch.setattr("services.engine.entry_work.next_entry_step", step)


def hedge_sent_again_in_doubt(patch: pytest.MonkeyPatch) -> None:
    """Send a second hedge while nobody knows what became of the first."""
    patch.setattr(entry, "_in_doubt", lambda _: False)


def fills_added_up(patch: pytest.MonkeyPatch) -> None:
    """Add cumulative observations instead of joining them."""
    inner = position._join

    def added(record: OrderRecord, event: ev.OrderObserved) -> OrderRecord:
        joined = inner(record, event)
        if record.executed == 0:
            return joined
        outcome = event.outcome
        return replace(
            joined, executed=record.executed + outcome.executed, net=record.net + outcome.net
        )

    patch.setattr(position, "_join", added)


def order_off_the_lot(patch: pytest.MonkeyPatch) -> None:
    """Send what is needed to the last digit, whatever the lot."""

    def exact(need: Decimal, side: OrderSide, rules: InstrumentRules) -> Decimal:
        return gross_up(need, rules.base_fee_ratio) if side is OrderSide.BUY else need

    patch.setattr("services.engine.reduction.order_quantity", exact)


PLANTS: tuple[Plant, ...] = (
    hedge_by_request,
    hedge_by_gross,
    id_reused_after_unknown,
    unknown_is_zero,
    expired_partial_is_zero,
    same_id_sent_again,
    no_fence,
    no_probe_on_recovery,
    exit_by_wallet,
    journal_after_send,
    unwind_of_an_unknown_hedge,
    hedge_sent_again_in_doubt,
    fills_added_up,
    order_off_the_lot,
)


async def is_found(seed: int) -> bool:
    """Live one life and tell whether anything was wrong with it."""
    life = Life(seed)
    try:
        async with asyncio.timeout(5):
            await life.run()
    except (AssertionError, ValueError, TimeoutError):
        await life.rig.close_rig()
        return True
    return False


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
async def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some life of the first few ends with money at risk, an id twice or a broken ledger."""
    plant(monkeypatch)
    for seed in range(SEEDS):
        if await is_found(seed):
            return
    pytest.fail(f"{plant.__name__}: {SEEDS} lives and nobody noticed")
