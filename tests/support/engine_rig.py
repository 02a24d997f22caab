"""An engine over fake venues on a virtual clock, that can be killed and started again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from services.common.errors import NotFoundError
from services.engine.commands import CloseCommand, OpenCommand
from services.engine.engine import Engine
from services.engine.engine_needs import EngineDependencies
from services.engine.event_codec import VERSION, decode_event, encode_event
from services.engine.events import Event
from services.engine.instruments import InstrumentKind, InstrumentRef, InstrumentRules, LegSide
from services.engine.journal import Journal, JournalError
from services.engine.order_news import OrderNews
from services.engine.orders import OrderClass
from services.engine.policy import EngineLimits, EnginePolicy
from services.engine.ports import OpportunityLegs, OpportunitySource
from services.engine.views import PositionStatus, PositionView, StatusView
from tests.support.crash_gate import CrashGate, GatedClock, GatedJournal, GatedVenue
from tests.support.fake_venue import FakeVenue
from tests.support.virtual_clock import VirtualClock

_T = TypeVar("_T")
SYMBOL = "BTCUSDT"


def make_rules(
    exchange: str, kind: InstrumentKind, *, lot: str = "0.001", **changes: object
) -> InstrumentRules:
    """Return rules of a liquid coin at about 100 in quote."""
    is_spot = kind is InstrumentKind.SPOT
    values: dict[str, object] = {
        "ref": InstrumentRef(exchange, SYMBOL, kind),
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "lot_size": Decimal(lot),
        "tick_size": Decimal("0.01"),
        "min_quantity": Decimal(lot),
        "min_notional": Decimal(5),
        "base_fee_ratio": Decimal("0.001") if is_spot else Decimal(0),
        "taker_fee_ratio": Decimal("0.001") if is_spot else Decimal("0.0005"),
        "initial_margin_ratio": Decimal("0.2"),
    }
    return InstrumentRules(**{**values, **changes})  # type: ignore[arg-type]  # test builder


class MemoryJournal:
    """A journal in memory that loses what was not durable when it is cut."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []
        self._events: list[Event] = []
        self._durable = 0
        self.fails = False

    async def append(self, events: Sequence[Event]) -> None:
        """Append durably, after one turn of the loop."""
        await asyncio.sleep(0)
        if self.fails:
            raise JournalError("disk full")
        self.append_soon(events)
        self._durable = len(self.rows)

    def append_soon(self, events: Sequence[Event]) -> None:
        """Append; lost by `cut` unless something durable follows."""
        self.rows += [encode_event(event) for event in events]
        self._events += events

    async def load(self) -> tuple[Event, ...]:
        """Decode every row."""
        return tuple(decode_event(kind, VERSION, body) for kind, body in self.rows)

    def durable_events(self) -> tuple[Event, ...]:
        """Return what a crash now would leave."""
        return tuple(self._events[: self._durable])

    def cut(self, keep: int = 0) -> None:
        """Lose the rows that were not durable but for the first `keep` of them."""
        del self.rows[self._durable + keep :]
        del self._events[self._durable + keep :]
        self._durable = len(self.rows)


@dataclass(slots=True)
class Recorder:
    """Listener and observer in one; mutable: it collects."""

    statuses: dict[str, PositionStatus] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    skews: list[float] = field(default_factory=list)
    hedge_delays: list[float] = field(default_factory=list)
    journal_failures: int = 0
    status: StatusView | None = None

    def position_changed(self, view: PositionView) -> None:
        """Keep the status."""
        self.statuses[view.position_id] = view.status

    def order_ended(
        self,
        exchange: str,
        order_class: OrderClass,
        outcome: str,
        seconds: float,
        position_id: str,
    ) -> None:
        """Ignore."""

    def order_slipped(
        self, exchange: str, order_class: OrderClass, ratio: float, position_id: str
    ) -> None:
        """Ignore."""

    def position_settled(
        self,
        status: PositionStatus,
        unhedged_seconds: float,
        residual_notional: Decimal,
        position_id: str,
    ) -> None:
        """Ignore."""

    def hedge_dispatched(self, seconds: float, position_id: str) -> None:
        """Keep the delay."""
        self.hedge_delays.append(seconds)

    def exit_dispatched(self, skew_seconds: float, position_id: str) -> None:
        """Keep the skew."""
        self.skews.append(skew_seconds)

    def unhedged_alarm(self, exchange: str) -> None:
        """Keep the alarm."""
        self.alarms.append(exchange)

    def entry_refused(self, reason: str) -> None:
        """Ignore."""

    def journal_written(self, seconds: float) -> None:
        """Ignore."""

    def journal_failed(self) -> None:
        """Count."""
        self.journal_failures += 1

    def engine_changed(self, status: StatusView) -> None:
        """Keep the last one."""
        self.status = status


class NoOpportunities:
    """A scanner that knows nothing."""

    async def resolve(self, opportunity_id: str) -> OpportunityLegs:
        """Refuse."""
        raise NotFoundError("no such opportunity", reason="OPPORTUNITY_NOT_FOUND")


class CountedIds:
    """Ids in order, so that runs repeat."""

    def __init__(self, start: int = 0) -> None:
        self._numbers = itertools.count(start)

    def new_id(self) -> str:
        """Return the next id."""
        return f"{next(self._numbers):015d}00000"

    def new_uuid(self) -> str:
        """Return the next id as text."""
        return f"uuid-{next(self._numbers)}"


