"""The engine's use cases: open, close, reduce, close all, read, halt and resume."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from services.common.errors import NotFoundError, OpensqtError, PreconditionError
from services.common.logs import get_logger
from services.common.tracing import traced
from services.engine import commands as cmd
from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.drive_context import DriveContext
from services.engine.engine_needs import EngineDependencies
from services.engine.entry import next_lead_plan
from services.engine.entry_desk import CheckedEntry, EntryDesk
from services.engine.executor import ParallelExecutor
from services.engine.fleet import DriveFleet
from services.engine.funding_ledger import FundingLedger
from services.engine.guard_desk import GuardDesk
from services.engine.guard_hands import EngineHands
from services.engine.halt_desk import HaltDesk
from services.engine.history_desk import HistoryDesk
from services.engine.idempotency import CommandDesk, Stamp
from services.engine.instruments import InstrumentRef
from services.engine.order_ids import position_key
from services.engine.orders import OrderClass, OrderPlan
from services.engine.owned_tasks import OwnedTasks
from services.engine.position import Position, begin
from services.engine.position_view import view_of
from services.engine.proposal import intent_of
from services.engine.reconcile_desk import ReconcileDesk
from services.engine.reconciliation import stopping, text_of
from services.engine.reducing import plan_reduction, plan_reductions
from services.engine.resolver import OrderResolver
from services.engine.risk_desk import RiskDesk
from services.engine.risk_state import may_send, state_of
from services.engine.unasked_news import UnaskedNews
from services.engine.venue_pulse import follow_pulse
from services.engine.views import EngineMode, PositionStatus, PositionView, StatusView
from services.engine.watched_gateway import WatchedGateway

# Orders become unknown and positions end at any moment: gauges may be this much behind.
_REPORT_SECONDS = 5.0
_log = get_logger(__name__)


class Engine:
    """Opens, holds and closes hedged positions; implements `ports.EngineApi`."""

    def __init__(self, needs: EngineDependencies) -> None:
        self._needs = needs
        # Everything goes through the watched ones, so that status shows what drives really meet.
        self._gateways = {
            name: WatchedGateway(g, needs.leadership) for name, g in needs.gateways.items()
        }
        self._tasks = OwnedTasks()
        self._book = PositionBook(
            needs.journal, needs.listener, needs.observer, needs.clock, needs.later, needs.parts
        )
        resolver = OrderResolver(self._gateways, needs.clock, needs.policy)
        self._executor = ParallelExecutor(
            self._gateways,
            needs.clock,
            needs.policy.place_timeout,
            needs.policy.exits_at_once,
            resolver.send_started,
        )
        context = DriveContext(
            self._book,
            self._executor,
            resolver,
            self._gateways,
            needs.clock,
            needs.policy,
            needs.observer,
            needs.order_events,
            needs.later,
        )
        funding = FundingLedger(self._book, self._gateways, needs.clock)
        self._fleet = DriveFleet(context, funding, self._tasks, self._stops_slices)
        self.news = self._fleet.news
        """Where readings and streams report what venues tell unasked."""
        self._unasked = UnaskedNews(self.news, self._book, self._tasks)
        needs.order_events.follow_rest(self._unasked.hear_late, self._unasked.hear_forced)
        self.comparisons = ReconcileDesk(
            self._fleet.reconciler.compare_all,
            lambda: self._book.engine.breaks,
            needs.clock,
            needs.ids,
            self._tasks,
        )
        """Comparisons with the venues that somebody asks for."""
        self._commands = CommandDesk(self._book, needs.clock, self._tasks)
        self.risk = RiskDesk(self._book, needs.clock, needs.limits, needs.risk)
        """Limits, breakers and exposure as the ledger has them."""
        self._halts = HaltDesk(self._book, needs.clock, needs.halt_flag)
        self._history = HistoryDesk(self._book, needs.parts, self._halts, needs.clock)
        self.guards = self._new_guards(context)
        """What judges positions that are on; None where the settings switch it off."""
        self._entries = EntryDesk(
            self._book,
            self._gateways,
            needs.opportunities,
            needs.clock,
            needs.policy,
            needs.limits,
            self.risk,
            needs.guards,
        )
        # Between check and journal an entry exists nowhere else: two at once would both pass.
        self._entering: set[InstrumentRef] = set()
        self._stopping = False

    @property
    def ledger(self) -> PositionBook:
        """All positions and the engine's own record; the strategy journals its decisions here."""
        return self._book

    async def start(self) -> None:
        """Load what is open from the journal and take it up; the rest is read beside the work.

        Exits are accepted from here on; entries once `status().reconciled`. Raises `JournalError`.
        """
        await self._history.load()
        await self._halts.start()
        self._fleet.recover(self._status_changed)
        rest = self._history.read_rest(self._fleet.wake, self._begin_whole, self._status_changed)
        if self._book.is_whole:
            await rest
        else:
            self._tasks.spawn(rest, "history")
        self._tasks.spawn(self._report(), "report")
        for name, pulse in self._needs.pulses.items():
            following = follow_pulse(
                pulse, self._gateways[name], self._needs.clock, self._status_changed
            )
            self._tasks.spawn(following, f"pulse-{name}")
        if self.guards is not None:
            self._tasks.spawn(self.guards.run(), "guards")

    async def stop(self, drain: timedelta) -> int:
        """Stop opening, let moving positions come to rest within `drain`, then end everything.

        Returns how many tasks and calls were cut; what they left is taken up at the next start.
        """
        # Before the wait: an entry taken now could not be hedged before the end.
        self._stopping = True
        self._fleet.look_again()
        await self._fleet.rest(drain)
        cut = await self._tasks.close()
        # Last: until the drives are gone they may still wait for answers of these calls.
        return cut + await self._executor.close()

    async def open(self, command: cmd.OpenCommand) -> PositionView:
        """Check, journal the intent and start the entry; see `EngineApi.open`."""
        if command.validate_only:
            return view_of(await self._propose(command))
        try:
            (position_id,) = await self._commands.run(
                command, lambda stamp: self._open(command, stamp)
            )
        except OpensqtError as error:
            self._needs.observer.entry_refused(error.reason)
            raise
        return self.get(position_id)

    async def close(self, command: cmd.CloseCommand) -> PositionView:
        """Start the exit; a position that is closing or closed is returned as it is."""
        self._require(command.position_id)

        async def work(stamp: Stamp) -> tuple[str, ...]:
            requested = self._exit_request(command.position_id, command.reason, command)
            return await self._start_exits(stamp, requested)

        await self._commands.run(command, work)
        return self.get(command.position_id)

    async def close_all(self, command: cmd.CloseAllCommand) -> tuple[PositionView, ...]:
        """Start the exit of every position that is not closed, all with one durable write."""

        async def work(stamp: Stamp) -> tuple[str, ...]:
            reason = f"CLOSE_ALL {command.reason}".strip()
            # Taken inside the command, so that a repeat answers the positions of the first run.
            live = self._book.live()
            return await self._start_exits(
                stamp, *(self._exit_request(p.position_id, reason) for p in live)
            )

        return tuple(self.get(key) for key in await self._commands.run(command, work))

    async def reduce(self, command: cmd.ReduceCommand) -> PositionView:
        """Start a proportional exit; of the whole position it is a close."""
        self._require(command.position_id)

        async def work(stamp: Stamp) -> tuple[str, ...]:
            position = self._require(command.position_id)
            # Legs that move have no quantity to take a share of.
            if position.status is not PositionStatus.OPEN:
                raise PreconditionError(
                    f"the position is {position.status.value}; only an open one can be reduced",
                    reason="POSITION_STATE_INVALID",
                )
            plan = plan_reduction(position, command.quantity, command.ratio)
            if plan.is_close:
                request = self._exit_request(command.position_id, "REDUCED_TO_NOTHING")
                return await self._start_exits(stamp, request)
            now = self._needs.clock.now()
            reduce = ev.ReduceRequested(
                command.position_id, now, plan.quantity, plan.target, plan.target
            )
            return await self._start_exits(stamp, reduce)

        await self._commands.run(command, work)
        return self.get(command.position_id)

    async def reduce_all(self, command: cmd.ReduceAllCommand) -> tuple[PositionView, ...]:
        """Take a share off many positions, with one durable write and one departure."""

        async def work(stamp: Stamp) -> tuple[str, ...]:
            named = [self._require(key) for key in command.position_ids]
            reason = f"REDUCE_ALL {command.reason}".strip()
            now = self._needs.clock.now()
            requests = plan_reductions(named or self._book.all(), command.ratio, now, reason)
            return await self._start_exits(stamp, *requests)

        return tuple(self.get(key) for key in await self._commands.run(command, work))

    def get(self, position_id: str) -> PositionView:
        """Return one position; raises `NotFoundError`."""
        return self._book.view(self._require(position_id))

    def positions(self) -> tuple[PositionView, ...]:
        """Return all positions, newest first."""
        return tuple([self._book.view(p) for p in reversed(self._book.whole())])

    async def halt(self, command: cmd.HaltCommand) -> StatusView:
        """Stop opening; durable, and never queued behind a position's work."""
        return await self._switch(command, ev.EngineHalted(self._needs.clock.now(), command.reason))

    async def resume(self, command: cmd.ResumeCommand) -> StatusView:
        """Allow opening again and reset tripped breakers; durable."""
        self._book.check_whole()
        # Who resumes says that what differs, where nothing of ours is missing, is the user's own.
        declared = self._fleet.reconciler.declared()
        resumed = ev.EngineResumed(self._needs.clock.now(), command.reason)
        return await self._switch(command, resumed, *declared)

    def status(self) -> StatusView:
        """Return the engine's state now."""
        record = self._book.engine
        return StatusView(
            mode=self._mode(),
            reason="; ".join(self._troubles()),
            mode_time=record.mode_time,
            reconciled=self._fleet.is_reconciled,
            open_position_count=len(self._book.live()),
            unknown_client_order_ids=self._book.unknown_order_ids(),
            venues=tuple(gateway.view() for gateway in self._gateways.values()),
        )

    @property
    def takes_entries(self) -> bool:
        """Whether entries are taken at all; one symbol may be stopped even so."""
        broken = tuple(self._book.engine.breaks.values())
        if stopping("", broken, self._needs.policy.reconcile_break_limit):
            return False
        try:
            self._check_mode()
        except OpensqtError:
            return False
        return not self._book.journal_problem

    def _troubles(self) -> list[str]:
        """Return everything that keeps the engine from its work, the worst first."""
        record = self._book.engine
        troubles = [self._needs.leadership.problem] if self._needs.leadership.is_lost else []
        if self._book.journal_problem:
            troubles.append(f"entries and exits wait: {self._book.journal_problem}")
        if self._is_stopped():
            troubles.append(self._halts.reason or record.reason)
        else:
            troubles += [f"no entries in {s}: {r}" for s, r in record.breakers.items()]
        troubles += [] if self._history.problem is None else [self._history.problem.message]
        troubles += [text_of(one) for one in record.breaks.values()]
        unread = self._fleet.reconciler.unread.items()
        return troubles + [f"holdings of {name} cannot be compared: {why}" for name, why in unread]

    def _begin_whole(self) -> None:
        self._fleet.compare(self._status_changed)
        self._unasked.replay()

    async def _report(self) -> None:
        while True:
            try:
                await self.risk.sum_up()
                self.risk.look()
                self._status_changed()
            except Exception:
                # Ended for good, no day would be opened any more and no loss of one be bounded.
                _log.exception("report_failed")
            await self._needs.clock.sleep(_REPORT_SECONDS)

    async def _open(self, command: cmd.OpenCommand, stamp: Stamp) -> tuple[str, ...]:
        with self._needs.traces.entry(command.opportunity_id) as entry:
            position_id = await self._enter(command, stamp)
            # Nothing awaited since the launch: its first order finds its entry.
            entry.is_of(position_id)
        return (position_id,)

    async def _enter(self, command: cmd.OpenCommand, stamp: Stamp) -> str:
        self._check_mode()
        with traced("decision"):
            long, short = await self._entries.legs(command)
        legs = {long, short}
        self._check_free(legs, long.symbol)
        self._entering |= legs
        reserved = ""
        try:
            with traced("checks", symbol=long.symbol):
                checked = await self._entries.check(command, long, short)
            intent = self._intent(command, checked)
            # Nothing awaited in between: two entries at once would both find room for one.
            self.risk.reserve(intent)
            reserved = intent.position_id
            # Before the first order: afterwards nobody can tell the user's coins from ours.
            with traced("baselines"):
                baselines = await self._fleet.reconciler.baselines(
                    checked.long.rules, checked.short.rules
                )
            # The engine may have been halted while the venues answered.
            self._check_mode()
            self._check_breaker(long.symbol)
            first = next_lead_plan(begin(intent))
            if first is None:
                raise PreconditionError("nothing to send", reason="ENTRY_CHECKS_FAILED")
            position_id = intent.position_id
            await self._halts.note_use()
            # One write: an intent without its command would be opened again by the caller's repeat.
            lead = ev.OrderIntended(position_id, intent.at, first)
            with traced("journal"):
                await self._book.record(*baselines, stamp(position_id), intent, lead)
            self._launch(position_id, first)
        finally:
            self._entering -= legs
            self.risk.release(reserved)
        return position_id

    def _launch(self, position_id: str, first: OrderPlan) -> None:
        """Start the drive; a halt that came while the journal was written keeps the lead here."""
        symbol = first.instrument.symbol
        state = state_of(symbol, self._mode(), self._book.engine.breakers)
        if may_send(state, first.order_class):
            self._fleet.launch(position_id, first)
            return
        now, key = self._needs.clock.now(), first.client_order_id
        self._book.record_soon(
            ev.OrderRejected(position_id, now, key, "ENGINE_HALTED", retryable=False)
        )
        self._fleet.launch(position_id, None)

    def carries(self) -> Mapping[str, Decimal]:
        """Return what each position receives in an hour by its venues' word; see `GuardDesk`."""
        return {} if self.guards is None else self.guards.carries()

    def _new_guards(self, context: DriveContext) -> GuardDesk | None:
        guards, clock = self._needs.guards, self._needs.clock
        if guards is None:
            return None
        hands = EngineHands(self._book, clock, context.trip, self._fleet.wake_together)
        desk = GuardDesk(self._book.live, hands, clock, guards)
        self.risk.marks = desk.marks
        return desk

    async def _propose(self, command: cmd.OpenCommand) -> Position:
        self._check_mode()
        long, short = await self._entries.legs(command)
        self._check_free({long, short}, long.symbol)
        return begin(self._intent(command, await self._entries.check(command, long, short)))

    def _intent(self, command: cmd.OpenCommand, checked: CheckedEntry) -> ev.EntryIntended:
        return intent_of(
            position_key(self._needs.ids.new_id()),
            self._needs.clock.now(),
            checked.long,
            checked.short,
            checked.proposal,
            self._needs.policy,
            command.opportunity_id,
        )

    def _check_mode(self) -> None:
        self._needs.leadership.check()
        self._history.check()
        if self._is_stopped():
            reason = self._halts.reason or self._book.engine.reason
            raise PreconditionError(f"engine is halted: {reason}", reason="ENGINE_HALTED")
        if self._stopping:
            raise PreconditionError("the engine is stopping", reason="ENGINE_STOPPING")
        if not self._fleet.is_reconciled:
            raise PreconditionError("start-up recovery is not done", reason="ENGINE_NOT_RECONCILED")

    def _check_breaker(self, symbol: str) -> None:
        if reason := self._book.engine.breakers.get(symbol):
            raise PreconditionError(
                f"entries in {symbol} are stopped: {reason}; resume resets it",
                reason="SYMBOL_HALTED",
            )
        broken = tuple(self._book.engine.breaks.values())
        if stops := stopping(symbol, broken, self._needs.policy.reconcile_break_limit):
            raise PreconditionError(
                "; ".join(text_of(one) for one in stops), reason="RECONCILIATION_BROKEN"
            )
        if self._book.unknown_order_ids(symbol):
            raise PreconditionError(
                f"the outcome of an order in {symbol} is unknown", reason="ORDER_OUTCOME_UNKNOWN"
            )

    def _check_free(self, legs: set[InstrumentRef], symbol: str) -> None:
        """Refuse a second position in an instrument: their fills and funding would mix."""
        self._check_breaker(symbol)
        rules = [(p.intent.long_rules, p.intent.short_rules) for p in self._book.live()]
        taken = {one.ref for pair in rules for one in pair}
        if legs & (taken | self._entering):
            raise PreconditionError(
                "another position is on in one of the instruments", reason="INSTRUMENT_IN_USE"
            )

    def _exit_request(
        self, position_id: str, reason: str, command: cmd.CloseCommand | None = None
    ) -> ev.ExitRequested:
        bound = command.slippage_bound_ratio if command is not None else None
        return ev.ExitRequested(position_id, self._needs.clock.now(), reason, bound)

    async def _start_exits(
        self, stamp: Stamp, *requests: ev.ExitRequested | ev.ReduceRequested
    ) -> tuple[str, ...]:
        keys = tuple(request.position_id for request in requests)
        await self._book.record(*requests, stamp(*keys))
        self._fleet.wake_together(keys)
        return keys

    async def _switch(
        self, command: cmd.HaltCommand | cmd.ResumeCommand, *events: ev.EngineEvent
    ) -> StatusView:
        async def work(stamp: Stamp) -> tuple[str, ...]:
            is_halt = isinstance(command, cmd.HaltCommand)
            # In memory before any disk is asked: no lead leaves from here on.
            if is_halt:
                await self._halts.engage(command.reason, self._fleet.look_again)
            await self._book.record(*events, stamp())
            if not is_halt:
                await self._halts.release()
            self._status_changed()
            return ()

        await self._commands.run(command, work)
        return self.status()

    def _require(self, position_id: str) -> Position:
        position = self._book.get(position_id)
        if position is None:
            self._book.check_whole()
            raise NotFoundError(
                f"no hedged position {position_id}", reason="HEDGED_POSITION_NOT_FOUND"
            )
        return position

    def _stops_slices(self, symbol: str) -> bool:
        record, limit = self._book.engine, self._needs.policy.reconcile_break_limit
        state = state_of(symbol, self._mode(), record.breakers)
        is_broken = bool(stopping(symbol, tuple(record.breaks.values()), limit))
        return self._stopping or is_broken or not may_send(state, OrderClass.ENTRY)

    def _is_stopped(self) -> bool:
        return not may_send(self._mode(), OrderClass.ENTRY)

    def _mode(self) -> EngineMode:
        return EngineMode.HALTED if self._halts.reason else self._book.engine.mode

    def _status_changed(self) -> None:
        self._needs.observer.engine_changed(self.status())
