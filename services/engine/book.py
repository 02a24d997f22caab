"""All positions and the engine's own state, as the journal has them: the one place they change."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from services.common.clock import Clock
from services.common.errors import UnreachableError
from services.engine import events as ev
from services.engine.afterwards import Later, at_once
from services.engine.ended import Ended
from services.engine.journal import Journal, JournalError
from services.engine.journal_parts import JournalParts
from services.engine.ledger import AcceptedCommand, EngineRecord, Ledger, joined
from services.engine.ports import EngineObserver, PositionListener
from services.engine.position import Position
from services.engine.position_view import view_of
from services.engine.views import PositionView

_ENGINE_EVENTS = typing.get_args(ev.EngineEvent)


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
        parts: JournalParts | None = None,
    ) -> None:
        self._journal = journal
        self._parts = parts
        self._later = later
        self._listener = listener
        self._observer = observer
        self._clock = clock
        self._ledger = Ledger(clock.now())
        self._since: list[ev.EngineEvent] | None = None
        self._views: dict[str, tuple[Position, PositionView]] = {}
        self.journal_problem = ""
        """Why the last durable write failed; empty once one succeeded again."""
        self.is_whole = True
        """Whether the journal was read to its end; before, ended positions are not known."""

    @property
    def engine(self) -> EngineRecord:
        """The engine's own record."""
        return self._ledger.engine

    @property
    def is_empty(self) -> bool:
        """Whether the journal has neither a position nor a command."""
        return self.is_whole and not self._ledger.positions and not self.engine.commands

    async def load(self) -> None:
        """Fold the whole journal; raises `JournalError` where it cannot be read."""
        self._ledger.take_all(await self._journal.load())
        # A position at rest has no next event: without this a watcher would never hear of it.
        for position in self.all():
            self.tell(position)

    def begin_with(self, events: Iterable[ev.Event]) -> Ledger:
        """Fold the part of the journal that is read first, and return what it gave.

        The rest comes with `join`.
        """
        self.is_whole, self._since = False, []
        self._ledger.take_all(events)
        for position in self.all():
            self.tell(position)
        return self._ledger.copy()

    def join(self, whole: Ledger) -> tuple[Position, ...]:
        """Take the fold of all rows that were there at the start, with what came since.

        Returns the positions that were not known before.
        """
        known = self._ledger.positions.keys()
        new = tuple(p for key, p in whole.positions.items() if key not in known)
        self._ledger = joined(self._ledger, whole, self._since or ())
        self.is_whole, self._since = True, None
        return new

    def give_up_rest(self) -> None:
        """Take note that the rest of the journal will not come."""
        self._since = None

    def tell(self, position: Position) -> None:
        """Tell the listener of a position as it is."""
        self._listener.position_changed(self.view(position))

    def view(self, position: Position) -> PositionView:
        """Return a position as the API shows it; one that has not changed is shown again."""
        known = self._views.get(position.position_id)
        if known is not None and known[0] is position:
            return known[1]
        view = view_of(position)
        # Those that have ended are many, and change no more: they are not asked for in a row.
        if position.status.is_final:
            self._views.pop(position.position_id, None)
        else:
            self._views[position.position_id] = position, view
        return view

    def check_whole(self) -> None:
        """Raise UnreachableError (JOURNAL_BEING_READ) until the journal was read to its end."""
        if not self.is_whole:
            raise UnreachableError(
                "the journal is being read: what has ended is not known yet",
                reason="JOURNAL_BEING_READ",
            )

    def whole(self) -> tuple[Position, ...]:
        """Return every position, oldest first; raises what `check_whole` raises."""
        self.check_whole()
        return self.all()

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
        self._ledger.put(after)
        self._later(partial(self.tell, after))

    async def find_command(self, request_id: str) -> AcceptedCommand | None:
        """Return a command that was taken; asks the journal while not all of it is in memory.

        None, too, where the journal cannot be asked then.
        """
        done = self.engine.commands.get(request_id)
        if done is not None or self.is_whole or self._parts is None:
            return done
        try:
            found = await self._parts.find_command(request_id)
        except JournalError:
            # No exit and no halt waits for it: the journal takes no request id twice.
            found = None
        # Anew: the same command may have run while the journal answered.
        done = self.engine.commands.get(request_id)
        if done is not None or found is None:
            return done
        return AcceptedCommand(found.content_hash, found.position_ids)

    def get(self, position_id: str) -> Position | None:
        """Return one position; None for an id nobody gave out."""
        return self._ledger.positions.get(position_id)

    def all(self) -> tuple[Position, ...]:
        """Return every position, oldest first; those that ended once the journal `is_whole`."""
        return tuple(self._ledger.positions.values())

    def live(self) -> tuple[Position, ...]:
        """Return those that are not final; what is asked every few seconds looks at no other."""
        return tuple(self._ledger.live.values())

    def take_changed(self, most: int | None = None) -> tuple[Position, ...]:
        """Return those that changed since they were last returned, at most so many; empty: none.

        For one who sums them up: what ended may be 100,000, and changes no more.
        """
        changed = self._ledger.changed
        count = len(changed) if most is None else min(most, len(changed))
        keys = [changed.popitem()[0] for _ in range(count)]
        return tuple([self._ledger.positions[key] for key in keys])

    def newest(self) -> Iterator[Position]:
        """Yield every position, the entry that started last first."""
        for intent in reversed(self._ledger.starts):
            yield self._ledger.positions[intent.position_id]

    @property
    def ended(self) -> Ended:
        """Those that are final, by what is asked of them."""
        return self._ledger.ended

    def unknown_order_ids(self, symbol: str | None = None) -> tuple[str, ...]:
        """Return the orders whose outcome is not proven, of one symbol or of all."""
        return tuple(
            key
            for position in self._ledger.live.values()
            if symbol in (None, position.symbol) and not position.is_settled
            for key in position.unresolved()
        )

    def _take(self, events: Sequence[ev.Event]) -> None:
        if self._since is not None:
            self._since += [e for e in events if isinstance(e, _ENGINE_EVENTS)]
        # Once each, in the order of the events: they are told so, and alike in every run.
        for position_id in dict.fromkeys(self._ledger.take(event) for event in events):
            if position_id is not None:
                # A view takes longer than the decision it would hold up.
                self._later(partial(self.tell, self._ledger.positions[position_id]))
