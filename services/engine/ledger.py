"""The fold of a journal: every position, and the engine's own record. Changed by `take` alone."""

from __future__ import annotations

import copy
from bisect import insort_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Final

from services.engine import events as ev
from services.engine.ended import Ended
from services.engine.pockets import Pocket
from services.engine.position import Position, begin, fold
from services.engine.strategy_requests import entered_by
from services.engine.views import EngineMode

KEPT_DECISIONS = 500
"""Decisions of the strategy in memory, the newest; the journal has them all."""
_OF_THE_REST: Final = frozenset({"commands", "strategy_entries", "decisions"})
"""What the engine's record has of rows that are read after a start alone."""


@dataclass(frozen=True, slots=True)
class AcceptedCommand:
    """A command that was taken: a repeat of it is answered with these positions."""

    content_hash: str
    position_ids: tuple[str, ...]


@dataclass(slots=True)
class EngineRecord:
    """Mode, breakers and accepted commands; mutable: it is the fold of the engine's own events."""

    mode: EngineMode
    mode_time: datetime
    reason: str = ""
    breakers: dict[str, str] = field(default_factory=dict)
    commands: dict[str, AcceptedCommand] = field(default_factory=dict)
    breaker_times: dict[str, datetime] = field(default_factory=dict)
    resume_time: datetime | None = None
    day: ev.DayOpened | None = None
    baselines: dict[Pocket, Decimal] = field(default_factory=dict)
    breaks: dict[Pocket, ev.ReconciliationBroke] = field(default_factory=dict)
    strategy: ev.StrategySwitched | None = None
    strategy_rules: ev.StrategyRulesTaken | None = None
    strategy_entries: dict[str, tuple[str, int]] = field(default_factory=dict)
    decisions: deque[ev.DecisionTaken] = field(default_factory=lambda: deque(maxlen=KEPT_DECISIONS))


