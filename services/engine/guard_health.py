"""How near the guards are to acting: the worst figure of each venue that has a position."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from services.engine.guard_liquidation import liquidation_distance
from services.engine.guard_memory import GuardMemory
from services.engine.instruments import InstrumentRef, LegSide
from services.engine.position import Position


class GuardHealth:
    """The worst of each venue, by exchange, of the positions it was given; absent is not told.

    `distances` are fractions of the mark, `margin_ratios` of the margin balance, `silences` the
    time since the venue answered.
    """

    def __init__(self, memory: GuardMemory, now: float) -> None:
        self._memory = memory
        self._now = now
        self.distances: dict[str, Decimal] = {}
        self.margin_ratios: dict[str, Decimal] = {}
        self.silences: dict[str, timedelta] = {}

    def add(self, position: Position) -> dict[InstrumentRef, Decimal]:
        """Take one position that is not final, and return the marks of its legs that are known."""
        legs = self._memory.market(position, self._now).legs
        account = self._memory.account(position, self._now, has_moved=False)
        marks = {position.rules(leg).ref: row.mark for leg, row in legs.items()}
        for leg in LegSide:
            ref, facts = position.rules(leg).ref, account.legs[leg]
            self.silences[ref.exchange] = facts.silent_for
            if position.held(leg) <= 0:
                continue
            _worsen(self.margin_ratios, ref.exchange, facts.margin_ratio, max)
            mark, price = marks[ref], facts.liquidation_price
            if mark is not None and price is not None and mark > 0:
                distance = liquidation_distance(leg, mark, price)
                _worsen(self.distances, ref.exchange, distance, min)
        return {ref: mark for ref, mark in marks.items() if mark is not None}


def _worsen(
    worst: dict[str, Decimal],
    exchange: str,
    value: Decimal | None,
    worse: Callable[[Decimal, Decimal], Decimal],
) -> None:
    if value is not None:
        worst[exchange] = worse(value, worst.get(exchange, value))
