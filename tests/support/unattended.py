"""The whole system left to itself: a market whose days pass in seconds, and what the engine did."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from cli.demo.stack import StackOptions
from opensqt.market_maker.v1 import engine_pb2
from services.common.codec import decimal_from_proto
from services.engine import events as ev
from services.engine.decision_audit import audit
from services.engine.journal_file import read_events
from services.engine.strategy_words import DecisionAction, StrategyMode
from tests.support.fading_market import INTERVAL, START, write_fading_market
from tests.support.stack import StackDriver, stack_options

Position = engine_pb2.HedgedPosition
WAIT_SECONDS = 60.0
_PATIENCE = {"flip_patience": 2, "gone_patience": 2, "refusal_cooldown": 2, "decide_interval": 0.3}


def unattended_options(
    folder: Path, mode: str, turns: Mapping[str, int] | None = None
) -> StackOptions:
    """Return the stack over the fading market, the strategy in a mode, its patience in seconds."""
    write_fading_market(folder, turns)
    options = stack_options(data=folder)
    tables: dict[str, Any] = options.tables
    tables["simulator"]["market"] = {"start": START.isoformat()}
    tables["scanner"] = {"scan_interval_seconds": 0.5, "window_days": 1}
    tables["engine"] = {
        "policy": {"funding_read_interval": 1, "funding_read_spacing": 0.2},
        "guards": {"interval": 1},
        "strategy": {"mode": mode, "stream_silence": 12, **_PATIENCE},
    }
    return options


@dataclass(frozen=True, slots=True)
class Night:
    """A running stack that nobody attends to."""

    stack: StackDriver

    async def positions(self) -> dict[str, list[Position]]:
        """Return all positions by symbol."""
        request = engine_pb2.ListHedgedPositionsRequest()
        found: dict[str, list[Position]] = {}
        for row in (await self.stack.engine.ListHedgedPositions(request)).positions:
            found.setdefault(row.symbol, []).append(row)
        return found

    async def until_state(
        self, wanted: Mapping[str, engine_pb2.HedgedPositionState.ValueType]
    ) -> None:
        """Wait until each of these symbols has one position, in this state."""

        async def reached() -> bool:
            rows = await self.positions()
            states = {name: [row.state for row in rows.get(name, ())] for name in wanted}
            return states == {name: [state] for name, state in wanted.items()}

        await self.stack.until(reached, f"positions in states {dict(wanted)}", WAIT_SECONDS)

    async def pass_settlement(self) -> None:
        """Let eight hours pass at the venue, and wait until the engine has booked the funding."""
        await self.jump()
        await self.stack.until(self._is_booked, "the funding paid is booked", WAIT_SECONDS)

    async def jump(self) -> None:
        """Let eight hours pass at the venue."""
        await self.stack.control.post("clock", {"advance_seconds": INTERVAL.total_seconds()})

    async def _is_booked(self) -> bool:
        paid = (await self.stack.books()).funding_by_symbol
        return {name: value for name, value in paid.items() if value} == await self.funding()

    async def funding(self) -> dict[str, Decimal]:
        """Return the funding of each symbol by the engine's ledger, where there was any."""
        found: dict[str, Decimal] = {}
        for symbol, rows in (await self.positions()).items():
            received = [decimal_from_proto(row, "funding_received") or Decimal(0) for row in rows]
            if total := sum(received, Decimal(0)):
                found[symbol] = total
        return found

    async def events(self) -> tuple[ev.Event, ...]:
        """Read the journal from outside the engine; its file is checked row by row."""
        return await asyncio.to_thread(read_events, self.stack.stack.directory / "journal.db")

    async def decided(self) -> list[ev.DecisionTaken]:
        """Return the decisions in the journal, oldest first."""
        return [event for event in await self.events() if isinstance(event, ev.DecisionTaken)]

    async def until_decided(
        self, action: DecisionAction, reason: str, mode: StrategyMode = StrategyMode.AUTO
    ) -> ev.DecisionTaken:
        """Wait until the journal has a decision, and return the last of them."""

        async def found() -> bool:
            return bool(await rows())

        async def rows() -> list[ev.DecisionTaken]:
            wanted = (mode, action, reason)
            return [d for d in await self.decided() if (d.mode, d.action, d.reason) == wanted]

        await self.stack.until(found, f"a decision {action} {reason} in {mode}", WAIT_SECONDS)
        return (await rows())[-1]

    async def until_refused(self) -> ev.DecisionTaken:
        """Wait until the checks refused an entry that was decided, and return the refusal."""

        async def refused() -> bool:
            return any(d.action is DecisionAction.PASS for d in await self.decided())

        await self.stack.until(refused, "an entry is refused", WAIT_SECONDS)
        return next(d for d in await self.decided() if d.action is DecisionAction.PASS)

    async def until_entering(self, more_than: int) -> None:
        """Wait until more entries than these were decided in auto mode."""

        async def decided() -> bool:
            wanted = (StrategyMode.AUTO, DecisionAction.ENTER)
            return (
                len([d for d in await self.decided() if (d.mode, d.action) == wanted]) > more_than
            )

        await self.stack.until(decided, "another entry is decided", WAIT_SECONDS)


def assert_explained(events: tuple[ev.Event, ...]) -> Counter[str]:
    """Check that every decision follows from its inputs, and every trade from a decision.

    Returns how many there were of each action and reason.
    """
    tallies = audit(events)
    entered: Counter[str] = Counter()
    leaving: set[str] = set()
    for (action, reason), tally in tallies.items():
        assert not tally.differ, tally.differ[0]
        # A refusal by the checks was decided elsewhere: it tells what stood against the entry.
        assert not tally.without or action == DecisionAction.PASS, (action, reason)
    for event in events:
        match event:
            case ev.DecisionTaken(action=DecisionAction.PASS):
                assert event.text, event
            case ev.DecisionTaken(mode=StrategyMode.AUTO, action=DecisionAction.ENTER):
                entered[event.symbol] += 1
            case ev.DecisionTaken(mode=StrategyMode.AUTO, action=DecisionAction.EXIT):
                leaving.add(event.position_id)
            case ev.EntryIntended():
                assert entered[event.long_rules.ref.symbol] > 0, event
                entered[event.long_rules.ref.symbol] = 0
            case ev.ExitRequested() if not event.reason.startswith("CLOSE_ALL"):
                assert event.position_id in leaving, event
    return Counter({f"{a} {r}": t.follow + t.without for (a, r), t in tallies.items()})