class Ledger:
    """Positions by id, oldest first, and the engine's record; mutable: it follows the journal."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        """When the engine began: its mode holds from then where no row says otherwise."""
        self.positions: dict[str, Position] = {}
        self.live: dict[str, Position] = {}
        """Those of them that are not final: few, where of those that ended there may be 100,000."""
        self.ended = Ended()
        self.changed: dict[str, None] = {}
        """Those that were put since somebody asked for them; see `PositionBook.take_changed`."""
        self.starts: list[ev.EntryIntended] = []
        """The intents of all by their time; of one time, the last to come is the first."""
        self.engine = EngineRecord(EngineMode.ACTIVE, since)

    def copy(self) -> Ledger:
        """Return the same as it is now; what comes later changes one of them."""
        made = Ledger(self.since)
        made.positions, made.live = dict(self.positions), dict(self.live)
        made.ended, made.starts = self.ended.copy(), list(self.starts)
        made.changed = dict(self.changed)
        values = {f.name: copy.copy(getattr(self.engine, f.name)) for f in fields(EngineRecord)}
        made.engine = EngineRecord(**values)
        return made

    def put(self, position: Position) -> None:
        """Take a position as it is now."""
        known = self.positions.get(position.position_id)
        if known is None:
            insort_left(self.starts, position.intent, key=lambda intent: intent.at)
        self.ended.put(known, position)
        self.positions[position.position_id] = position
        self.changed[position.position_id] = None
        if position.status.is_final:
            self.live.pop(position.position_id, None)
        else:
            self.live[position.position_id] = position

    def take_all(self, events: Iterable[ev.Event]) -> None:
        """Fold events in turn."""
        for event in events:
            self.take(event)

    def take(self, event: ev.Event) -> str | None:
        """Fold one more event and return the position it changed.

        Raises ValueError for an event of a position without an intent: a broken journal.
        """
        match event:
            case ev.EngineHalted():
                self._set_mode(EngineMode.HALTED, event)
            case ev.EngineResumed():
                self._set_mode(EngineMode.ACTIVE, event)
                self.engine.breakers.clear()
                self.engine.breaker_times.clear()
                self.engine.resume_time = event.at
            case ev.BreakerTripped() | ev.BreakerReset():
                self._take_breaker(event)
            case ev.DayOpened():
                self.engine.day = event
            case ev.GuardActed():
                # Kept for whoever reads the journal; what it did stands in rows of its own.
                pass
            case ev.BaselineTaken():
                self.engine.baselines[event.pocket] = event.quantity
                # Declared the user's own: what differed is explained.
                self.engine.breaks.pop(event.pocket, None)
            case ev.ReconciliationBroke():
                self.engine.breaks[event.pocket] = event
            case ev.ReconciliationHealed():
                self.engine.breaks.pop(event.pocket, None)
            case ev.StrategySwitched():
                self.engine.strategy = event
            case ev.DecisionTaken():
                self.engine.decisions.append(event)
            case ev.StrategyRulesTaken():
                self.engine.strategy_rules = event
            case ev.CommandAccepted():
                command = AcceptedCommand(event.content_hash, event.position_ids)
                self.engine.commands[event.request_id] = command
                entered = entered_by(event.request_id)
                if entered is not None:
                    self.engine.strategy_entries.update(dict.fromkeys(event.position_ids, entered))
            case _:
                return self._take_position(event)
        return None

    def _take_position(self, event: ev.PositionEvent) -> str:
        known = self.positions.get(event.position_id)
        if known is not None:
            self.put(fold(known, event))
        elif isinstance(event, ev.EntryIntended):
            self.put(begin(event))
        else:
            raise ValueError(f"event before the intent of position {event.position_id}")
        return event.position_id

    def _take_breaker(self, event: ev.BreakerTripped | ev.BreakerReset) -> None:
        record = self.engine
        match event:
            case ev.BreakerTripped(symbol=""):
                # An operator's halt is the stronger word: a breaker does not soften it.
                if record.mode is EngineMode.ACTIVE:
                    self._set_mode(EngineMode.REDUCING, event)
            case ev.BreakerTripped():
                record.breakers[event.symbol] = event.reason
                record.breaker_times[event.symbol] = event.at
            case ev.BreakerReset(symbol=""):
                record.resume_time = event.at
                # Only resume ends what an operator halted.
                if record.mode is EngineMode.REDUCING:
                    self._set_mode(EngineMode.ACTIVE, event)
            case ev.BreakerReset():
                record.breakers.pop(event.symbol, None)
                record.breaker_times.pop(event.symbol, None)

    def _set_mode(
        self,
        mode: EngineMode,
        event: ev.EngineHalted | ev.EngineResumed | ev.BreakerTripped | ev.BreakerReset,
    ) -> None:
        self.engine.mode = mode
        self.engine.mode_time = event.at
        self.engine.reason = "" if mode is EngineMode.ACTIVE else event.reason


def differences(first: Ledger, whole: Ledger) -> tuple[str, ...]:
    """Return, in words, where the part that was read first says otherwise than all rows do."""
    live = {key for key, one in whole.positions.items() if not one.status.is_final}
    told = [f"position {key} was not taken up" for key in sorted(live - first.positions.keys())]
    told += [
        f"position {key} was taken up otherwise than it is"
        for key in sorted(first.positions)
        if whole.positions.get(key) != first.positions[key]
    ]
    names = [f.name for f in fields(EngineRecord) if f.name not in _OF_THE_REST]
    told += [
        f"the engine's {name.replace('_', ' ')} was taken otherwise than it is"
        for name in names
        if getattr(first.engine, name) != getattr(whole.engine, name)
    ]
    return tuple(told)


def joined(now: Ledger, whole: Ledger, since: Sequence[ev.EngineEvent]) -> Ledger:
    """Return all rows' fold with what came after: positions as they are now, events `since`."""
    # In the order of their intents, as a replay of everything has it.
    for position in now.positions.values():
        whole.put(position)
    whole.take_all(since)
    return whole
