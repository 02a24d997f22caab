"""Room for calls: bounds of each principal, the exits' reserve, calls that owe their request."""

from __future__ import annotations

from functools import partial

import pytest

from services.common.admission import Admission, EntryRoom, Quotas, Ticket
from services.common.errors import RetryableError
from services.common.principals import ANYBODY, LOCAL, Principal
from services.common.scopes import Lane

ONE, OTHER = Principal("one", frozenset()), Principal("other", frozenset())
SMALL = Quotas(calls=2, streams=1, exits=1)


def enter(
    admission: Admission,
    who: Principal = ONE,
    lane: Lane = Lane.COMMON,
    *,
    is_stream: bool = False,
) -> Ticket:
    """Arrive and be admitted; raises RetryableError when there is no room."""
    ticket = admission.arrive(who, lambda: None)
    try:
        admission.admit(ticket, lane, is_stream=is_stream)
    except RetryableError:
        admission.leave(ticket)
        raise
    return ticket


def test_calls_beyond_the_bound_are_refused_until_one_ends() -> None:
    """The reason is CALL_LIMIT_REACHED; a place given back twice is one place."""
    admission = Admission(SMALL)
    first, _ = enter(admission), enter(admission)
    with pytest.raises(RetryableError) as caught:
        enter(admission)
    assert caught.value.reason == "CALL_LIMIT_REACHED"
    admission.leave(first)
    admission.leave(first)
    enter(admission)
    with pytest.raises(RetryableError):
        enter(admission)


def test_exits_have_room_when_the_common_part_is_full() -> None:
    """Only they, only in their own reserve, and only as many as it has."""
    admission = Admission(SMALL)
    _held = [enter(admission), enter(admission)]
    leave = enter(admission, lane=Lane.EXIT)
    with pytest.raises(RetryableError):
        enter(admission, lane=Lane.EXIT)
    admission.leave(leave)
    enter(admission, lane=Lane.EXIT)
    with pytest.raises(RetryableError):
        enter(admission)


def test_no_principal_uses_the_room_of_another() -> None:
    """One that has filled everything leaves the other all of its own."""
    admission = Admission(SMALL)
    for lane in (Lane.COMMON, Lane.COMMON, Lane.EXIT):
        enter(admission, lane=lane)
    for lane in (Lane.COMMON, Lane.COMMON, Lane.EXIT):
        enter(admission, OTHER, lane)


def test_streams_are_counted_beside_calls() -> None:
    """A full shelf of streams leaves calls their room; a stream of orders may use the reserve."""
    admission = Admission(SMALL)
    enter(admission, is_stream=True)
    with pytest.raises(RetryableError, match="too many streams"):
        enter(admission, is_stream=True)
    enter(admission)
    enter(admission, lane=Lane.BY_REQUEST, is_stream=True)


def test_orders_of_a_stream_take_room_as_calls_do() -> None:
    """Entries fill the common part and are refused; exits go on in the reserve; all give back."""
    admission = Admission(SMALL)
    room = EntryRoom(admission, ONE)
    held = [room.enter(Lane.COMMON), room.enter(Lane.COMMON)]
    with pytest.raises(RetryableError) as caught:
        room.enter(Lane.COMMON)
    assert caught.value.reason == "CALL_LIMIT_REACHED"
    with pytest.raises(RetryableError):
        enter(admission)
    held.append(room.enter(Lane.EXIT))
    with pytest.raises(RetryableError):
        room.enter(Lane.EXIT)
    EntryRoom(admission, OTHER).enter(Lane.COMMON)
    for ticket in held:
        room.leave(ticket)
    assert [room.enter(lane).place for lane in (Lane.EXIT, Lane.COMMON)] == ["calls", "calls"]


def test_a_newcomer_displaces_the_oldest_that_owes_its_request() -> None:
    """Calls that never send keep out nobody."""
    admission = Admission(SMALL)
    ended: list[str] = []
    tickets = {name: admission.arrive(ONE, partial(ended.append, name)) for name in "abcd"}
    assert ended == ["a", "b"]
    assert [name for name, ticket in tickets.items() if ticket.is_displaced] == ["a", "b"]
    admission.admit(tickets["c"], Lane.COMMON, is_stream=False)
    admission.arrive(ONE, lambda: None)
    assert ended == ["a", "b"]


def test_the_bound_over_all_leaves_exits_and_probes_alone() -> None:
    """One common call at work in all: entries wait, exits and health do not."""
    admission = Admission(Quotas(calls=2, streams=1, exits=1, total=1))
    held = enter(admission)
    with pytest.raises(RetryableError):
        enter(admission, OTHER)
    enter(admission, OTHER, Lane.EXIT)
    enter(admission, ANYBODY)
    admission.leave(held)
    enter(admission, LOCAL)
