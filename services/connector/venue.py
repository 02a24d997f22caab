"""One venue account as the rest of the connector sees it: ccxt instances, instruments, budget."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from services.common.errors import AuthError, Code, UnimplementedError
from services.connector.ccxt_lean import errors as ccxt_errors
from services.connector.instruments import InstrumentKind
from services.connector.outcome import RATE_LIMITED_STATUSES
from services.connector.profile import Priority
from services.connector.rate_budget import CALL_PRIORITY
from services.connector.rate_queue import let_others_send
from services.connector.venue_errors import VenueAnswerError, to_read_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    from services.common.clock import Clock
    from services.connector.instruments import InstrumentBook
    from services.connector.profile import Fence, VenueProfile
    from services.connector.rate_budget import RateBudget

T = TypeVar("T")


class RequestObserver(Protocol):
    """Who counts requests to the venue."""

    def count_request(self, endpoint_class: str, outcome: RequestOutcome, seconds: float) -> None:
        """Count one request that left, how it ended and how long it took."""
        ...


class RequestOutcome(StrEnum):
    """How a request to the venue ended: the label of its metric."""

    ANSWERED = "answered"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    VENUE_ERROR = "venue_error"
    NO_ANSWER = "no_answer"
    CANCELLED = "cancelled"


# Not frozen: tests and the reloading of markets may exchange parts of it.
@dataclass(slots=True)
class Venue:
    """What a reader or a desk needs to speak with the venue.

    `code` is ccxt's id, `name` what GetName answers. `exchange` is the ccxt instance for data and
    streams, `trading` the one for orders: both share markets and nothing else. Values that ccxt
    returns are text (`number=str`); turn them into Decimal at the border. `fence` is the settings'
    own or the profile's (None: the venue has none), `clock_skew` the venue's clock less ours as
    last measured.
    """

    code: str
    name: str
    kind: InstrumentKind
    exchange: Any
    trading: Any
    instruments: InstrumentBook
    budget: RateBudget
    clock: Clock
    profile: VenueProfile
    fence: Fence | None
    clock_skew: timedelta | None = None
    observer: RequestObserver | None = None

    @property
    def is_perpetual(self) -> bool:
        """Whether the account trades perpetuals."""
        return self.kind is InstrumentKind.PERPETUAL

    def skew_seconds(self) -> float:
        """Return the venue's clock less ours; NaN before the first reading."""
        return float("nan") if self.clock_skew is None else self.clock_skew.total_seconds()

    def require_perpetual(self, what: str) -> None:
        """Raise UnimplementedError (reason NOT_ON_SPOT) unless the account trades perpetuals."""
        if not self.is_perpetual:
            raise UnimplementedError(f"spot has no {what}", reason="NOT_ON_SPOT")

    async def call(
        self,
        endpoint_class: str,
        weight: int,
        call: Callable[[], Awaitable[T]],
        *,
        priority: Priority | None = None,
    ) -> T:
        """Take budget and run a venue call, leaving its errors as they come.

        Without a priority it is a read, of the kind its caller told.
        Raises RetryableError when the budget cannot be had in time (nothing was sent), and whatever
        `call` raises; a 429 or 418 also stops what would follow.
        """
        lane = priority or CALL_PRIORITY.get()
        async with self.budget.take(endpoint_class, weight, lane):
            began, outcome = self.clock.monotonic(), RequestOutcome.NO_ANSWER
            try:
                answer = await call()
                outcome = RequestOutcome.ANSWERED
            except asyncio.CancelledError:
                # Our own doing: it says nothing of the venue.
                outcome = RequestOutcome.CANCELLED
                raise
            except VenueAnswerError as error:
                outcome = _outcome_of(error)
                self.note_refusal(error, endpoint_class)
                raise
            finally:
                if self.observer is not None:
                    seconds = self.clock.monotonic() - began
                    self.observer.count_request(endpoint_class, outcome, seconds)
        if lane is Priority.SCAN:
            await let_others_send()
        return answer

    def note_refusal(self, error: VenueAnswerError, endpoint_class: str) -> None:
        """Tell the budget of a refusal, which may ask for silence."""
        self.budget.observe_refusal(
            error.status,
            error.retry_after,
            endpoint_class,
            by_code=error.code in self.profile.rate_codes,
            ban=self.profile.bans.get(error.status),
        )

    async def read(
        self,
        endpoint_class: str,
        weight: int,
        call: Callable[[], Awaitable[T]],
        *,
        priority: Priority | None = None,
    ) -> T:
        """Take budget, run a venue call that changes nothing, and return what it returns.

        Raises RetryableError (rate limit, busy), UnreachableError (no answer, broken answer),
        RejectedError and its branches (refused), AuthError (key) or UnimplementedError.
        """
        try:
            return await self.call(endpoint_class, weight, call, priority=priority)
        except ccxt_errors.AuthenticationError as error:
            # Of ccxt itself, before it asks; what a venue refuses is an answer.
            raise AuthError(
                "this connector has no API key: set api_key_file and api_secret_file",
                reason="KEY_NOT_SET",
                code=Code.FAILED_PRECONDITION,
            ) from error
        except Exception as error:
            raise to_read_error(error, self.profile) from error


def _outcome_of(error: VenueAnswerError) -> RequestOutcome:
    if error.status in RATE_LIMITED_STATUSES:
        return RequestOutcome.RATE_LIMITED
    return RequestOutcome.VENUE_ERROR if error.status >= 500 else RequestOutcome.REFUSED
