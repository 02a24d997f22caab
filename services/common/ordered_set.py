"""A set that is gone through in the order in which things were added."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, MutableSet
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


class OrderedSet(MutableSet[T]):
    """A set in order of arrival.

    A plain set of objects is ordered by where they lie in memory: whoever is woken or cancelled
    out of one is so in another order in another run, and a simulated run could not be repeated.
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items: dict[T, None] = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        """Whether it is in."""
        return item in self._items

    def __iter__(self) -> Iterator[T]:
        """Go through all, the oldest first."""
        return iter(self._items)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._items)

    def add(self, value: T) -> None:
        """Put it in; one that is in already keeps its place."""
        self._items[value] = None

    def discard(self, value: T) -> None:
        """Take it out where it is in."""
        self._items.pop(value, None)
