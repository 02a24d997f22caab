"""Risk as the ledger has it: checks of an entry, the day, breakers and read models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from services.common.clock import Clock
from services.common.errors import PreconditionError
from services.common.logs import get_logger
from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.figures import EarnedSum, HeldSum
from services.engine.owned_tasks import OwnedTasks
from services.engine.policy import EngineLimits
from services.engine.position import Position, begin
from services.engine.risk_checks import RiskFacts, check_risk, look_back
from services.engine.risk_exposure import Marks, PlannedEntry
from services.engine.risk_failure import CheckFailure
from services.engine.risk_failures import consecutive_failures, consecutive_losses, is_too_many
from services.engine.risk_limits import RiskLimits
from services.engine.risk_result import position_result, utc_day
from services.engine.risk_staleness import is_stale
from services.engine.risk_views import BreakerView, SymbolRisk, symbol_risk
from services.engine.views import EngineMode

_ZERO = Decimal(0)
_SUMMED_IN_A_TURN = 10
_log = get_logger(__name__)


class RiskDesk:
    """Judges entries by everything that is on, reserved entries included, and keeps the day.

    `marks` gives the prices that positions are valued at; without one, a leg stands at its fills.
    """

    def __init__(
        self, book: PositionBook, clock: Clock, limits: EngineLimits, risk: RiskLimits
    ) -> None:
        self._book = book
        self._clock = clock
        self._limits = limits
        self._risk = risk
        self._tasks = OwnedTasks()
        self._reserved: dict[str, Position] = {}
        self._final_results: dict[str, Decimal] = {}
        self._final_sum = _ZERO
        self.marks: Callable[[], Marks] = dict

    @property
    def limits(self) -> EngineLimits:
        """Bounds of a pair."""
        return self._limits

    def live(self) -> tuple[Position, ...]:
        """Return what is not final, and every entry that is being written to the journal."""
        return (*self._book.live(), *self._reserved.values())

    def since(self, before: Iterable[Position]) -> tuple[Position, ...]:
        """Return what is live, and those of `before`, a look at that, which have ended since."""
        found = (self._book.get(p.position_id) for p in before)
        return (*self.live(), *(p for p in found if p is not None and p.status.is_final))

    def reserve(self, intent: ev.EntryIntended) -> None:
        """Count an entry as on from now: until it is durable, no other check could see it."""
        self._reserved[intent.position_id] = begin(intent)

    def release(self, position_id: str) -> None:
        """Forget a reservation, once the position is in the book or its write has failed."""
        self._reserved.pop(position_id, None)

    def check(self, symbol: str, planned: PlannedEntry, fees: Decimal) -> tuple[CheckFailure, ...]:
        """Return every bound of risk that an entry would break; `fees` are those of both ways."""
        now = self._clock.now()
        facts = RiskFacts(
            (*self.live(), *self._book.ended.since(look_back(now, self._risk))),
            now,
            self.day_result() or _ZERO,
            self._failed(),
            self.marks(),
        )
        return check_risk(symbol, planned, fees, facts, self._risk)

    def is_stale(self, observe_time: datetime | None) -> bool:
        """Tell whether what was observed then is too old to enter upon; None is of any age."""
        bound = self._risk.max_opportunity_age
        if observe_time is None:
            return bound is not None
        return is_stale(self._clock.now() - observe_time, bound)

    async def sum_up(self) -> None:
        """Sum what ended, where that is counted, a few at a time: hedges share the event loop."""
        is_more = self._risk.max_daily_loss is not None and self._book.is_whole
        while is_more:
            is_more = self._sum_some()
            await asyncio.sleep(0)

    def look(self) -> None:
        """Open the UTC day where it is counted, and stop all entries after too many failures."""
        if not self._book.is_whole:
            return
        now = self._clock.now()
        day = self._book.engine.day
        counted = self._risk.max_daily_loss is not None
        if counted and (day is None or utc_day(day.at) != utc_day(now)):
            self._book.record_soon(ev.DayOpened(now, self._result()))
        failed = self._failed()
        if is_too_many(failed, self._risk) and self._book.engine.mode is EngineMode.ACTIVE:
            _log.error("entries_stopped", reason="CONSECUTIVE_FAILURES", count=failed)
            self._book.record_soon(ev.BreakerTripped(now, "", "CONSECUTIVE_FAILURES"))

    def day_result(self) -> Decimal | None:
        """Return what was made since the UTC day's first look; None where it was not opened.

        None, too, until the journal is whole: what has ended is a part of it.
        """
        day = self._opened_day()
        if day is None or not self._book.is_whole:
            return None
        return self._result() - day.result

    def _opened_day(self) -> ev.DayOpened | None:
        day = self._book.engine.day
        is_now = day is not None and utc_day(day.at) == utc_day(self._clock.now())
        return day if is_now else None

    def made_today(self, earned: EarnedSum) -> Decimal | None:
        """Return `day_result` where the sums of all positions are at hand."""
        day = self._opened_day()
        return None if day is None else sum(earned.results.values(), _ZERO) - day.result

    def used_ratios(self, held: HeldSum, earned: EarnedSum | None) -> dict[str, Decimal]:
        """Return how much of each bound of the whole engine is used by these sums.

        Bounds that are not set are absent; without `earned`, so are those of the day.
        """
        used: dict[str, Decimal] = {}
        if self._risk.max_daily_loss and earned is not None:
            lost = -(self.made_today(earned) or _ZERO)
            used["max_daily_loss"] = max(_ZERO, lost) / self._risk.max_daily_loss
        if self._risk.max_daily_fees and earned is not None:
            used["max_daily_fees"] = earned.day_fees / self._risk.max_daily_fees
        if self._limits.max_total_notional:
            used["max_total_notional"] = held.notional / self._limits.max_total_notional
        if self._limits.max_open_positions:
            used["max_open_positions"] = Decimal(held.count) / self._limits.max_open_positions
        return used

    def symbol_risks(self, symbols: Sequence[str]) -> tuple[SymbolRisk, ...]:
        """Return the figures of these symbols, or of all that are held."""
        self._book.check_whole()
        positions, marks = self._book.live(), self.marks()
        held = sorted({p.symbol for p in positions})
        return tuple(
            symbol_risk(symbol, positions, marks, self._limits, self._risk)
            for symbol in dict.fromkeys(symbols or held)
        )

    def breaker(self, symbol: str) -> BreakerView:
        """Return the breaker of a symbol, or the global one where it is empty."""
        record = self._book.engine
        marks = self.marks()
        own = [p for p in self._book.whole() if symbol in ("", p.symbol)]
        losses = consecutive_losses(own, record.resume_time, lambda p: position_result(p, marks))
        view = BreakerView(symbol, "", None, losses, None if symbol else self.day_result())
        if symbol and symbol in record.breakers:
            at = record.breaker_times[symbol]
            return replace(view, reason=record.breakers[symbol], open_time=at)
        if not symbol and record.mode is not EngineMode.ACTIVE:
            return replace(view, reason=record.reason, open_time=record.mode_time)
        return view

    async def open_breaker(self, symbol: str, reason: str) -> None:
        """Stop entries in a symbol, or all; durable. Raises `JournalError`."""
        if not self._is_open(symbol):
            event = ev.BreakerTripped(self._clock.now(), symbol, f"BREAKER_OPENED {reason}")
            await self._record(event)

    async def close_breaker(self, symbol: str) -> None:
        """Allow entries again; durable. Raises `JournalError`.

        Raises `PreconditionError` (ENGINE_HALTED) for the global one while an operator's halt
        stands: only resume ends that.
        """
        if not symbol and self._book.engine.mode is EngineMode.HALTED:
            raise PreconditionError(
                "halted by an operator: resume ends that", reason="ENGINE_HALTED"
            )
        if self._is_open(symbol):
            await self._record(ev.BreakerReset(self._clock.now(), symbol, "BREAKER_CLOSED"))

    async def _record(self, event: ev.BreakerTripped | ev.BreakerReset) -> None:
        # In a task: its caller may leave while it is written, and what the journal has holds here.
        await asyncio.shield(self._tasks.spawn(self._book.record(event), "breaker"))

    def _is_open(self, symbol: str) -> bool:
        record = self._book.engine
        return symbol in record.breakers if symbol else record.mode is not EngineMode.ACTIVE

    def _failed(self) -> int:
        return consecutive_failures(self._book.newest(), self._book.engine.resume_time)

    def _result(self) -> Decimal:
        while self._sum_some():
            pass
        marks = self.marks()
        return self._final_sum + sum((position_result(p, marks) for p in self._book.live()), _ZERO)

    def _sum_some(self) -> bool:
        # Final positions are many and change seldom: their sum follows what did.
        changed = self._book.ended.take_changed(_SUMMED_IN_A_TURN)
        for key in changed:
            position = self._book.get(key)
            self._final_sum -= self._final_results.pop(key, _ZERO)
            if position is not None and position.status.is_final:
                self._final_results[key] = position_result(position, {})
                self._final_sum += self._final_results[key]
        return bool(changed)
