"""A gateway that remembers whether its venue answered last."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from services.common.errors import OpensqtError, OutcomeUnknownError, RejectedError
from services.engine.instruments import Book, InstrumentKind, InstrumentRules
from services.engine.leadership import EPOCH_SUPERSEDED, Leadership
from services.engine.orders import OrderOutcome, OrderPlan
from services.engine.placing import reason_of
from services.engine.pockets import Holdings
from services.engine.ports import FundingPayment, VenueGateway, VenueProfile
from services.engine.views import VenueView

_T = TypeVar("_T")


class WatchedGateway:
    """Passes every call on; a definite refusal is an answer, everything else that fails is none.

    A connector's word that another engine works is heard here, and no order leaves after it.
    """

    def __init__(self, inner: VenueGateway, leadership: Leadership | None = None) -> None:
        self._inner = inner
        self._leadership = leadership or Leadership()
        # Not reachable until it has answered once: an operator must not read silence as health.
        self._problem = "NOT_ASKED_YET"

    @property
    def name(self) -> str:
        """Configured name of the venue."""
        return self._inner.name

    @property
    def kind(self) -> InstrumentKind:
        """Kind of the venue's instruments."""
        return self._inner.kind

    def view(self) -> VenueView:
        """Return the venue as last seen."""
        return VenueView(self.name, self.kind, not self._problem, self._problem)

    def told(self, problem: str) -> bool:
        """Take what a question on the side came to; true when the venue is gone or back by it."""
        is_news = bool(problem) != bool(self._problem)
        self._problem = problem
        return is_news

    async def profile(self) -> VenueProfile:
        """See `VenueGateway.profile`."""
        return await self._watch(self._inner.profile(), proves=False)

    async def rules(self, symbol: str, *, use_margin: bool) -> InstrumentRules:
        """See `VenueGateway.rules`."""
        return await self._watch(self._inner.rules(symbol, use_margin=use_margin), proves=False)

    async def book(self, symbol: str, depth: int) -> Book:
        """See `VenueGateway.book`."""
        return await self._watch(self._inner.book(symbol, depth))

    async def place(self, plan: OrderPlan) -> OrderOutcome:
        """See `VenueGateway.place`; raises PreconditionError too where another engine works."""
        self._leadership.check()
        return await self._watch(self._inner.place(plan))

    async def cancel_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """See `VenueGateway.cancel_order`."""
        return await self._watch(
            self._inner.cancel_order(symbol, client_order_id, use_margin=use_margin)
        )

    async def get_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """See `VenueGateway.get_order`."""
        return await self._watch(
            self._inner.get_order(symbol, client_order_id, use_margin=use_margin)
        )

    async def position(self, symbol: str) -> Decimal:
        """See `VenueGateway.position`."""
        return await self._watch(self._inner.position(symbol))

    async def free_balance(self, asset: str) -> Decimal:
        """See `VenueGateway.free_balance`."""
        return await self._watch(self._inner.free_balance(asset))

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        """See `VenueGateway.funding_payments`."""
        return await self._watch(self._inner.funding_payments(symbol, since))

    async def holdings(self) -> Holdings:
        """See `VenueGateway.holdings`."""
        return await self._watch(self._inner.holdings())

    async def _watch(self, call: Awaitable[_T], *, proves: bool = True) -> _T:
        try:
            answer = await call
        except OpensqtError as error:
            if error.reason == EPOCH_SUPERSEDED:
                self._leadership.lose(error.reason, f"{self.name}: {error.message}")
            # In these cases the venue was reached; what became of the order is told elsewhere.
            if not isinstance(error, RejectedError | OutcomeUnknownError):
                self._problem = reason_of(error)
            raise
        # What is kept, here or in the connector, is told of a venue that is gone as well.
        if proves:
            self._problem = ""
        return answer
