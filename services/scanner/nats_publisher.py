"""Puts every change of the published opportunities on a subject, for whoever wants them.

The body is the contract's `Opportunity`; a removal has an empty body and says so in a header. The
stream keeps the last word of each subject, so that a late reader gets what stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.errors import OpensqtError, RejectedError, UnreachableError
from services.common.logs import get_logger
from services.common.watch_hub import CaughtUp, Removed, Upsert
from services.scanner.codec import encode_opportunity
from services.scanner.nats_names import EVENT, REVISION

if TYPE_CHECKING:
    from services.common.clock import Clock
    from services.common.watch_hub import Heartbeat, WatchHub
    from services.scanner.nats_lease import NatsLease
    from services.scanner.nats_link import NatsLink
    from services.scanner.nats_names import NatsNames
    from services.scanner.opportunity import Opportunity
    from services.scanner.queue_metrics import QueueMetrics

_RESTART_SECONDS = 1.0
_log = get_logger(__name__)


class NatsPublisher:
    """One more reader of the hub, whose words go to NATS while the lease is ours.

    While it is another's, what stands is offered again and again: readers see one scanner's list,
    never two mixed.
    """

    def __init__(
        self,
        link: NatsLink,
        names: NatsNames,
        hub: WatchHub[Opportunity],
        lease: NatsLease,
        clock: Clock,
        metrics: QueueMetrics,
    ) -> None:
        self._link = link
        self._names = names
        self._hub = hub
        self._lease = lease
        self._clock = clock
        self._metrics = metrics
        self._standing: set[str] = set()
        self._problem = ""

    async def run(self) -> None:
        """Publish until cancelled or the hub closes; after an outage, all that stands anew."""
        while True:
            try:
                await self._follow()
            except OpensqtError as error:
                if error.reason == "SHUTTING_DOWN":
                    return
                # Once for as long as it lasts: this loop comes by every second.
                if str(error) != self._problem:
                    self._problem = str(error)
                    _log.warning("opportunities_not_published", problem=self._problem)
            await self._clock.sleep(_RESTART_SECONDS)

    async def _follow(self) -> None:
        shown: set[str] | None = set()
        async for event in self._hub.watch(b"", lambda _: True):
            if isinstance(event, CaughtUp) and shown is not None:
                # Removed while nobody here was reading.
                for key in self._standing - shown:
                    await self._remove(key)
                shown = None
            elif isinstance(event, Upsert) and shown is not None:
                shown.add(event.key)
            await self._tell(event)

    async def _tell(self, event: Upsert[Opportunity] | Removed | CaughtUp | Heartbeat) -> None:
        match event:
            case Upsert():
                await self._put(event.key, event.resource)
            case Removed():
                await self._remove(event.key)
            case _:
                return

    async def _put(self, key: str, opportunity: Opportunity) -> None:
        body = encode_opportunity(opportunity).SerializeToString()
        headers = {EVENT: "upsert", REVISION: str(opportunity.revision)}
        await self._publish(key, body, headers)
        self._standing.add(key)

    async def _remove(self, key: str) -> None:
        await self._publish(key, b"", {EVENT: "removed"})
        self._standing.discard(key)

    async def _publish(self, key: str, body: bytes, headers: dict[str, str]) -> None:
        outage = self._link.outage
        if outage is not None:
            raise UnreachableError(outage.message, reason=outage.reason)
        if not self._link.is_up:
            raise UnreachableError("the server is away", reason="QUEUE_UNREACHABLE")
        if not self._lease.is_mine and not await self._lease.take():
            raise RejectedError(
                "another scanner publishes under this prefix", reason="PUBLISHED_ELSEWHERE"
            )
        await self._link.publish(self._names.opportunity(key), body, headers)
        self._problem = ""
        self._metrics.published.labels(headers[EVENT]).inc()
