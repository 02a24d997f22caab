"""What the strategy decides by: what is held, what is offered, and what stands against entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

from services.engine.follower_offer import Offer
from services.engine.instruments import InstrumentRef, LegSide
from services.engine.position import Position
from services.engine.views import PositionStatus

_ZERO = Decimal(0)
_YEAR_HOURS = Decimal(8760)
Legs = tuple[InstrumentRef, InstrumentRef]
"""The leg that is long and the leg that is short."""


@dataclass(frozen=True, slots=True)
class Held:
    """One position that is not over; `notional` of one leg in quote asset, worst case.

    `is_own` says whether the strategy entered it: what an operator opened is his to close.
    `carry_apr` is what the coming settlements bring a year by the venues' own word, as a fraction
    of one leg's notional; None while it is unknown.
    """

    position_id: str
    symbol: str
    long_leg: InstrumentRef
    short_leg: InstrumentRef
    status: PositionStatus
    notional: Decimal
    is_own: bool
    carry_apr: Decimal | None = None

    @property
    def legs(self) -> Legs:
        """The leg that is long and the leg that is short."""
        return self.long_leg, self.short_leg


@dataclass(frozen=True, slots=True)
class Quoted:
    """An offer with the reason why it must not be acted upon, empty where it may."""

    offer: Offer
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a round of decisions knows.

    `quotes` are by the pair of legs. `entries_problem` is why nothing may be entered at all.
    `is_whole` says that the offers are all there are: only then does an absent one mean anything.
    `taken` are the revisions of opportunities that were entered before. `flipped_for` and
    `missing_for` are how long a position's coming settlements have cost, and its pair was not
    offered.
    """

    now: datetime
    quotes: Mapping[Legs, Quoted]
    held: tuple[Held, ...]
    is_whole: bool
    entries_problem: str = ""
    cooldowns: Mapping[str, datetime] = field(default_factory=dict)
    taken: frozenset[tuple[str, int]] = frozenset()
    flipped_for: Mapping[str, timedelta] = field(default_factory=dict)
    missing_for: Mapping[str, timedelta] = field(default_factory=dict)

    @property
    def total_notional(self) -> Decimal:
        """Notional of one leg of everything that is on."""
        return sum((h.notional for h in self.held), _ZERO)

    def symbol_notional(self, symbol: str) -> Decimal:
        """Notional of one leg of everything that is on in a symbol."""
        return sum((h.notional for h in self.held if h.symbol == symbol), _ZERO)

    def venue_notional(self, exchange: str) -> Decimal:
        """Notional of all legs at a venue."""
        return sum(
            (h.notional for h in self.held for ref in h.legs if ref.exchange == exchange), _ZERO
        )

    def quote_of(self, held: Held) -> Quoted | None:
        """Return what is offered now for the pair of legs a position has."""
        return self.quotes.get(held.legs)

    def sees_venues_of(self, held: Held) -> bool:
        """Whether an offer that stands names both venues of a position: the scanner reads them."""
        seen = {ref.exchange for q in self.quotes.values() if not q.problem for ref in q.offer.legs}
        return {ref.exchange for ref in held.legs} <= seen

    def knows_absence(self, held: Held, least_apr: Decimal) -> bool:
        """Whether an absent offer says that the carry of a position is gone.

        Where the scanner is seen to read both venues, or where these say themselves that the coming
        settlements bring less than `least_apr` a year: in a dull market nothing is offered at all.
        """
        dull = held.carry_apr is not None and held.carry_apr < least_apr
        return self.is_whole and (dull or self.sees_venues_of(held))

    def resized(self, position_id: str, notional: Decimal) -> Situation:
        """Return the situation once a position has the notional that was decided."""
        changed = tuple(
            replace(h, notional=notional) if h.position_id == position_id else h for h in self.held
        )
        return replace(self, held=changed)

    def entered(self, offer: Offer, notional: Decimal) -> Situation:
        """Return the situation once an offer that was decided for is on."""
        held = Held(
            offer.opportunity_id,
            offer.symbol,
            offer.long_leg,
            offer.short_leg,
            PositionStatus.OPENING,
            notional,
            is_own=True,
        )
        return replace(self, held=(*self.held, held))


def quotes_of(quotes: Iterable[Quoted]) -> dict[Legs, Quoted]:
    """Return the quotes by their legs; of two for the same legs the newest revision."""
    found: dict[Legs, Quoted] = {}
    for quoted in sorted(quotes, key=lambda q: q.offer.revision):
        found[quoted.offer.legs] = quoted
    return found


def held_of(
    positions: Iterable[Position], own: Iterable[str], carries: Mapping[str, Decimal]
) -> tuple[Held, ...]:
    """Return the positions that are not over; `carries` are fractions an hour, where known."""
    mine = frozenset(own)
    return tuple(
        Held(
            p.position_id,
            p.symbol,
            p.rules(LegSide.LONG).ref,
            p.rules(LegSide.SHORT).ref,
            p.status,
            _notional(p),
            p.position_id in mine,
            _yearly(carries.get(p.position_id)),
        )
        for p in positions
        if not p.status.is_final
    )


def _yearly(carry: Decimal | None) -> Decimal | None:
    if carry is None:
        return None
    with localcontext() as context:
        # The wire's largest figures have more digits than the default takes.
        context.prec = 60
        return round(carry * _YEAR_HOURS, 12)


def _notional(position: Position) -> Decimal:
    price = max(position.intent.lead_reference, position.intent.hedge_reference)
    if position.status is PositionStatus.OPEN:
        return max(position.held(leg) for leg in LegSide) * price
    # What moves may still fill whole: an unknown order counts as filled for limits.
    asked = position.intent.quantity if position.status is PositionStatus.OPENING else _ZERO
    return max(asked, *(position.held(leg) for leg in LegSide)) * price


def cooldowns_of(
    positions: Iterable[Position], cooldown: timedelta, refused: Mapping[str, datetime]
) -> dict[str, datetime]:
    """Return until when each symbol is not entered: a position ended there, or was refused."""
    until = dict(refused)
    for position in positions:
        if position.close_time is not None:
            end = position.close_time + cooldown
            until[position.symbol] = max(end, until.get(position.symbol, end))
    return until
