"""Gathering what the page shows: one look at the engine, one question to the scanner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal, localcontext
from heapq import nlargest
from typing import Protocol

from services.common.clock import Clock
from services.common.errors import OpensqtError
from services.engine.book import PositionBook
from services.engine.follower_offer import Offer
from services.engine.guard_desk import GuardDesk
from services.engine.guard_facts import GuardAction
from services.engine.instruments import LegSide
from services.engine.neutrality import is_neutral
from services.engine.page.events import doubtful_orders, last_events
from services.engine.page.facts import Level, Offers, PageEvent, PageFacts, PositionRow
from services.engine.position import Position
from services.engine.position_view import view_of
from services.engine.risk_alerts import RiskAlert
from services.engine.risk_exposure import Marks
from services.engine.risk_result import position_result
from services.engine.risk_views import held_notional
from services.engine.strategy_words import StrategyMode
from services.engine.views import StatusView

# Bounds of what one page costs: hedges share the event loop with it.
SHOWN_POSITIONS = 50
SUMMED_POSITIONS = 250
SHOWN_ENDED = 8
SHOWN_OFFERS = 10
SHOWN_EVENTS = 30
_LOOKED_AT_IN_A_TURN = 200
_HOURS_A_YEAR = Decimal(8_760)


class PageEngine(Protocol):
    """What the page reads of the engine."""

    guards: GuardDesk | None

    @property
    def ledger(self) -> PositionBook:
        """All positions and the engine's own record."""
        ...

    def status(self) -> StatusView:
        """Return the engine's state now."""
        ...


class PageSource:
    """Makes the facts of a page; `best` reads the scanner's first offers."""

    def __init__(
        self,
        engine: PageEngine,
        clock: Clock,
        *,
        best: Callable[[int], Awaitable[Sequence[Offer]]],
        alerts: Callable[[], Iterable[RiskAlert]],
        strategy: Callable[[], StrategyMode],
        day_result: Callable[[], Decimal | None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._best = best
        self._alerts = alerts
        self._strategy = strategy
        self._day_result = day_result

    async def facts(self) -> PageFacts:
        """Return what stands now; a scanner that does not answer is told, not raised."""
        offers = await self._offers()
        live, ended = await self._sorted_out()
        # What is at rest and hedged can wait: what moves must not be pushed off the page by it.
        live.sort(key=lambda p: (not _is_calm(p), p.intent.at), reverse=True)
        is_summed = len(live) <= SUMMED_POSITIONS
        shown = tuple(live[:SHOWN_POSITIONS])
        rows = await self._rows(live if is_summed else shown)
        alerts = [_alert_event(alert) for alert in self._alerts()]
        record = self._engine.ledger.engine
        now = self._clock.now()
        return PageFacts(
            now=now,
            status=self._engine.status(),
            strategy=self._strategy(),
            day_result=self._day_result(),
            positions=rows[:SHOWN_POSITIONS],
            summed=rows if is_summed else None,
            unshown_count=len(live) - len(shown),
            is_whole=self._engine.ledger.is_whole,
            ended=tuple(view_of(p) for p in ended),
            doubtful=doubtful_orders(live, now),
            offers=offers,
            events=last_events((*shown, *ended), record, alerts, SHOWN_EVENTS),
        )

    async def _sorted_out(self) -> tuple[list[Position], list[Position]]:
        """Return what is not closed, and the last of what ended; of that there may be 100,000."""
        live: list[Position] = []
        ended: list[Position] = []
        for number, position in enumerate(self._engine.ledger.all(), 1):
            if not position.status.is_final:
                live.append(position)
            elif position.close_time is not None:
                ended.append(position)
            if number % _LOOKED_AT_IN_A_TURN == 0:
                ended = nlargest(SHOWN_ENDED, ended, key=lambda p: p.update_time)
                await asyncio.sleep(0)
        return live, nlargest(SHOWN_ENDED, ended, key=lambda p: p.update_time)

    async def _rows(self, positions: Iterable[Position]) -> tuple[PositionRow, ...]:
        guards, rows = self._engine.guards, []
        for position in positions:
            marks = {} if guards is None else guards.marks(position)
            carries = {} if guards is None else guards.carries(position)
            rows.append(_row(position, marks, carries.get(position.position_id)))
            # Hedges share the event loop: none waits for more than one row.
            await asyncio.sleep(0)
        return tuple(rows)

    async def _offers(self) -> Offers:
        try:
            return Offers(tuple(await self._best(SHOWN_OFFERS)))
        except OpensqtError as error:
            return Offers(problem=error.message)


def _row(position: Position, marks: Marks, hourly: Decimal | None) -> PositionRow:
    with localcontext() as context:
        context.prec = 60
        return PositionRow(
            view=view_of(position),
            base_asset=position.intent.long_rules.base_asset,
            quote_asset=position.intent.long_rules.quote_asset,
            notional=max(held_notional(position, leg, marks) for leg in LegSide),
            result=position_result(position, marks),
            carry_apr=None if hourly is None else hourly * _HOURS_A_YEAR,
            is_neutral=_is_hedged(position),
        )


def _is_hedged(position: Position) -> bool:
    return is_neutral(position.residual, position.larger_lot, position.total_dust)


def _is_calm(position: Position) -> bool:
    return position.is_settled and _is_hedged(position)


def _alert_event(alert: RiskAlert) -> PageEvent:
    found = alert.finding
    level = Level.WATCH if found.action is GuardAction.ALERT else Level.BAD
    return PageEvent(alert.at, level, found.symbol, f"guard {found.guard}: {found.text}")
