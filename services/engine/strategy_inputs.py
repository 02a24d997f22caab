"""Everything one decision of the strategy was made from, small enough for the journal.

Of the offers those that are judged are kept, of the positions those in the same symbol; of the
others only what they take of the caps. `strategy_replay` makes them from a round's situation and
decides again from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from services.engine.instruments import InstrumentRef
from services.engine.views import PositionStatus


@dataclass(frozen=True, slots=True)
class OfferInput:
    """One offer as it was judged; figures as in `follower_offer.Offer`.

    `problem` is why it must not be acted upon. `is_taken` tells that the revision was entered
    before, `cooldown_until` until when nothing is entered in its symbol.
    """

    opportunity_id: str
    revision: int
    symbol: str
    long_leg: InstrumentRef
    short_leg: InstrumentRef
    gross_apr: Decimal
    net_apr: Decimal
    round_trip_cost_ratio: Decimal
    current_apr: Decimal | None
    basis_ratio: Decimal | None
    capacity_notional: Decimal | None
    caveats: tuple[str, ...]
    expected_holding_time: timedelta
    expire_time: datetime
    problem: str
    is_taken: bool
    cooldown_until: datetime | None


@dataclass(frozen=True, slots=True)
class HeldInput:
    """One position as it was judged; `notional` of one leg in quote asset, worst case.

    `carry_apr` is what the coming settlements bring a year by the venues' own word.
    `flipped_for` and `missing_for` are how long its coming settlements had cost, and its pair was
    not offered; None where neither was so.
    """

    position_id: str
    symbol: str
    long_leg: InstrumentRef
    short_leg: InstrumentRef
    status: PositionStatus
    notional: Decimal
    is_own: bool
    carry_apr: Decimal | None
    flipped_for: timedelta | None
    missing_for: timedelta | None


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """What `count` other positions take of the caps: `notional` of one leg, all together.

    A venue that none of the judged legs is at has an empty name.
    """

    long_exchange: str
    short_exchange: str
    count: int
    notional: Decimal


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """The facts of one decision; `policy_id` names the rules in force (`StrategyRulesTaken`).

    `is_whole` says that the offers heard were all there were. `entries_problem` is why nothing was
    to be entered at all.
    """

    policy_id: str
    now: datetime
    is_whole: bool
    entries_problem: str
    offers: tuple[OfferInput, ...]
    held: tuple[HeldInput, ...]
    others: tuple[HeldGroup, ...]
