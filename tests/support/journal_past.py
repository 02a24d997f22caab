"""A journal with a past: positions that are open, closed, taken up again, and what came between."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal

from benchmarks.journal_rows import exit_orders, late_fill, open_position
from services.engine import events as ev
from services.engine.instruments import LegSide
from services.engine.orders import AssetAmount, GoneCause
from services.engine.pockets import Pocket, PocketKind
from services.engine.strategy_words import DecisionAction, StrategyMode
from services.engine.views import PositionStatus
from tests.support.virtual_clock import START

_DUST = Decimal("0.1")


def past_events(seed: int, positions: int = 12) -> list[ev.Event]:
    """Return the events of positions that live beside each other, with the engine's own between."""
    chance = random.Random(seed)
    lives = [_life(number, chance) for number in range(positions)]
    told: list[ev.Event] = []
    while lives:
        life = chance.choice(lives)
        event = next(life, None)
        if event is None:
            lives.remove(life)
            continue
        told.append(event)
        if chance.random() < 0.1:
            told.append(chance.choice(_OWN)(len(told), chance))
    return told


def batches(events: Sequence[ev.Event], chance: random.Random) -> Iterator[Sequence[ev.Event]]:
    """Yield the events in order, in appends of drawn sizes."""
    done = 0
    while done < len(events):
        size = chance.randint(1, 40)
        yield events[done : done + size]
        done += size


def _life(number: int, chance: random.Random) -> Iterator[ev.Event]:
    rows = list(open_position(number))
    yield from rows
    key, at = str(getattr(rows[1], "position_id", "")), rows[-1].at
    if chance.random() < 0.3:
        yield ev.FundingRead(key, at, LegSide.SHORT, AssetAmount("USDT", Decimal(number)))
    if chance.random() < 0.3:
        yield ev.LegGone(key, at, LegSide.LONG, Decimal("0.1"), GoneCause.UNEXPLAINED)
        return
    at += timedelta(seconds=1)
    yield ev.CommandAccepted(at, f"close-{number}", "1" * 64, (key,))
    yield ev.ExitRequested(key, at, "CLOSE")
    yield from exit_orders(number, at, _DUST)
    yield ev.DustBooked(key, at, LegSide.LONG, _DUST, "TOO_SMALL")
    if chance.random() < 0.2:
        return
    yield ev.PositionSettled(key, at, PositionStatus.CLOSED, "EXIT")
    if chance.random() < 0.3:
        yield late_fill(number, at)
        yield ev.ExitResumed(key, at, "LATE_FILL")
        if chance.random() < 0.5:
            yield ev.PositionSettled(key, at, PositionStatus.CLOSED, "EXIT")


def _pocket(number: int) -> Pocket:
    return Pocket("spot", PocketKind.SPOT, f"A{number % 3}")


def _decision(number: int, chance: random.Random) -> ev.Event:
    return ev.DecisionTaken(
        at=START + timedelta(seconds=number),
        mode=StrategyMode.AUTO,
        action=DecisionAction.HOLD,
        reason="HOLDS",
        symbol="A1USDT",
        opportunity_id="offer",
        revision=number,
        position_id=chance.choice(["", f"p{number % 12:015x}"]),
        notional=None,
        figures=(),
    )


def _at(number: int) -> timedelta:
    return timedelta(seconds=number)


_OWN: tuple[Callable[[int, random.Random], ev.Event], ...] = (
    lambda n, _: ev.EngineHalted(START + _at(n), f"halt {n}"),
    lambda n, _: ev.EngineResumed(START + _at(n), "on"),
    lambda n, c: ev.BreakerTripped(START + _at(n), c.choice(["", "A1USDT"]), f"trip {n}"),
    lambda n, c: ev.BreakerReset(START + _at(n), c.choice(["", "A1USDT"]), "reset"),
    lambda n, _: ev.DayOpened(START + _at(n), Decimal(n)),
    lambda n, _: ev.BaselineTaken(START + _at(n), _pocket(n), Decimal(n), "FIRST"),
    lambda n, _: ev.ReconciliationBroke(
        START + _at(n), _pocket(n), Decimal(1), Decimal(2), ("A1USDT",)
    ),
    lambda n, _: ev.ReconciliationHealed(START + _at(n), _pocket(n), Decimal(1)),
    lambda n, _: ev.StrategySwitched(START + _at(n), StrategyMode.AUTO, StrategyMode.MANUAL, "on"),
    lambda n, _: ev.GuardActed(START + _at(n), "basis", "A1USDT", "", "alert", "far"),
    _decision,
)
