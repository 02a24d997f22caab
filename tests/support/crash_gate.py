"""Killing an engine at a chosen moment: from then on nothing it does has any effect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from services.engine.events import Event
from services.engine.instruments import Book, InstrumentKind, InstrumentRules
from services.engine.journal import Journal
from services.engine.orders import OrderOutcome, OrderPlan
from services.engine.pockets import Holdings
from services.engine.ports import FundingPayment, VenueGateway, VenueProfile
from tests.support.virtual_clock import VirtualClock

_T = TypeVar("_T")


class CrashGate:
    """Counts the moments around every await of a port and dies at one of them."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.passed = 0
        self.is_dead = False
        self._dies_at = dies_at

    def die(self) -> None:
        """Die now."""
        self.is_dead = True

    def step(self) -> bool:
        """Count one moment; true while alive."""
        self.passed += 1
        if self.passed == self._dies_at:
            self.is_dead = True
        return not self.is_dead

    async def through(self, call: Awaitable[_T]) -> _T:
        """Await a call with a moment before and one after; a dead engine waits for ever."""
        if not self.step():
            if asyncio.iscoroutine(call):
                call.close()
            await self._for_ever()
        try:
            answer = await call
        except Exception:
            if not self.step():
                await self._for_ever()
            raise
        if not self.step():
            await self._for_ever()
        return answer

    async def _for_ever(self) -> None:
        await asyncio.Event().wait()


class GatedClock:
    """A clock whose sleepers can be killed."""

    def __init__(self, inner: VirtualClock, gate: CrashGate) -> None:
        self._inner = inner
        self._gate = gate

    def now(self) -> datetime:
        """Return the virtual instant."""
        return self._inner.now()

    def monotonic(self) -> float:
        """Return virtual seconds."""
        return self._inner.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time, unless dead."""
        await self._gate.through(self._inner.sleep(seconds))


class GatedJournal:
    """A journal whose writer can be killed."""

    def __init__(self, inner: Journal, gate: CrashGate) -> None:
        self._inner = inner
        self._gate = gate

    async def append(self, events: Sequence[Event]) -> None:
        """Append durably, unless dead."""
        await self._gate.through(self._inner.append(events))

    def append_soon(self, events: Sequence[Event]) -> None:
        """Append, unless dead."""
        if self._gate.step():
            self._inner.append_soon(events)

    async def load(self) -> tuple[Event, ...]:
        """Load."""
        return await self._inner.load()


class GatedVenue:
    """A gateway whose caller can be killed; the venue itself goes on."""

    def __init__(self, inner: VenueGateway, gate: CrashGate) -> None:
        self._inner = inner
        self._gate = gate

    @property
    def name(self) -> str:
        """Name of the venue."""
        return self._inner.name

    @property
    def kind(self) -> InstrumentKind:
        """Kind of the venue."""
        return self._inner.kind

    async def profile(self) -> VenueProfile:
        """Pass on."""
        return await self._gate.through(self._inner.profile())

    async def rules(self, symbol: str, *, use_margin: bool) -> InstrumentRules:
        """Pass on."""
        return await self._gate.through(self._inner.rules(symbol, use_margin=use_margin))

    async def book(self, symbol: str, depth: int) -> Book:
        """Pass on."""
        return await self._gate.through(self._inner.book(symbol, depth))

    async def place(self, plan: OrderPlan) -> OrderOutcome:
        """Pass on."""
        return await self._gate.through(self._inner.place(plan))

    async def cancel_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """Pass on."""
        return await self._gate.through(
            self._inner.cancel_order(symbol, client_order_id, use_margin=use_margin)
        )

    async def get_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """Pass on."""
        return await self._gate.through(
            self._inner.get_order(symbol, client_order_id, use_margin=use_margin)
        )

    async def position(self, symbol: str) -> Decimal:
        """Pass on."""
        return await self._gate.through(self._inner.position(symbol))

    async def free_balance(self, asset: str) -> Decimal:
        """Pass on."""
        return await self._gate.through(self._inner.free_balance(asset))

    async def holdings(self) -> Holdings:
        """Pass on."""
        return await self._gate.through(self._inner.holdings())

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        """Pass on."""
        return await self._gate.through(self._inner.funding_payments(symbol, since))
