"""What an entry looks at: what ended counts by what it still holds, cost or ended as, no more."""

from __future__ import annotations

import asyncio
import random
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import ClassVar

import pytest

from services.common.errors import PreconditionError
from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.entry_desk import exposures_of, own_quantity
from services.engine.follower_board import OfferBoard
from services.engine.instruments import LegSide
from services.engine.orders import AssetAmount, OrderClass
from services.engine.policy import EngineLimits
from services.engine.position import Position, fold
from services.engine.reconcile_ledger import PocketLedger
from services.engine.risk_checks import look_back
from services.engine.risk_cooldown import check_cooldown
from services.engine.risk_desk import RiskDesk
from services.engine.risk_exposure import leg_exposures
from services.engine.risk_failures import consecutive_failures
from services.engine.risk_limits import RiskLimits
from services.engine.risk_rate import orders_of_last_minute
from services.engine.risk_result import fees_of_day, position_result, utc_day
from services.engine.strategy_desk import StrategyDesk
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_words import StrategyMode
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal, Recorder
from tests.support.risk_positions import (
    PERP,
    SPOT,
    closed,
    entering,
    failed,
    opened,
    ordered,
    settled,
)
from tests.support.virtual_clock import START, VirtualClock

D = Decimal
ENDED = 300
A_TURN = 10
DAY = timedelta(days=1)
LIMITS = RiskLimits(
    max_venue_notional=D(10**6),
    max_daily_loss=D(10**6),
    max_daily_fees=D(10**6),
    max_consecutive_failures=3,
    symbol_cooldown=timedelta(hours=1),
    max_orders_per_minute=1_000,
)


class Watched(Position):
    """A position that tells when anything of it is read."""

    seen: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> object:
        """Note the look."""
        if name != "intent":
            Watched.seen.add(super().__getattribute__("intent").position_id)
        return super().__getattribute__(name)


def watched(position: Position) -> Watched:
    """Return the same, watched."""
    return Watched(**{f.name: getattr(position, f.name) for f in fields(position) if f.init})


async def test_an_entry_looks_at_no_position_that_ended_long_ago() -> None:
    """300 that ended three days ago: neither a check, a look nor a strategy's round reads one."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    rig.extras["risk"] = LIMITS
    rig.new_engine()
    await rig.start()
    await rig.open()
    engine, ledger = rig.engine, rig.engine.ledger._ledger
    for number in range(ENDED):
        ledger.put(watched(closed(f"e{number}", at=START - 3 * DAY)))
    # What has ended is summed once.
    assert engine.risk.day_result() is not None
    Watched.seen.clear()
    engine.risk.look()
    command = rig.open_command()
    assert command.long_leg is not None
    assert command.short_leg is not None
    await rig.call(engine._entries.check(command, command.long_leg, command.short_leg))
    with pytest.raises(PreconditionError, match="another position"):
        await rig.call(engine.open(command))
    board, mode = OfferBoard(timedelta(hours=1)), StrategyMode.ADVISE
    StrategyDesk(engine, engine.ledger, board, rig.clock, StrategyPolicy(), mode)._situation()
    assert engine.risk.symbol_risks(())
    assert engine.risk.day_result() is not None
    assert Watched.seen == set()
    await rig.close_rig()


async def test_no_turn_sums_more_than_a_few_that_ended() -> None:
    """After a start all that ever ended is summed, and hedges share the loop: the sum is whole."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    rig.extras["risk"] = LIMITS
    rig.new_engine()
    await rig.start()
    engine = rig.engine
    assert engine.risk.day_result() == 0
    for number in range(ENDED):
        engine.ledger._ledger.put(watched(closed(f"e{number}", at=START - 3 * DAY, gain="1")))
    Watched.seen.clear()
    command = rig.open_command()
    assert command.long_leg is not None
    assert command.short_leg is not None
    checking = asyncio.create_task(
        engine._entries.check(command, command.long_leg, command.short_leg)
    )
    turns = [0]
    for _ in range(ENDED):
        await asyncio.sleep(0)
        turns.append(len(Watched.seen))
    assert turns[-1] == ENDED
    assert max(b - a for a, b in pairwise(turns)) <= A_TURN
    await rig.clock.run_until(checking.done)
    checking.result()
    assert engine.risk.day_result() == sum(position_result(p, {}) for p in engine.ledger.all())
    await rig.close_rig()


