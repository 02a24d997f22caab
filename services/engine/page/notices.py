"""What an operator must know first: halted, unknown, unhedged, unreachable, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from services.engine.page.facts import Level, PageFacts
from services.engine.page.words import percent
from services.engine.views import EngineMode, PositionStatus

_MODES = {
    EngineMode.HALTED: "Halted: nothing is opened, exits still run",
    EngineMode.REDUCING: "Entries are stopped by a breaker, exits still run",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that is not as it should be; `since` None where nobody knows."""

    level: Level
    title: str
    text: str
    since: datetime | None = None


def notices_of(facts: PageFacts) -> tuple[Notice, ...]:
    """Return what wants attention, the worst first; empty where all is well."""
    found = [*_engine(facts), *_positions(facts), *_venues(facts)]
    # Stable: inside a level they stay in the order they were found in.
    return tuple(sorted(found, key=lambda notice: notice.level is not Level.BAD))


def _engine(facts: PageFacts) -> Iterator[Notice]:
    status = facts.status
    if status.mode is not EngineMode.ACTIVE:
        reason = status.reason or "no reason was given"
        yield Notice(Level.BAD, _MODES[status.mode], reason, status.mode_time)
    elif status.reason:
        yield Notice(Level.BAD, "Something is held up", status.reason)
    if not status.reconciled:
        text = "venues and journal are compared first; entries wait until that is done"
        yield Notice(Level.WATCH, "Recovery after the start is not finished", text)


def _positions(facts: PageFacts) -> Iterator[Notice]:
    for order in facts.doubtful:
        text = f"{order.text}; order {order.client_order_id} of position {order.position_id}"
        yield Notice(Level.BAD, "The outcome of an order is unknown", text, order.since)
    for row in facts.positions:
        view = row.view
        if view.status is PositionStatus.OPEN and not row.is_neutral:
            text = f"{view.residual_quantity:f} {row.base_asset} of {view.position_id} has no hedge"
            yield Notice(Level.BAD, f"{view.symbol} is not hedged", text, view.update_time)
        elif row.carry_apr is not None and row.carry_apr < 0:
            text = f"{percent(row.carry_apr)} a year at the rates of the coming settlements"
            yield Notice(Level.WATCH, f"{view.symbol} pays for being held", text)


def _venues(facts: PageFacts) -> Iterator[Notice]:
    for venue in facts.status.venues:
        if not venue.reachable:
            problem = venue.problem or "nothing was heard of it yet"
            yield Notice(Level.BAD, f"{venue.exchange} does not answer", problem)
