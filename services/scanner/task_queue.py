"""Which task goes next: by priority, then the venue served longest ago, never above a bound.

Pure bookkeeping; who runs the tasks tells it what it took and what ended.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from services.scanner.task_runner import TaskPriority

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

# An item is its own key, by identity or by value; the same one cannot wait twice in one place.
ItemT = TypeVar("ItemT", bound="Hashable")


class TaskQueue(Generic[ItemT]):
    """Bounded: `capacity` places, shared evenly by venues and priorities, at least one each.

    Shares, because a backlog of one venue must not keep the tasks of another out, nor those that
    can wait the urgent ones.
    """

    def __init__(self, capacity: int, bounds: Mapping[str, int]) -> None:
        self._bounds = dict(bounds)
        self._share = max(1, capacity // (len(bounds) * len(TaskPriority)))
        self._running = dict.fromkeys(bounds, 0)
        # In each priority the venue served longest ago is first. Ordered dictionaries, because an
        # item leaves from the middle when it is cancelled.
        self._lanes: dict[TaskPriority, OrderedDict[str, OrderedDict[ItemT, None]]] = {
            priority: OrderedDict((venue, OrderedDict()) for venue in bounds)
            for priority in TaskPriority
        }

    def set_bounds(self, bounds: Mapping[str, int]) -> None:
        """Take new bounds of the same venues; what runs above a lower one runs to its end."""
        self._bounds = dict(bounds)

    def has_room(self, venue: str, priority: TaskPriority) -> bool:
        """Tell whether one more item of the venue may wait at that priority."""
        return len(self._lanes[priority][venue]) < self._share

    def put(self, item: ItemT, venue: str, priority: TaskPriority) -> None:
        """Add an item behind its equals; ask `has_room` first, KeyError for an unknown venue."""
        self._lanes[priority][venue][item] = None

    def take(self) -> ItemT | None:
        """Return the next item and count it as running, or None when none may run."""
        for priority, lanes in self._lanes.items():
            for venue, lane in lanes.items():
                if lane and self._running[venue] < self._most(venue, priority):
                    item, _ = lane.popitem(last=False)
                    self._running[venue] += 1
                    lanes.move_to_end(venue)
                    return item
        return None

    def _most(self, venue: str, priority: TaskPriority) -> int:
        bound = self._bounds[venue]
        # What nobody waits for leaves half of the venue to what somebody may ask for at any moment.
        return max(1, bound // 2) if priority is TaskPriority.AHEAD else bound

    def release(self, venue: str) -> None:
        """Count one running item of the venue as ended."""
        self._running[venue] -= 1

    def remove(self, item: ItemT, venue: str, priority: TaskPriority) -> bool:
        """Take out an item that waits; False when it does not wait here (any more)."""
        lane = self._lanes[priority][venue]
        if item not in lane:
            return False
        del lane[item]
        return True

    def waiting_count(self, venue: str) -> int:
        """Return how many items of the venue wait."""
        return sum(len(lanes[venue]) for lanes in self._lanes.values())

    def running_count(self, venue: str) -> int:
        """Return how many items of the venue were taken and not released."""
        return self._running[venue]
