"""Events of watch streams as bytes: each revision is encoded once, not once for each subscriber."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import scanner_pb2
from services.common.watch_hub import CaughtUp, Heartbeat, Removed, Upsert
from services.scanner.codec import encode_event, encode_opportunity

if TYPE_CHECKING:
    from datetime import datetime

    from services.scanner.opportunity import Opportunity


class EncodedEvents:
    """Encodes events and keeps the bytes of the last `capacity` opportunities.

    A reply is the bytes of the opportunity after those of the token: the fields of a protobuf
    message may stand one after the other however they were encoded (protobuf.dev, "Encoding": the
    concatenation of two messages is their merger).
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._upserts: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def encode(
        self, event: Upsert[Opportunity] | Removed | CaughtUp | Heartbeat, now: datetime
    ) -> bytes:
        """Return a `WatchOpportunitiesResponse` in its wire form."""
        if not isinstance(event, Upsert):
            return encode_event(event, now).SerializeToString()
        token = scanner_pb2.WatchOpportunitiesResponse(resume_token=event.token)
        return token.SerializeToString() + self._upsert(event.key, event.resource)

    def _upsert(self, name: str, opportunity: Opportunity) -> bytes:
        revision = opportunity.revision
        known = self._upserts.get(name)
        if known is not None and known[0] == revision:
            return known[1]
        message = scanner_pb2.WatchOpportunitiesResponse(upsert=encode_opportunity(opportunity))
        encoded = message.SerializeToString()
        self._upserts[name] = (revision, encoded)
        # The one encoded longest ago: a subscriber far behind costs an encoding, never memory.
        while len(self._upserts) > self._capacity:
            self._upserts.popitem(last=False)
        return encoded