async def test_a_comparison_sums_what_changed_alone_and_a_few_at_a_time() -> None:
    """Of all that ended each is looked at once, 20 in a turn; the lines are those of all."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    await rig.open()
    engine = rig.engine
    for number in range(ENDED):
        engine.ledger._ledger.put(watched(closed(f"e{number}", at=START - 3 * DAY)))
    Watched.seen.clear()
    turns, reconciler = [0], engine._fleet.reconciler
    catching_up = asyncio.create_task(reconciler._catch_up())
    while not catching_up.done():
        await asyncio.sleep(0)
        turns.append(len(Watched.seen))
    assert turns[-1] == ENDED
    assert max(b - a for a, b in pairwise(turns)) <= 2 * A_TURN
    Watched.seen.clear()
    await rig.call(reconciler.compare_all())
    assert Watched.seen == set()
    assert reconciler._lines() == PocketLedger().update(engine.ledger.all())
    await rig.close_rig()


def some_position(chance: random.Random, key: str) -> Position:
    """Return any kind of position, started within two days."""
    at = START + timedelta(seconds=chance.randrange(2 * 86_400))
    kind = chance.randrange(7)
    if kind == 0:
        return entering(key, at=at)
    if kind == 1:
        return ordered(entering(key, at=at), LegSide.LONG, OrderClass.ENTRY)
    if kind == 2:
        return opened(key, at=at)
    if kind == 3:
        return failed(key, chance.choice(("LEAD_REJECTED X", "LEAD_NOT_FILLED")), at=at)
    if kind == 4:
        # It ended with dust, and an order whose outcome nobody knows.
        left = fold(opened(key, at=at), ev.ExitRequested(key, at, "CLOSE_REQUESTED"))
        left = ordered(left, LegSide.LONG, OrderClass.EXIT, filled="0.997", fee="0.3")
        left = ordered(left, LegSide.SHORT, OrderClass.EXIT)
        left = fold(left, ev.DustBooked(key, at, LegSide.LONG, D("0.003"), "BELOW_LOT"))
        return settled(left, PositionStatus.CLOSED)
    return closed(key, at=at, gain=str(chance.randrange(-9, 9)))


def changed(chance: random.Random, position: Position) -> Position:
    """Return a position after something that comes late."""
    key, at = position.position_id, position.intent.at + timedelta(hours=chance.randrange(40))
    if chance.random() < 0.3 and position.status.is_final:
        return fold(position, ev.ExitResumed(key, at, "LATE_FILL"))
    if chance.random() < 0.3:
        return fold(position, ev.PositionSettled(key, at, PositionStatus.FLAT, "LEAD_REJECTED"))
    paid = AssetAmount("USDT", D(chance.randrange(100)))
    return fold(position, ev.FundingRead(key, at, LegSide.SHORT, paid))


@pytest.mark.parametrize("seed", range(20))
def test_nothing_that_counts_is_left_out(seed: int) -> None:
    """Every figure is that over all positions, whatever came late or by a clock put back."""
    chance, clock = random.Random(seed), VirtualClock()
    book = PositionBook(MemoryJournal(), Recorder(), Recorder(), clock)
    risk = RiskDesk(book, clock, EngineLimits(), LIMITS)
    for number in range(60):
        book._ledger.put(some_position(chance, f"p{number}"))
        if chance.random() < 0.5:
            book._ledger.put(changed(chance, chance.choice(book.all())))
        if chance.random() < 0.3:
            risk._result()
    everything = book.all()
    assert risk._result() == sum(position_result(p, {}) for p in everything)
    assert set(leg_exposures(risk.live(), {})) == set(leg_exposures(everything, {}))
    assert exposures_of(risk.live(), "BTCUSDT", {}) == exposures_of(everything, "BTCUSDT", {})
    by_start = sorted(everything, key=lambda p: p.intent.at, reverse=True)
    assert list(book.newest()) == by_start
    for hours in range(0, 72, 5):
        now = START + timedelta(hours=hours)
        found = (*risk.live(), *book.ended.since(look_back(now, LIMITS)))
        assert fees_of_day(found, utc_day(now)) == fees_of_day(everything, utc_day(now))
        assert orders_of_last_minute(found, now) == orders_of_last_minute(everything, now)
        assert check_cooldown(found, "BTCUSDT", now, LIMITS) == check_cooldown(
            everything, "BTCUSDT", now, LIMITS
        )
        assert consecutive_failures(book.newest(), now) == consecutive_failures(
            [p for p in by_start if p.intent.at > now], None
        )
    for rules in (SPOT, PERP):
        held = own_quantity((*book.live(), *book.ended.holding()), rules.ref)
        assert held == own_quantity(everything, rules.ref)
    copied = book._ledger.copy()
    assert copied.ended.holding() == book.ended.holding()
    assert copied.starts == book._ledger.starts
    assert list(copied.ended.since(utc_day(START))) == list(book.ended.since(utc_day(START)))


def test_a_claim_outlives_the_end_of_what_claimed() -> None:
    """What entered at the first look and ended since may still have taken funds."""
    clock = VirtualClock()
    book = PositionBook(MemoryJournal(), Recorder(), Recorder(), clock)
    risk = RiskDesk(book, clock, EngineLimits(), RiskLimits())
    book._ledger.put(entering("p1"))
    book._ledger.put(entering("p2"))
    before = risk.live()
    book._ledger.put(failed("p1", "LEAD_NOT_FILLED"))
    risk.reserve(entering("p3").intent)
    assert [p.position_id for p in risk.since(before)] == ["p2", "p3", "p1"]