_HOUR = timedelta(hours=1)
PATIENT = EnginePolicy(call_timeout=_HOUR, touch_timeout=_HOUR)
"""The default, but for bounds in real seconds: in virtual time only a slow machine passes them."""


class EngineRig:
    """Two venues, a journal and an engine; `long_venue` and `short_venue` are the witness."""

    def __init__(
        self,
        clock: VirtualClock,
        journal: Journal,
        *,
        long_rules: InstrumentRules | None = None,
        short_rules: InstrumentRules | None = None,
        policy: EnginePolicy | None = None,
        limits: EngineLimits | None = None,
    ) -> None:
        long_rules = long_rules or make_rules("spot", InstrumentKind.SPOT)
        short_rules = short_rules or make_rules("perp", InstrumentKind.PERPETUAL)
        self.clock = clock
        self.journal = journal
        self.policy = policy or PATIENT
        self.limits = limits or EngineLimits()
        self.recorder = Recorder()
        self.opportunities: OpportunitySource = NoOpportunities()
        self.extras: dict[str, Any] = {}
        """Further dependencies of the engines made from here on."""
        self.ids = CountedIds()
        self.long_venue = FakeVenue(long_rules.ref.exchange, long_rules.ref.kind, clock, long_rules)
        self.short_venue = FakeVenue(
            short_rules.ref.exchange, short_rules.ref.kind, clock, short_rules
        )
        self.order_events = OrderNews()
        self.engine = self.new_engine()
        self._requests = itertools.count()

    @property
    def venues(self) -> tuple[FakeVenue, FakeVenue]:
        """Both venues."""
        return self.long_venue, self.short_venue

    def new_engine(self, gate: CrashGate | None = None) -> Engine:
        """Return an engine that was not started, to be killed by `gate`."""
        self.gate = gate or CrashGate()
        self.engine = Engine(
            EngineDependencies(
                journal=GatedJournal(self.journal, self.gate),
                gateways={v.name: GatedVenue(v, self.gate) for v in self.venues},
                opportunities=self.opportunities,
                listener=self.recorder,
                observer=self.recorder,
                clock=GatedClock(self.clock, self.gate),
                ids=self.ids,
                policy=self.policy,
                limits=self.limits,
                **self.extras,
                order_events=self.order_events,
            )
        )
        return self.engine

    def stream_orders(self) -> None:
        """Let both venues tell of fills as they happen; without it only answers do."""
        for venue in self.venues:
            venue.tell = self.order_events.tell

    async def start(self) -> None:
        """Start the engine and wait until it accepts entries."""
        await self.engine.start()
        await self.clock.run_until(lambda: self.engine.status().reconciled)

    async def kill(self, kept_rows: int = 0) -> None:
        """End the engine as SIGKILL does: what was in memory is gone, venues go on."""
        self.gate.die()
        await self.engine.stop(timedelta(0))
        if isinstance(self.journal, MemoryJournal):
            self.journal.cut(kept_rows)

    def request_id(self) -> str:
        """Return a fresh request id."""
        return f"request-{next(self._requests)}"

    def open_command(self, quantity: str = "1", **changes: object) -> OpenCommand:
        """Return an entry into both venues' instruments."""
        values: dict[str, object] = {
            "request_id": self.request_id(),
            "long_leg": self.long_venue.instrument.ref,
            "short_leg": self.short_venue.instrument.ref,
            "quantity": Decimal(quantity),
            "lead_leg": LegSide.LONG,
        }
        return OpenCommand(**{**values, **changes})  # type: ignore[arg-type]  # test builder

    async def call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a command of the engine while virtual time passes."""
        task = asyncio.get_running_loop().create_task(work)
        await self.clock.run_until(task.done)
        return task.result()

    async def open(self, quantity: str = "1", **changes: object) -> PositionView:
        """Open a position and wait until it rests."""
        view = await self.call(self.engine.open(self.open_command(quantity, **changes)))
        return await self.settled(view.position_id)

    async def close(self, position_id: str) -> PositionView:
        """Close a position and wait until it rests."""
        await self.call(self.engine.close(CloseCommand(self.request_id(), position_id)))
        return await self.settled(position_id)

    async def settled(self, position_id: str, limit: float = 600.0) -> PositionView:
        """Wait until the position is open, closed or flat."""
        rest = {PositionStatus.OPEN, PositionStatus.CLOSED, PositionStatus.FLAT}
        await self.clock.run_until(lambda: self.engine.get(position_id).status in rest, limit)
        return self.engine.get(position_id)

    def net_delta(self) -> Decimal:
        """Return the signed sum of both venues' fills: the witness of neutrality."""
        return self.long_venue.filled() + self.short_venue.filled()

    def check_books(self) -> None:
        """Assert that nothing was sent twice and that the ledger is what the venues filled."""
        for venue in self.venues:
            assert venue.problems == []
        ledger = (
            sum((v.long_leg.quantity for v in self.engine.positions()), Decimal(0)),
            sum((v.short_leg.quantity for v in self.engine.positions()), Decimal(0)),
        )
        assert ledger == (self.long_venue.filled(), self.short_venue.filled())

    async def close_rig(self) -> None:
        """End the engine and the venues."""
        await self.engine.stop(timedelta(0))
        for venue in self.venues:
            await venue.close()
