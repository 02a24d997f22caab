"""Which of several scanners on one prefix may publish: the one whose word stands on one subject.

The word is kept by the server for `lease_seconds` and said again meanwhile. JetStream stores it
under the condition that the subject's last message is the one we know of, so two scanners never
hold it together: header `Nats-Expected-Last-Subject-Sequence`, docs.nats.io, "JetStream headers".
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.common.clock import Clock
    from services.scanner.nats_link import NatsLink
    from services.scanner.nats_names import NatsNames

LEASE_SECONDS = 6.0
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_WRONG_LAST_SEQUENCE = 10071
# Of the lease: what its holder counts on less than the server grants it.
_SAFE_SHARE = 0.7


class NatsLease:
    """The right to publish, taken when there is something to publish and given back after.

    `is_wanted` tells whether there still is.
    """

    def __init__(
        self,
        link: NatsLink,
        names: NatsNames,
        owner: str,
        clock: Clock,
        *,
        is_wanted: Callable[[], bool],
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._link = link
        self._stream = names.stream("publisher")
        self._subject = names.publisher()
        self._owner = owner.encode()
        self._clock = clock
        self._is_wanted = is_wanted
        self._lease_seconds = lease_seconds
        self._sequence = 0
        self._until = 0.0

    @property
    def is_mine(self) -> bool:
        """Whether nobody else may publish now."""
        return self._clock.monotonic() < self._until

    async def prepare(self) -> None:
        """Have the stream; raise UnreachableError QUEUE_UNREACHABLE as other requests do."""
        await self._link.add_stream(
            StreamConfig(
                name=self._stream,
                subjects=[self._subject],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                max_age=self._lease_seconds,
                max_msgs_per_subject=1,
                duplicate_window=self._lease_seconds,
            )
        )

    async def run(self) -> None:
        """Keep the lease while it is wanted until cancelled; then give it back."""
        try:
            while True:
                await self._clock.sleep(self._lease_seconds / 3)
                if self._is_wanted():
                    if self.is_mine:
                        await self.take()
                else:
                    await self._give_back()
        finally:
            await self._give_back()

    async def take(self) -> bool:
        """Take the lease or prolong it; False when it is another's or no server answers."""
        # Counted from before the question: the server cannot have begun earlier.
        until = self._clock.monotonic() + self._lease_seconds * _SAFE_SHARE
        try:
            headers = {_EXPECTED: str(self._sequence)}
            stored = await self._link.streams.publish(self._subject, self._owner, headers=headers)
            self._sequence = stored.seq
        except APIError as error:
            if error.err_code == _WRONG_LAST_SEQUENCE:
                await self._look_who_has_it()
            return False
        except (NatsError, OSError, TimeoutError):
            # Whether it was stored is not known; what we had runs out by itself.
            return False
        self._until = until
        return True

    async def _look_who_has_it(self) -> None:
        """Find from where to take it next: after our own word, or once nobody's stands."""
        self._until, self._sequence = 0.0, 0
        with suppress(NatsError, OSError, TimeoutError):
            last = await self._link.streams.get_last_msg(self._stream, self._subject)
            if last.data == self._owner and last.seq is not None:
                self._sequence = last.seq

    async def _give_back(self) -> None:
        if self.is_mine:
            self._until, self._sequence = 0.0, 0
            with suppress(NatsError, OSError, TimeoutError):
                await self._link.streams.purge_stream(self._stream, subject=self._subject)
