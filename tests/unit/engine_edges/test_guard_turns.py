"""Guards judge a few positions in a turn of the loop, each as it is then, and act on what is on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest

from services.engine import events as ev
from services.engine import guard_desk
from services.engine.guard_desk import GuardDesk, GuardNeeds
from services.engine.guard_facts import (
    GuardAction,
    GuardFinding,
    GuardLimits,
    GuardPace,
    PairAccount,
    PairMarket,
)
from services.engine.instruments import LegSide
from services.engine.position import Position, fold
from services.engine.views import PositionStatus
from tests.support.risk_positions import opened, settled
from tests.support.virtual_clock import START, VirtualClock

LIVE = 100
A_TURN = 10


class Hands:
    """Keeps what is done; alerts go here too."""

    def __init__(self) -> None:
        self.tripped: list[str] = []
        self.closed: list[str] = []

    def trip(self, symbol: str, reason: str) -> None:
        """Keep it."""
        self.tripped.append(f"{symbol} {reason}")

    async def close_positions(self, reasons: Mapping[str, str]) -> None:
        """Keep them."""
        self.closed += reasons

    async def reduce_position(self, position_id: str, ratio: Decimal, reason: str) -> None:
        """Nothing is to be halved here."""
        raise AssertionError(position_id)

    def note(self, event: ev.GuardActed) -> None:
        """Nobody reads it."""

    def raised(self, finding: GuardFinding) -> None:
        """Nobody reads it."""


async def test_no_turn_judges_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile one moves, one ends before its turn and one after; all others are closed."""
    hands, positions = Hands(), {f"p{number}": opened(f"p{number}") for number in range(LIVE)}
    needs = GuardNeeds({}, hands, GuardLimits(), GuardPace())
    desk = GuardDesk(lambda: tuple(positions.values()), hands, VirtualClock(), needs)
    judged: dict[str, tuple[Position, object]] = {}

    def judge(
        position: Position, market: PairMarket, account: PairAccount, limits: GuardLimits
    ) -> tuple[GuardFinding, ...]:
        key = position.position_id
        judged[key] = position, account
        return (GuardFinding("margin", key, position.symbol, GuardAction.CLOSE, "all"),)

    monkeypatch.setattr(guard_desk, "judge", judge)
    monkeypatch.setattr(desk.memory, "account", lambda position, now, *, has_moved: has_moved)
    task = asyncio.create_task(desk.round())
    turns = [0]
    moved = fold(positions["p99"], ev.DustBooked("p99", START, LegSide.LONG, Decimal(0), "X"))
    while not task.done():
        await asyncio.sleep(0)
        if turns[-1] == 0 < len(judged):
            positions |= {key: ended(positions[key]) for key in ("p0", "p98")} | {"p99": moved}
        turns.append(len(judged))
    await task
    assert max(b - a for a, b in pairwise(turns)) <= A_TURN
    assert set(judged) == positions.keys() - {"p98"}
    assert judged["p99"] == (moved, True)
    assert judged["p50"] == (positions["p50"], False)
    assert set(hands.closed) == positions.keys() - {"p0", "p98"}


def ended(position: Position) -> Position:
    """Return the position when nothing of it is on any more."""
    return settled(replace(position, status=PositionStatus.CLOSING), PositionStatus.CLOSED)
