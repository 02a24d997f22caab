"""Which opportunities stand: revisions, snapshots, replays, drops and two clocks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.engine.follower_board import OfferBoard
from tests.support.strategy_cases import make_offer
from tests.support.virtual_clock import START

MINUTE = timedelta(minutes=1)


def board(*names: str) -> OfferBoard:
    """Return a board that is caught up with these offers."""
    made = OfferBoard(timedelta(seconds=50))
    made.connected(resumed=False)
    for name in names:
        made.upsert(make_offer(name))
    made.complete()
    return made


@pytest.mark.parametrize(
    ("wall", "monotonic", "problem"),
    [
        (0, 0, ""),
        (59, 0, ""),
        (60, 0, "EXPIRED"),
        # The wall clock was set back: the engine's own clock still counts.
        (-3600, 60, "EXPIRED"),
        (-3600, 50, "TOO_OLD"),
        (0, 49.9, ""),
    ],
)
def test_offer_expires_by_either_clock(wall: float, monotonic: float, problem: str) -> None:
    """No step of the wall clock prolongs an offer past its lifetime or the largest age."""
    offer = make_offer()
    now = START + timedelta(seconds=wall)
    assert board("one").problem(offer, now, monotonic) == problem


def test_nothing_stands_before_the_snapshot_is_whole_or_after_a_drop() -> None:
    """Between connecting and the caught-up marker, and from a drop on, every offer is stale."""
    made, offer = board("one"), make_offer()
    made.dropped()
    assert made.problem(offer, START, 0) == "STREAM_DOWN"
    made.connected(resumed=True)
    assert made.problem(offer, START, 0) == "STREAM_DOWN"
    made.complete()
    assert made.problem(offer, START, 0) == ""


def test_snapshot_names_all_that_stands_and_a_replay_does_not() -> None:
    """What a new snapshot leaves out is gone; what a replay leaves out is unchanged."""
    made = board("one", "two")
    made.connected(resumed=True)
    made.complete()
    assert {o.opportunity_id for o in made.all()} == {"one", "two"}
    made.connected(resumed=False)
    made.upsert(make_offer("two"))
    made.complete()
    assert {o.opportunity_id for o in made.all()} == {"two"}
    assert made.problem(make_offer("one"), START, 0) == "WITHDRAWN"


def test_older_revisions_are_refused_for_ever() -> None:
    """A replayed or overtaken copy changes nothing, not even after the offer was withdrawn."""
    made = board("one")
    assert made.upsert(make_offer(revision=9))
    assert not made.upsert(make_offer(revision=8))
    assert made.problem(make_offer(revision=7), START, 0) == "SUPERSEDED"
    made.removed("one")
    assert not made.upsert(make_offer(revision=8))
    assert made.all() == ()
    assert made.upsert(make_offer(revision=10))


def test_told_again_is_no_younger() -> None:
    """The same revision in a later snapshot keeps the age of the first time it was heard."""
    made = board("one")
    assert not made.upsert(make_offer(heard_at=40.0))
    held = made.get("one")
    assert held is not None
    assert made.problem(held, START, 55.0) == "TOO_OLD"
