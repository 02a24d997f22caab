"""The last events, read from the positions and the engine's record: no second book of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from services.engine.events import DecisionTaken
from services.engine.ledger import EngineRecord
from services.engine.orders import OrderState
from services.engine.page.facts import DoubtfulOrder, Level, PageEvent
from services.engine.position import OrderRecord, Position
from services.engine.strategy_words import DecisionAction
from services.engine.views import EngineMode, PositionStatus

# An order in flight is no news; one that a crash left behind is.
_PROMPT = timedelta(seconds=2)
_DOUBTFUL = frozenset({OrderState.PENDING, OrderState.UNKNOWN})
_MODE_LEVELS = {
    EngineMode.ACTIVE: Level.GOOD,
    EngineMode.REDUCING: Level.BAD,
    EngineMode.HALTED: Level.BAD,
}


def last_events(
    positions: Iterable[Position],
    record: EngineRecord,
    alerts: Iterable[PageEvent],
    count: int,
) -> tuple[PageEvent, ...]:
    """Return the newest events of these positions, the engine and its guards, newest first."""
    found = [*_of_engine(record)]
    for position in positions:
        found += _of_position(position, count)
    found += alerts
    # Stable: an entry and its first order have one time, and the order came after it.
    found.sort(key=lambda event: event.at)
    return tuple(reversed(found[-count:]))


def doubtful_orders(positions: Iterable[Position], now: datetime) -> tuple[DoubtfulOrder, ...]:
    """Return the orders whose outcome is unknown or long in coming, the oldest first."""
    found = [
        DoubtfulOrder(r.plan.client_order_id, p.position_id, _asked(r, p.symbol), r.create_time)
        for p in positions
        if not p.is_settled
        for r in p.orders.values()
        if r.state is OrderState.UNKNOWN
        or (r.state is OrderState.PENDING and now - r.create_time >= _PROMPT)
    ]
    return tuple(sorted(found, key=lambda order: order.since))


def _of_engine(record: EngineRecord) -> Iterator[PageEvent]:
    text = f"engine {record.mode.value}"
    if record.reason:
        text = f"{text}: {record.reason}"
    yield PageEvent(record.mode_time, _MODE_LEVELS[record.mode], "", text)
    for symbol, reason in record.breakers.items():
        text = f"entries stopped: {reason}"
        yield PageEvent(record.breaker_times[symbol], Level.BAD, symbol, text)
    for broke in record.breaks.values():
        text = f"{broke.pocket} should be {broke.expected:f}, the venue tells {broke.told:f}"
        yield PageEvent(broke.at, Level.BAD, "", text)
    if record.strategy is not None:
        text = f"strategy {record.strategy.mode.value}: {record.strategy.reason}".rstrip(": ")
        yield PageEvent(record.strategy.at, Level.PLAIN, "", text)
    yield from (_decided(each) for each in record.decisions if _is_told(each))


def _is_told(decision: DecisionTaken) -> bool:
    return decision.action is not DecisionAction.HOLD


def _decided(decision: DecisionTaken) -> PageEvent:
    text = f"strategy ({decision.mode.value}): {decision.action.value}, {decision.reason}"
    if decision.text:
        text = f"{text}: {decision.text}"
    return PageEvent(decision.at, Level.PLAIN, decision.symbol, text)


def _of_position(position: Position, count: int) -> Iterator[PageEvent]:
    symbol, key = position.symbol, position.position_id
    yield PageEvent(position.intent.at, Level.PLAIN, symbol, f"entry begun as {key}")
    # An exit that is refused for days has thousands; no more than `count` could be shown.
    for record in tuple(position.orders.values())[-count:]:
        yield _of_order(record, symbol)
    if position.close_time is not None:
        text = position.status.value
        # An entry that came to nothing is no fault, yet nobody wanted it.
        level = Level.GOOD if position.status is PositionStatus.CLOSED else Level.WATCH
        if position.reason:
            text = f"{text}: {position.reason}"
        yield PageEvent(position.close_time, level, symbol, text)
    for leg, gone in position.gone.items():
        lost = f"{gone.total:f} of the {leg.value} leg left without an order of ours"
        yield PageEvent(position.update_time, Level.BAD, symbol, lost)


def _of_order(record: OrderRecord, symbol: str) -> PageEvent:
    text = f"{record.plan.order_class.value}: {_asked(record, symbol)}"
    return PageEvent(record.create_time, _level(record), symbol, f"{text}: {_outcome(record)}")


def _asked(record: OrderRecord, symbol: str) -> str:
    plan = record.plan
    place = f"{plan.instrument.exchange} {plan.instrument.kind.value}"
    return f"{plan.side.value} {plan.quantity.normalize():f} {symbol} at {place}"


def _outcome(record: OrderRecord) -> str:
    if record.state in _DOUBTFUL:
        word = "outcome unknown" if record.state is OrderState.UNKNOWN else "sent, no answer yet"
        return f"{word}{f' ({record.reason})' if record.reason else ''}"
    if record.executed == 0:
        word = "nothing filled" if record.state is OrderState.ENDED else record.state.value
        return f"{word.replace('_', ' ')}{f' ({record.reason})' if record.reason else ''}"
    price = "" if record.average_price is None else f" at {record.average_price.normalize():f}"
    return f"filled {record.executed.normalize():f}{price}"


def _level(record: OrderRecord) -> Level:
    if record.state is OrderState.UNKNOWN:
        return Level.BAD
    if record.state is OrderState.PENDING:
        return Level.WATCH
    return Level.GOOD if record.executed > 0 else Level.WATCH
