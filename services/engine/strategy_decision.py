"""A decision before it is journaled, and the figures it stands on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

from services.engine.events import DecisionTaken
from services.engine.follower_offer import Offer
from services.engine.strategy_facts import Held, Situation
from services.engine.strategy_inputs import DecisionInputs
from services.engine.strategy_words import DecisionAction, Figure, StrategyMode

_YEAR_SECONDS = Decimal(365 * 86_400)
# Journals and the wire carry so many digits; more would be noise.
_STEP = Decimal("0.000000000001")


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about one offer or one position, and why; `ratio` is the share to take off.

    `wanted` is the opportunity a rotation makes room for, `seen` the situation it was decided in.
    """

    action: DecisionAction
    reason: str
    symbol: str
    opportunity_id: str = ""
    revision: int = 0
    position_id: str = ""
    notional: Decimal | None = None
    ratio: Decimal | None = None
    figures: tuple[Figure, ...] = ()
    wanted: str = ""
    seen: Situation | None = field(default=None, compare=False, repr=False)

    @property
    def subject(self) -> str:
        """What the decision is about: the position, else the opportunity."""
        return self.position_id or self.opportunity_id

    def event(
        self, at: datetime, mode: StrategyMode, inputs: DecisionInputs | None = None
    ) -> DecisionTaken:
        """Return the decision as it is journaled."""
        return DecisionTaken(
            at,
            mode,
            self.action,
            self.reason,
            self.symbol,
            self.opportunity_id,
            self.revision,
            self.position_id,
            self.notional,
            self.figures,
            inputs=inputs,
        )


def carry_over(apr: Decimal, length: timedelta) -> Decimal:
    """Return the carry of a length of time, as a fraction of one leg's notional."""
    return apr * Decimal(int(length.total_seconds())) / _YEAR_SECONDS


def figures(**values: Decimal | None) -> tuple[Figure, ...]:
    """Return the figures that are known, rounded to twelve digits after the point."""
    with localcontext() as context:
        # The wire's largest figures have more digits than the default takes.
        context.prec = 60
        return tuple(
            Figure(name, value.quantize(_STEP))
            for name, value in values.items()
            if value is not None
        )


def offer_figures(offer: Offer) -> tuple[Figure, ...]:
    """Return the figures of an offer that decisions stand on."""
    return figures(
        net_apr=offer.net_apr,
        gross_apr=offer.gross_apr,
        current_apr=offer.current_apr,
        round_trip_cost_ratio=offer.round_trip_cost_ratio,
        basis_ratio=offer.basis_ratio,
        capacity_notional=offer.capacity_notional,
        expected_holding_hours=Decimal(int(offer.expected_holding_time.total_seconds())) / 3600,
    )


def about_offer(
    action: DecisionAction,
    reason: str,
    offer: Offer,
    notional: Decimal | None = None,
    extra: tuple[Figure, ...] = (),
) -> Decision:
    """Return a decision about an offer, with its figures where it will be journaled."""
    # Fifty are passed in a round, and hedges share the event loop with their figures.
    known = () if action is DecisionAction.PASS else offer_figures(offer)
    return Decision(
        action,
        reason,
        offer.symbol,
        offer.opportunity_id,
        offer.revision,
        notional=notional,
        figures=(*known, *extra),
    )


def about_position(
    action: DecisionAction,
    reason: str,
    held: Held,
    offer: Offer | None = None,
    *,
    notional: Decimal | None = None,
    ratio: Decimal | None = None,
    extra: tuple[Figure, ...] = (),
) -> Decision:
    """Return a decision about a position, with the figures of what is offered for its pair."""
    known = () if offer is None else offer_figures(offer)
    return Decision(
        action,
        reason,
        held.symbol,
        "" if offer is None else offer.opportunity_id,
        0 if offer is None else offer.revision,
        held.position_id,
        notional,
        ratio,
        (*known, *figures(held_notional=held.notional, carry_apr=held.carry_apr), *extra),
    )
