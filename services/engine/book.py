"""All positions and the engine's own state, as the journal has them: the one place they change."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial

from services.common.clock import Clock
from services.engine import events as ev
from services.engine.afterwards import Later, at_once
from services.engine.journal import Journal, JournalError
from services.engine.pockets import Pocket
from services.engine.ports import EngineObserver, PositionListener
from services.engine.position import Position, begin, fold
from services.engine.position_view import view_of
from services.engine.strategy_requests import entered_by
from services.engine.views import EngineMode

KEPT_DECISIONS = 500
"""Decisions of the strategy in memory, the newest; the journal has them all."""


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


class PositionBook:
    """Appends events to the journal, folds them into positions and tells the listener.

    Memory follows the journal: what must be durable is folded only once it is. The listener is told
    `later`: each state of a position, in order.
    """

    def __init__(
        self,
        journal: Journal,
        listener: PositionListener,
        observer: EngineObserver,
        clock: Clock,
        later: Later = at_once,
    ) -> None:
        self._journal = journal
        self._later = later
        self._listener = listener
        self._observer = observer
        self._clock = clock
        self._positions: dict[str, Position] = {}
        self.engine = EngineRecord(EngineMode.ACTIVE, clock.now())
        self.journal_problem = ""
        """Why the last durable write failed; empty once one succeeded again."""

    async def load(self) -> None:
        """Fold the whole journal; raises `JournalError` where it cannot be read."""
        for event in await self._journal.load():
            self._fold(event)
        # A position at rest has no next event: without this a watcher would never hear of it.
        for position in self._positions.values():
            self._listener.position_changed(view_of(position))

    async def record(self, *events: ev.Event) -> None:
        """Append durably, then fold; on `JournalError` nothing has changed."""
        started = self._clock.monotonic()
        try:
            await self._journal.append(events)
        except JournalError as error:
            self.journal_problem = error.message
            self._observer.journal_failed()
            raise
        self.journal_problem = ""
        self._observer.journal_written(self._clock.monotonic() - started)
        self._take(events)

    def record_soon(self, *events: ev.Event) -> None:
        """Fold at once and append without waiting for the disk."""
        self._journal.append_soon(events)
        self._take(events)

    def record_folded(self, event: ev.PositionEvent, after: Position) -> None:
        """Take an event as `record_soon` does; `after` is its fold over the position as it is."""
        self._journal.append_soon((event,))
        self._positions[after.position_id] = after
        self._later(partial(self._tell, after))

    def get(self, position_id: str) -> Position | None:
        """Return one position; None for an id nobody gave out."""
        return self._positions.get(position_id)

    def all(self) -> tuple[Position, ...]:
        """Return every position, oldest first."""
        return tuple(self._positions.values())

    def unknown_order_ids(self, symbol: str | None = None) -> tuple[str, ...]:
        """Return the orders whose outcome is not proven, of one symbol or of all."""
        return tuple(
            key
            for position in self._positions.values()
            if symbol in (None, position.symbol) and not position.is_settled
            for key in position.unresolved()
        )

    def _take(self, events: Sequence[ev.Event]) -> None:
        changed = {self._fold(event) for event in events}
        for position_id in changed - {None}:
            if position_id is not None:
                # A view takes longer than the decision it would hold up.
                self._later(partial(self._tell, self._positions[position_id]))

    def _tell(self, position: Position) -> None:
        self._listener.position_changed(view_of(position))

    def _fold(self, event: ev.Event) -> str | None:
        match event:
            case ev.EngineHalted():
                self._set_mode(EngineMode.HALTED, event)
            case ev.EngineResumed():
                self._set_mode(EngineMode.ACTIVE, event)
                self.engine.breakers.clear()
                self.engine.breaker_times.clear()
                self.engine.resume_time = event.at
            case ev.BreakerTripped(symbol=""):
                # An operator's halt is the stronger word: a breaker does not soften it.
                if self.engine.mode is EngineMode.ACTIVE:
                    self._set_mode(EngineMode.REDUCING, event)
            case ev.BreakerTripped():
                self.engine.breakers[event.symbol] = event.reason
                self.engine.breaker_times[event.symbol] = event.at
            case ev.BreakerReset(symbol=""):
                self.engine.resume_time = event.at
                # Only resume ends what an operator halted.
                if self.engine.mode is EngineMode.REDUCING:
                    self._set_mode(EngineMode.ACTIVE, event)
            case ev.BreakerReset():
                self.engine.breakers.pop(event.symbol, None)
                self.engine.breaker_times.pop(event.symbol, None)
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
                return self._fold_position(event)
        return None

    def _fold_position(self, event: ev.PositionEvent) -> str:
        known = self._positions.get(event.position_id)
        if known is not None:
            self._positions[event.position_id] = fold(known, event)
        elif isinstance(event, ev.EntryIntended):
            self._positions[event.position_id] = begin(event)
        else:
            raise ValueError(f"event before the intent of position {event.position_id}")
        return event.position_id

    def _set_mode(
        self,
        mode: EngineMode,
        event: ev.EngineHalted | ev.EngineResumed | ev.BreakerTripped | ev.BreakerReset,
    ) -> None:
        self.engine.mode = mode
        self.engine.mode_time = event.at
        self.engine.reason = "" if mode is EngineMode.ACTIVE else event.reason
