"""The guard at the last hop: every order passes it before its row is written, exits unhindered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol

from services.common.errors import OpensqtError, PreconditionError, RetryableError
from services.connector.limits import (
    Effect,
    OrderLimits,
    check_order,
    effect_of,
    left_to_reduce,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.common.clock import Clock
    from services.connector.instruments import Instrument
    from services.connector.limits import OwnOrder
    from services.connector.limits_prices import ReferencePrices
    from services.connector.order_types import OrderIntent
    from services.connector.trading_halt import HaltState, TradingHalt

_CLAIM_SECONDS: Final = 60.0
_RATE_WINDOW_SECONDS: Final = 1.0


class OwnOrders(Protocol):
    """Who knows the orders of this account that were sent from here."""

    async def own_orders(self, symbol: str) -> Sequence[OwnOrder]:
        """Return all orders of a symbol that may have filled; raise OpensqtError when unread."""
        ...


class RefusalCounter(Protocol):
    """Who counts the orders that a limit has refused."""

    def count_limit_refusal(self, reason: str) -> None:
        """Count one."""
        ...


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """Bounds beside those of a single order; see `limits_settings.LimitsPart`."""

    opening_orders_per_second: int | None = None
    reduce_only: bool = False
    completing_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class _Claim:
    intent: OrderIntent
    at: float


class LimitsGuard:
    """Refuses what passes the limits, and lets pass what provably reduces a position."""

    def __init__(
        self,
        limits: OrderLimits,
        options: GuardOptions,
        halt: TradingHalt,
        prices: ReferencePrices,
        clock: Clock,
        counter: RefusalCounter,
    ) -> None:
        self.halt = halt
        self._limits = limits
        self._options = options
        self._prices = prices
        self._clock = clock
        self._counter = counter
        self._started = clock.now()
        self._opened: deque[float] = deque()
        self._claims: dict[str, _Claim] = {}

    @property
    def is_reduce_only(self) -> bool:
        """Whether the settings let nothing open."""
        return self._options.reduce_only

    async def admit(self, intent: OrderIntent, instrument: Instrument, own: OwnOrders) -> None:
        """Return when the order may be sent.

        Raises PreconditionError or RetryableError (OPENING_RATE_EXCEEDED): nothing was sent then,
        and the client order id is not spent.
        """
        effect = effect_of(intent, instrument.kind)
        if effect is Effect.REDUCING:
            return
        try:
            self._check(intent, effect)
        except OpensqtError as error:
            # Of those alone that are called a way out and would be refused: neither the orders
            # that pass nor a flood of refused entries should wait for the ledger, or make it slow.
            if effect is Effect.OPENING or not await self._takes_back(intent, own):
                self._counter.count_limit_refusal(error.reason)
                raise
            return
        if effect is Effect.OPENING:
            self._opened.append(self._clock.monotonic())

    def _check(self, intent: OrderIntent, effect: Effect) -> None:
        reference = self._prices.find(intent.symbol) if self._limits.needs_reference else None
        check_order(intent, effect, self._limits, reference)
        stop = _stop(self.halt.state(), self._options, self._started)
        if stop is not None:
            reason, text, since = stop
            late = self._clock.now() - since > timedelta(seconds=self._options.completing_seconds)
            if effect is Effect.OPENING or late:
                raise PreconditionError(
                    f"{text}; nothing was sent",
                    reason=reason,
                    metadata={"symbol": intent.symbol},
                )
        if effect is Effect.OPENING:
            self._check_rate()

    def _check_rate(self) -> None:
        most = self._options.opening_orders_per_second
        if most is None:
            return
        now = self._clock.monotonic()
        while self._opened and self._opened[0] <= now - _RATE_WINDOW_SECONDS:
            self._opened.popleft()
        if len(self._opened) >= most:
            raise RetryableError(
                f"more than {most} opening orders in a second; nothing was sent",
                retry_after=timedelta(seconds=self._opened[0] + _RATE_WINDOW_SECONDS - now),
                reason="OPENING_RATE_EXCEEDED",
            )

    async def _takes_back(self, intent: OrderIntent, own: OwnOrders) -> bool:
        # Claimed before the first await: two exits at once must not take back the same coins.
        self._drop_old_claims()
        own_id = intent.client_order_id
        earlier = [claim.intent for name, claim in self._claims.items() if name != own_id]
        self._claims[own_id] = _Claim(intent, self._clock.monotonic())
        try:
            orders = await own.own_orders(intent.symbol)
        except OpensqtError:
            self._claims.pop(own_id, None)
            return False
        known = {one.client_order_id for one in orders}
        claimed = sum(
            (
                one.quantity
                for one in earlier
                if one.client_order_id not in known
                and (one.symbol, one.side, one.use_margin)
                == (intent.symbol, intent.side, intent.use_margin)
            ),
            Decimal(0),
        )
        if intent.quantity + claimed <= left_to_reduce(intent, orders):
            return True
        self._claims.pop(own_id, None)
        return False

    def _drop_old_claims(self) -> None:
        oldest = self._clock.monotonic() - _CLAIM_SECONDS
        # By then the order has its row in the ledger, or never will.
        for name in [name for name, claim in self._claims.items() if claim.at <= oldest]:
            del self._claims[name]


def _stop(
    halt: HaltState, options: GuardOptions, started: datetime
) -> tuple[str, str, datetime] | None:
    """Return why nothing may be opened, in words, and since when; None when it may."""
    if halt.halted:
        return "TRADING_HALTED", f"opening is halted: {halt.reason}", halt.at
    if options.reduce_only:
        return "REDUCE_ONLY_MODE", "the settings let positions be reduced only", started
    return None
