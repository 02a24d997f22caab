"""Asking venues what became of orders: until they answer, and never believing absence too early."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from services.common.clock import Clock
from services.common.errors import NotFoundError, OpensqtError
from services.engine import ports
from services.engine.instruments import InstrumentRules
from services.engine.orders import OrderOutcome
from services.engine.policy import EnginePolicy
from services.engine.ports import VenueGateway


class Absence(Enum):
    """The venue did not know the id, or its connector says that it never arrived."""

    TOO_EARLY = "too_early"
    PROVEN = "proven"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The venue could not be asked, or does not know itself yet."""

    reason: str


Finding = OrderOutcome | Absence | NoAnswer


class OrderResolver:
    """Asks by client order id. Absence is a proof only for a question asked after the fence.

    A venue without a fence may take a request however late: there only its connector's word proves
    absence, that the order never arrived, or that it never was sent and no call of ours can be on
    its way any more. An order that was sent may stay unknown for good.

    The fence of an order runs from the moment its send failed; of an order that an earlier run of
    the engine may have sent, from the start of this run.
    """

    def __init__(
        self, gateways: Mapping[str, VenueGateway], clock: Clock, policy: EnginePolicy
    ) -> None:
        self._gateways = gateways
        self._clock = clock
        self._policy = policy
        self._started = clock.monotonic()
        self._failed_at: dict[str, float] = {}
        self._fences: dict[str, float | None] = {}

    def send_queued(self, client_order_id: str) -> None:
        """Note that an order is to leave: absence proves nothing before `send_started`."""
        self._failed_at[client_order_id] = math.inf

    def send_started(self, client_order_id: str, at: float) -> None:
        """Note when (monotonic) an order was sent; its call may last until its deadline."""
        # Whoever loses hold of the answer may not take absence for a proof while the call runs.
        self._failed_at[client_order_id] = at + self._policy.place_timeout.total_seconds()

    def send_ended(self, client_order_id: str) -> None:
        """Forget an order whose outcome is proven."""
        self._failed_at.pop(client_order_id, None)

    def send_failed(self, client_order_id: str, at: float) -> None:
        """Note when (monotonic) the send of an order came back without a proof."""
        self._failed_at[client_order_id] = at

    async def ask(self, rules: InstrumentRules, client_order_id: str) -> Finding:
        """Ask once what became of an order; never raises an error of the venue."""
        gateway = self._gateways[rules.ref.exchange]
        word = ""
        try:
            async with asyncio.timeout(self._policy.call_timeout.total_seconds()):
                fence = await self._fence(gateway)
                # Before the question: the venue may have looked at any time after it.
                asked_at = self._clock.monotonic()
                outcome = await gateway.get_order(
                    rules.ref.symbol, client_order_id, use_margin=rules.use_margin
                )
        except OpensqtError as error:
            if not isinstance(error, NotFoundError):
                return NoAnswer(error.reason)
            outcome, word = None, error.reason
        # A venue that hangs is asked again like one that refuses: it has said nothing.
        except TimeoutError:
            return NoAnswer("CALL_TIMED_OUT")
        if outcome is not None:
            return outcome
        # Where there is a fence it is kept even so: the connector may have counted from earlier.
        bound = self._bound_of(word) if fence is None else fence
        is_late = asked_at >= self._since(client_order_id) + bound
        return Absence.PROVEN if is_late else Absence.TOO_EARLY

    def is_unfenced(self, exchange: str) -> bool:
        """Tell whether a venue is known to have no fence, so that waiting ends no doubt there."""
        return exchange in self._fences and self._fences[exchange] is None

    def wait_before(self, exchange: str, client_order_id: str, asked_count: int) -> timedelta:
        """Return the wait before the next question: doubling, but no longer than to the fence."""
        first, last = self._policy.resolve_interval_first, self._policy.resolve_interval_last
        wait = min(first * (1 << min(asked_count, 16)), last)
        fence = self._fences.get(exchange)
        if fence is None:
            return wait
        left = self._since(client_order_id) + fence - self._clock.monotonic()
        # Not exactly at the fence: a float's rounding would make the question one too early.
        return min(wait, timedelta(seconds=left + 0.001)) if 0 < left < math.inf else wait

    def _since(self, client_order_id: str) -> float:
        return self._failed_at.get(client_order_id, self._started)

    def _bound_of(self, word: str) -> float:
        match word:
            case ports.NOT_ARRIVED_REASON:
                return 0.0
            case ports.NEVER_SENT_REASON:
                return self._policy.place_timeout.total_seconds()
        return math.inf

    async def _fence(self, gateway: VenueGateway) -> float | None:
        if gateway.name not in self._fences:
            fence = (await gateway.profile()).fence
            self._fences[gateway.name] = None if fence is None else fence.total_seconds()
        return self._fences[gateway.name]
