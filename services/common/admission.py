"""Room for calls: each principal has its own, and its exits a reserve beyond it.

A call first owes its request. Those that owe one stand on a shelf of bounded length, and a
newcomer displaces the oldest there: calls that never send cannot keep out those that do. With the
request in hand the call takes room in its principal's common part or, when that is full and the
call reduces exposure, in the principal's reserve. No principal uses the room of another. Each
order inside a stream of them takes room as a call of its own would.
"""

from __future__ import annotations

from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from services.common.errors import RetryableError
from services.common.principals import ANYBODY, Principal
from services.common.scopes import Lane

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Quotas:
    """Bounds of one principal, and one over all: `total` counts common calls of everybody."""

    calls: int
    streams: int
    exits: int
    total: int | None = None


# Not frozen: it counts.
@dataclass(slots=True, eq=False)
class _Room:
    """What one principal uses."""

    calls: int = 0
    streams: int = 0
    exits: int = 0
    owing: OrderedDict[Ticket, None] = field(default_factory=OrderedDict)


# Not frozen: it follows its call.
@dataclass(slots=True, eq=False)
class Ticket:
    """The place of one call; `displace` ends it while it still owes its request."""

    principal: Principal
    displace: Callable[[], object]
    is_displaced: bool = False
    place: str = ""


class Admission:
    """Gives and takes back places; all its methods are quick and wait for nothing."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        # Bounded by the settings: a caller without a configured name never gets a room.
        self._rooms: dict[str, _Room] = {}
        self._total = 0

    def arrive(self, principal: Principal, displace: Callable[[], object]) -> Ticket:
        """Put a call that owes its request on the shelf, displacing the oldest when it is full."""
        room = self._rooms.setdefault(principal.name, _Room())
        if len(room.owing) >= self._quotas.calls:
            oldest, _ = room.owing.popitem(last=False)
            oldest.is_displaced = True
            oldest.displace()
        ticket = Ticket(principal, displace)
        room.owing[ticket] = None
        return ticket

    def admit(self, ticket: Ticket, lane: Lane, *, is_stream: bool) -> None:
        """Give the call a place to work in; RetryableError when its principal has none left."""
        room = self._rooms[ticket.principal.name]
        room.owing.pop(ticket, None)
        place = "streams" if is_stream else "calls"
        used, bound = getattr(room, place), getattr(self._quotas, place)
        if used < bound and not self._is_full(ticket):
            self._total += _counts(ticket)
        elif lane is not Lane.COMMON and room.exits < self._quotas.exits:
            place = "exits"
        else:
            raise RetryableError(
                f"too many {place} at once by {ticket.principal.name}; wait for some to end",
                reason="CALL_LIMIT_REACHED",
            )
        setattr(room, place, getattr(room, place) + 1)
        ticket.place = place

    def enter(self, principal: Principal, lane: Lane) -> Ticket:
        """Give one order inside a stream a place to work in, as `admit` does for a call."""
        self._rooms.setdefault(principal.name, _Room())
        ticket = Ticket(principal, _stay)
        self.admit(ticket, lane, is_stream=False)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Take the place back, whichever it was; a second time does nothing."""
        room = self._rooms[ticket.principal.name]
        room.owing.pop(ticket, None)
        if ticket.place:
            setattr(room, ticket.place, getattr(room, ticket.place) - 1)
            self._total -= _counts(ticket) and ticket.place != "exits"
            ticket.place = ""

    def _is_full(self, ticket: Ticket) -> bool:
        total = self._quotas.total
        return total is not None and _counts(ticket) and self._total >= total


@dataclass(frozen=True, slots=True)
class EntryRoom:
    """The room of the principal whose stream of orders this is."""

    admission: Admission
    principal: Principal

    def enter(self, lane: Lane) -> Ticket:
        """Take a place for one order; RetryableError when its principal has none left."""
        return self.admission.enter(self.principal, lane)

    def leave(self, ticket: Ticket) -> None:
        """Give the place back."""
        self.admission.leave(ticket)


ENTRY_ROOM: Final[ContextVar[EntryRoom | None]] = ContextVar("entry_room", default=None)
"""Set for the handler of a stream of orders; None where no interceptor counts."""


def _stay() -> None:
    """An order owes no request, so nothing displaces it."""


def _counts(ticket: Ticket) -> bool:
    # Probes of health must be answered most of all when everything is full.
    return ticket.principal is not ANYBODY
