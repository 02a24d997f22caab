"""The strategy's rounds: gather the facts, decide, journal, and in auto mode carry it out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.common.clock import Clock
from services.common.errors import InvalidFieldError, OpensqtError, PreconditionError
from services.common.logs import get_logger
from services.engine import commands as cmd
from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.follower_board import OfferBoard
from services.engine.idempotency import CommandDesk, Stamp
from services.engine.owned_tasks import OwnedTasks
from services.engine.ports import EngineApi
from services.engine.risk_result import utc_day
from services.engine.strategy_decision import Decision
from services.engine.strategy_facts import Quoted, Situation, cooldowns_of, held_of, quotes_of
from services.engine.strategy_plan import decide
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_replay import inputs_of, policy_id_of
from services.engine.strategy_requests import enter_request, exit_request, reduce_request
from services.engine.strategy_watch import Persistence, flipped, missing
from services.engine.strategy_words import DecisionAction, StrategyMode
from services.engine.views import EngineMode

_log = get_logger(__name__)
_MAX_TEXT = 500
_Said = tuple[StrategyMode, DecisionAction, str]


class StrategyDesk:
    """Decides about what is held and offered; `setting` is the mode the settings ask for."""

    def __init__(
        self,
        engine: EngineApi,
        book: PositionBook,
        board: OfferBoard,
        clock: Clock,
        policy: StrategyPolicy,
        setting: StrategyMode,
        carries: Callable[[], Mapping[str, Decimal]] = dict,
    ) -> None:
        """`carries` are what positions receive in an hour by their venues' own word."""
        self._engine = engine
        self._book = book
        self._board = board
        self._clock = clock
        self._policy = policy
        self._policy_id = policy_id_of(policy)
        self._setting = setting
        self._carries = carries
        self._tasks = OwnedTasks()
        self._commands = CommandDesk(book, clock, self._tasks)
        self._flipped = Persistence()
        self._missing = Persistence()
        self._follows = False
        self._refused: dict[str, datetime] = {}
        self._untradable: dict[str, datetime] = {}
        self._told: dict[str, tuple[_Said, datetime]] = {}
        self.latest: tuple[Decision, ...] = ()
        """Everything the last round decided, offers that were passed included."""

    @property
    def mode(self) -> StrategyMode:
        """Return the mode in force: the last command's, unless the setting was changed since."""
        switched = self._book.engine.strategy
        if switched is not None and switched.setting is self._setting:
            return switched.mode
        return self._setting

    async def switch(self, command: cmd.SwitchStrategyCommand) -> StrategyMode:
        """Set the mode, durably; returns the one in force.

        Raises PreconditionError where no scanner is there to follow.
        """
        if command.mode is not StrategyMode.MANUAL and not self._follows:
            raise PreconditionError(
                "no [scanner] is configured; there is nothing to follow", reason="SCANNER_MISSING"
            )

        async def work(stamp: Stamp) -> tuple[str, ...]:
            now = self._clock.now()
            event = ev.StrategySwitched(now, command.mode, self._setting, command.reason)
            await self._book.record(event, stamp())
            return ()

        await self._commands.run(command, work)
        return self.mode

    def start(self, follow: Coroutine[Any, Any, None]) -> None:
        """Begin the rounds, and `follow`, which fills the board."""
        self._follows = True
        self._tasks.spawn(follow, "opportunities")
        self._tasks.spawn(self._rounds(), "strategy")

    def decisions(self) -> tuple[ev.DecisionTaken, ...]:
        """Return the newest journaled decisions, newest first.

        Raises UnreachableError (JOURNAL_BEING_READ) for a while after a start.
        """
        self._book.check_whole()
        return tuple(reversed(self._book.engine.decisions))

    async def stop(self) -> None:
        """End the rounds; what was begun is the engine's."""
        await self._tasks.close()

    async def decide_once(self) -> tuple[Decision, ...]:
        """Decide once about everything, journal what is new, and in auto mode act on it."""
        mode = self.mode
        # What was entered from which offer, and what has cooled down, stands in the journal's rest.
        if mode is StrategyMode.MANUAL or not self._book.is_whole:
            self.latest = ()
            return ()
        self.latest = decide(self._situation(), self._policy)
        self._journal(self.latest, mode)
        if mode is StrategyMode.AUTO:
            await self._act(self.latest)
        return self.latest

    async def _rounds(self) -> None:
        while True:
            try:
                await self.decide_once()
            except OpensqtError as error:
                # The next round sees the facts anew; ending here would leave positions alone.
                _log.warning("strategy_round_failed", reason=error.reason)
            except Exception:
                # A strategy that dies in silence would leave every exit to the operator.
                _log.exception("strategy_round_crashed")
            await self._clock.sleep(self._policy.decide_interval.total_seconds())

    def _situation(self) -> Situation:
        now, monotonic = self._clock.now(), self._clock.monotonic()
        record, cooldown = self._book.engine, self._policy.symbol_cooldown
        self._refused = {s: until for s, until in self._refused.items() if until > now}
        self._untradable = {p: until for p, until in self._untradable.items() if until > now}
        bare = Situation(
            now=now,
            quotes=quotes_of(
                Quoted(offer, self._board.problem(offer, now, monotonic))
                for offer in self._board.all()
            ),
            held=held_of(self._book.live(), record.strategy_entries, self._carries()),
            is_whole=self._board.caught_up,
        )
        self._flipped.note(*flipped(bare), monotonic)
        self._missing.note(*missing(bare, self._policy), monotonic)
        return Situation(
            now=now,
            quotes=bare.quotes,
            held=bare.held,
            is_whole=bare.is_whole,
            entries_problem=self._entries_problem(),
            cooldowns=cooldowns_of(
                self._book.ended.since(utc_day(now - cooldown)), cooldown, self._refused
            ),
            taken=frozenset(record.strategy_entries.values()),
            flipped_for=self._flipped.of(monotonic),
            missing_for=self._missing.of(monotonic),
        )

    def _entries_problem(self) -> str:
        status = self._engine.status()
        if status.mode is not EngineMode.ACTIVE:
            return "ENGINE_HALTED"
        return "" if status.reconciled else "ENGINE_NOT_RECONCILED"

    def _journal(self, decisions: Sequence[Decision], mode: StrategyMode) -> None:
        now, repeat = self._clock.now(), self._policy.repeat_interval
        told: dict[str, tuple[_Said, datetime]] = {}
        entry = _next_entry(decisions)
        for decision in decisions:
            # Offers nobody takes come and go by the hundred: they are shown, not journaled.
            if decision.action is DecisionAction.PASS:
                continue
            # The others have their turn in a later round, by the facts of then.
            is_later = decision.action is DecisionAction.ENTER and decision is not entry
            if mode is StrategyMode.AUTO and is_later:
                continue
            said = (mode, decision.action, decision.reason)
            known = self._told.get(decision.subject)
            # What is carried out is told each time, what only stands as it did is not.
            stands = decision.action is DecisionAction.HOLD or self._is_put_off(decision)
            acts = mode is StrategyMode.AUTO and not stands
            if not acts and known is not None and known[0] == said and now - known[1] < repeat:
                told[decision.subject] = known
                continue
            self._tell_rules(now)
            inputs = inputs_of(decision, self._policy_id)
            self._book.record_soon(decision.event(now, mode, inputs))
            told[decision.subject] = (said, now)
        self._told = told

    def _tell_rules(self, now: datetime) -> None:
        known = self._book.engine.strategy_rules
        if known is None or known.policy_id != self._policy_id:
            self._book.record_soon(ev.StrategyRulesTaken(now, self._policy_id, self._policy))

    async def _act(self, decisions: Sequence[Decision]) -> None:
        # Leaving first, and no wait of an entry before it.
        left = [await self._leave(decision) for decision in decisions]
        # One, and then the facts anew: while the venues answered, others may have come to pass.
        entry = _next_entry(decisions)
        # None into room that was not made: its size was decided with all of them gone.
        if entry is not None and all(left):
            await self._enter(entry)

    async def _leave(self, decision: Decision) -> bool:
        """Carry an exit or a reduction out; returns whether nothing stands against it."""
        if self._is_put_off(decision):
            return False
        key, reason = decision.position_id, f"STRATEGY {decision.reason}"
        try:
            if decision.action is DecisionAction.EXIT:
                await self._engine.close(cmd.CloseCommand(exit_request(key), key, reason=reason))
            elif decision.action is DecisionAction.REDUCE:
                await self._reduce(decision)
        except OpensqtError as error:
            # The others leave all the same.
            _log.warning("strategy_leaving_refused", position_id=key, reason=error.reason)
            is_reduction = decision.action is DecisionAction.REDUCE
            if is_reduction and isinstance(error, InvalidFieldError):
                self._untradable[key] = self._clock.now() + self._policy.refusal_cooldown
                self._tell_refusal(decision, error.reason, error.message)
            return False
        except Exception:
            # A bug about one position must not keep the others' exits waiting, round after round.
            _log.exception("strategy_leaving_crashed", position_id=key)
            return False
        return True

    def _is_put_off(self, decision: Decision) -> bool:
        """Whether a venue would not trade so little as a reduction takes; an exit never waits."""
        until = self._untradable.get(decision.position_id)
        is_reduction = decision.action is DecisionAction.REDUCE
        return is_reduction and until is not None and self._clock.now() < until

    async def _reduce(self, decision: Decision) -> None:
        position = self._book.get(decision.position_id)
        if position is None:
            return
        request = reduce_request(decision.position_id, position.revision)
        command = cmd.ReduceCommand(request, decision.position_id, ratio=decision.ratio)
        await self._engine.reduce(command)

    async def _enter(self, decision: Decision) -> None:
        # Exits before it took their time: the stream may have broken, or a newer revision come.
        if problem := self._problem_now(decision):
            self._tell_refusal(decision, problem, "it did not stand any more as its turn came")
            return
        command = cmd.OpenCommand(
            enter_request(decision.opportunity_id, decision.revision),
            opportunity_id=decision.opportunity_id,
            notional=decision.notional,
        )
        try:
            await self._engine.open(command)
        except OpensqtError as error:
            until = self._clock.now() + self._policy.refusal_cooldown
            self._refused[decision.symbol] = until
            self._tell_refusal(decision, error.reason, error.message)

    def _problem_now(self, decision: Decision) -> str:
        offer = self._board.get(decision.opportunity_id)
        if offer is None:
            return "WITHDRAWN"
        if offer.revision != decision.revision:
            return "SUPERSEDED"
        return self._board.problem(offer, self._clock.now(), self._clock.monotonic())

    def _tell_refusal(self, decision: Decision, reason: str, text: str) -> None:
        refused = replace(decision, action=DecisionAction.PASS, reason=reason)
        event = refused.event(self._clock.now(), StrategyMode.AUTO)
        self._book.record_soon(replace(event, text=text[:_MAX_TEXT]))


def _next_entry(decisions: Sequence[Decision]) -> Decision | None:
    return next((d for d in decisions if d.action is DecisionAction.ENTER), None)
