"""A set that keeps the order of arrival."""

from __future__ import annotations

from services.common.ordered_set import OrderedSet


def test_it_is_gone_through_in_order_of_arrival() -> None:
    """What is added again keeps its place; what was taken out goes to the end."""
    items = OrderedSet("cab")
    items.add("c")
    items.discard("a")
    items.discard("nothing")
    items.add("a")
    assert list(items) == ["c", "b", "a"]
    assert (len(items), "b" in items, "x" in items) == (3, True, False)
