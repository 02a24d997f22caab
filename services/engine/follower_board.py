"""What the scanner offers now, as the engine heard it, and whether it may still be acted upon."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

from services.engine.follower_offer import Offer

MAX_OFFERS = 20_000
"""Offers and last revisions that are kept; a scanner that sends more loses the oldest."""


class OfferBoard:
    """Offers by id with their newest revisions; nothing stands while the stream is not whole.

    An offer stands when the stream is caught up, its revision is the newest that was ever heard,
    and it is neither past its expiry by the wall clock nor older than its lifetime or `max_age` by
    the monotonic clock.
    """

    def __init__(self, max_age: timedelta) -> None:
        self._max_age = max_age
        self._offers: dict[str, Offer] = {}
        self._revisions: OrderedDict[str, int] = OrderedDict()
        self._seen: set[str] | None = None
        self.caught_up = False
        """Whether the snapshot or replay of the present stream is complete."""
        self.ever_caught_up = False
        """Whether any stream of this process was complete: before, an absent offer says nothing."""

    def connected(self, *, resumed: bool) -> None:
        """Take note of a new stream; without a token its snapshot will name all that stands."""
        self.caught_up = False
        self._seen = None if resumed else set()

    def dropped(self) -> None:
        """Take note that the stream ended: nothing may be acted upon until it is whole again."""
        self.caught_up = False

    def upsert(self, offer: Offer) -> bool:
        """Take an offer; False where a newer or the same revision was heard before."""
        if self._seen is not None:
            self._seen.add(offer.opportunity_id)
        known = self._revisions.get(offer.opportunity_id, 0)
        if offer.revision < known:
            return False
        held = self._offers.get(offer.opportunity_id)
        # Told again it is no younger: its age counts from the first time it was heard.
        if held is not None and held.revision == offer.revision:
            return False
        self._offers[offer.opportunity_id] = offer
        self._remember(offer.opportunity_id, offer.revision)
        return True

    def removed(self, opportunity_id: str) -> None:
        """Forget an offer; a late copy of it stays refused by its revision."""
        self._offers.pop(opportunity_id, None)

    def complete(self) -> None:
        """Take the caught-up marker: what a snapshot did not name does not stand any more."""
        if self._seen is not None:
            self._offers = {key: o for key, o in self._offers.items() if key in self._seen}
            self._seen = None
        self.caught_up = self.ever_caught_up = True

    def get(self, opportunity_id: str) -> Offer | None:
        """Return an offer as it was heard last, standing or not."""
        return self._offers.get(opportunity_id)

    def all(self) -> tuple[Offer, ...]:
        """Return every offer as it was heard last."""
        return tuple(self._offers.values())

    def problem(self, offer: Offer, now: datetime, monotonic: float) -> str:
        """Return why an offer must not be acted upon; empty where it may."""
        if not self.caught_up:
            return "STREAM_DOWN"
        if self._revisions.get(offer.opportunity_id, 0) != offer.revision:
            return "SUPERSEDED"
        if offer.opportunity_id not in self._offers:
            return "WITHDRAWN"
        age = monotonic - offer.heard_at
        if now >= offer.expire_time or age >= offer.lifetime.total_seconds():
            return "EXPIRED"
        return "TOO_OLD" if age >= self._max_age.total_seconds() else ""

    def _remember(self, opportunity_id: str, revision: int) -> None:
        self._revisions[opportunity_id] = revision
        self._revisions.move_to_end(opportunity_id)
        while len(self._revisions) > MAX_OFFERS:
            oldest, _ = self._revisions.popitem(last=False)
            self._offers.pop(oldest, None)
