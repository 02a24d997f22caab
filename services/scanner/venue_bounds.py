"""How many tasks of one venue may run at once, so that no venue can hold every worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


MAX_WORKERS = 256
"""More would only wait: no venue takes as many requests at once from one account."""


def even_bound(worker_count: int, venue_count: int) -> int:
    """Return the most workers a venue may hold where its settings say nothing.

    However many of the other venues hang, half of its even share of the workers, and one at the
    least, is left for each venue: (workers - kept) / (venues - 1). A lone venue has them all. With
    fewer workers than venues nothing can be kept, and each venue gets one.
    """
    if venue_count <= 1:
        return worker_count
    kept = max(1, worker_count // (2 * venue_count))
    return max(1, (worker_count - kept) // (venue_count - 1))


def venue_bounds(
    venues: Sequence[str], told: Mapping[str, int], worker_count: int
) -> dict[str, int]:
    """Return the bound of each venue: the one told, else the even one for that many workers."""
    even = even_bound(worker_count, len(venues))
    return {venue: told.get(venue, even) for venue in venues}
