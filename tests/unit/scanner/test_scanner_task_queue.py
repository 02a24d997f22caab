"""Which task goes next: bounds, priorities and fairness, over many orders of events."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scanner.task_queue import TaskQueue
from services.scanner.task_runner import TaskPriority
from services.scanner.venue_bounds import even_bound, venue_bounds

VENUES = ("a", "b", "c")
Item = tuple[int, str, TaskPriority]

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(VENUES), st.sampled_from(TaskPriority)),
        st.tuples(st.just("take"), st.just(""), st.just(TaskPriority.SCAN)),
        st.tuples(st.just("release"), st.sampled_from(VENUES), st.just(TaskPriority.SCAN)),
        st.tuples(st.just("remove"), st.sampled_from(VENUES), st.sampled_from(TaskPriority)),
    ),
    max_size=200,
)
BOUNDS = st.fixed_dictionaries({venue: st.integers(1, 3) for venue in VENUES})


class Ledger:
    """A queue and a plain account of what must be in it."""

    def __init__(self, capacity: int, bounds: dict[str, int]) -> None:
        self.queue: TaskQueue[Item] = TaskQueue(capacity, bounds)
        self.share = max(1, capacity // 9)
        self.bounds = bounds
        self.waiting: list[Item] = []
        self.running: list[Item] = []
        # Venues never served go in the order of the settings, which is that of the bounds.
        self.last_served = {
            (venue, priority): place - len(bounds)
            for place, venue in enumerate(bounds)
            for priority in TaskPriority
        }
        self.numbers, self.turns = count(), count()

    def lane(self, venue: str, priority: TaskPriority) -> list[Item]:
        """Return what waits of a venue at a priority, the oldest first."""
        return [item for item in self.waiting if item[1:] == (venue, priority)]

    def put(self, venue: str, priority: TaskPriority) -> None:
        """Add an item where there is room; there is room up to the share."""
        has_room = self.queue.has_room(venue, priority)
        assert has_room == (len(self.lane(venue, priority)) < self.share)
        if has_room:
            item = (next(self.numbers), venue, priority)
            self.queue.put(item, venue, priority)
            self.waiting.append(item)

    def most(self, item: Item) -> int:
        """Return how many of its venue may run beside and with an item."""
        bound = self.bounds[item[1]]
        return max(1, bound // 2) if item[2] is TaskPriority.AHEAD else bound

    def take(self) -> None:
        """Take the next item; it must be the one the rule names."""
        may_run = [
            item
            for item in self.waiting
            if sum(each[1] == item[1] for each in self.running) < self.most(item)
        ]
        expected = min(
            may_run,
            key=lambda item: (item[2], self.last_served[item[1:]], item[0]),
            default=None,
        )
        taken = self.queue.take()
        assert taken == expected
        if taken is not None:
            self.waiting.remove(taken)
            self.running.append(taken)
            self.last_served[taken[1:]] = next(self.turns)

    def release(self, venue: str) -> None:
        """End one running item of the venue, if there is one."""
        item = next((each for each in self.running if each[1] == venue), None)
        if item is not None:
            self.running.remove(item)
            self.queue.release(venue)

    def remove(self, venue: str, priority: TaskPriority) -> None:
        """Cancel the newest item that waits there; one that does not wait is not removed."""
        gone = (-1, venue, priority)
        assert not self.queue.remove(gone, venue, priority)
        lane = self.lane(venue, priority)
        if lane:
            assert self.queue.remove(lane[-1], venue, priority)
            self.waiting.remove(lane[-1])


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, bounds=BOUNDS, capacity=st.integers(1, 40))
def test_queue_follows_its_rule_whatever_happens(
    events: list[tuple[str, str, TaskPriority]], bounds: dict[str, int], capacity: int
) -> None:
    """Priority, then the venue served longest ago, then age; bounds and shares always hold."""
    ledger = Ledger(capacity, bounds)
    for event, venue, priority in events:
        match event:
            case "put":
                ledger.put(venue, priority)
            case "take":
                ledger.take()
            case "release":
                ledger.release(venue)
            case _:
                ledger.remove(venue, priority)
        for each in VENUES:
            assert ledger.queue.waiting_count(each) == sum(w[1] == each for w in ledger.waiting)
            assert ledger.queue.running_count(each) == sum(r[1] == each for r in ledger.running)
            assert ledger.queue.running_count(each) <= bounds[each]


def test_venues_take_turns_within_a_priority() -> None:
    """A long backlog of one venue delays another's task by one turn at most."""
    queue: TaskQueue[str] = TaskQueue(90, {"a": 9, "b": 9, "c": 9})
    for number in range(9):
        queue.put(f"a{number}", "a", TaskPriority.SCAN)
    for venue in ("b", "c"):
        queue.put(f"{venue}0", venue, TaskPriority.SCAN)
    assert [queue.take() for _ in range(5)] == ["a0", "b0", "c0", "a1", "a2"]
    queue.put("b1", "b", TaskPriority.SCAN)
    assert queue.take() == "b1"


def test_lower_bound_lets_what_runs_end_first() -> None:
    """After a bound sank below what runs, nothing starts until enough has ended."""
    queue: TaskQueue[int] = TaskQueue(90, {"a": 3})
    for number in range(5):
        queue.put(number, "a", TaskPriority.SCAN)
    assert [queue.take() for _ in range(4)] == [0, 1, 2, None]
    queue.set_bounds({"a": 1})
    queue.release("a")
    queue.release("a")
    assert queue.take() is None
    queue.release("a")
    assert queue.take() == 3


def test_what_nobody_waits_for_leaves_half_of_a_venue() -> None:
    """Readings ahead of need never hold every place: the next task of a scan goes out at once."""
    queue: TaskQueue[str] = TaskQueue(90, {"a": 4, "b": 1})
    for name in ("early 1", "early 2", "early 3"):
        queue.put(name, "a", TaskPriority.AHEAD)
    queue.put("lone", "b", TaskPriority.AHEAD)
    assert {queue.take() for _ in range(3)} == {"early 1", "early 2", "lone"}
    assert queue.take() is None
    for name in ("scan 1", "scan 2"):
        queue.put(name, "a", TaskPriority.SCAN)
    assert [queue.take() for _ in range(3)] == ["scan 1", "scan 2", None]


@pytest.mark.parametrize(
    ("workers", "venues", "bound"),
    [(8, 1, 8), (8, 2, 6), (8, 3, 3), (16, 3, 7), (64, 2, 48), (3, 2, 2), (1, 2, 1), (8, 10, 1)],
)
def test_even_bound_leaves_workers_for_every_venue(workers: int, venues: int, bound: int) -> None:
    """All other venues at their bounds leave half of an even share, where there are workers."""
    assert even_bound(workers, venues) == bound
    if workers >= venues:
        assert workers - bound * (venues - 1) >= min(1, workers // (2 * venues))


def test_bounds_told_stand_beside_even_ones() -> None:
    """A venue without a word of its own gets the even bound."""
    assert venue_bounds(["a", "b"], {"b": 20}, 8) == {"a": 6, "b": 20}
