"""What the journal holds: one frozen record per intent, order, fill and transition.

A position is what folding its events gives (`position.fold`). `at` is the engine's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from services.engine.instruments import InstrumentRules, LegSide
from services.engine.orders import AssetAmount, GoneCause, OrderOutcome, OrderPlan, OrderSide
from services.engine.pockets import Pocket
from services.engine.strategy_inputs import DecisionInputs
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_words import DecisionAction, Figure, StrategyMode
from services.engine.views import PositionStatus


@dataclass(frozen=True, slots=True)
class OrderAllowance:
    """Orders of one series that may be sent with no row of their own.

    Ids are those of the series; `largest_quantity` bounds each order and their sum;
    `widest_price` bounds every price (None: a market order is allowed).
    """

    leg: LegSide
    side: OrderSide
    largest_quantity: Decimal
    widest_price: Decimal | None


@dataclass(frozen=True, slots=True)
class EntryIntended:
    """A position is to be entered; durable before its first order.

    Carries the rules of both legs as they were checked, so that a restart decides alike. `quantity`
    is asked of the lead in slices of `slice_quantity`, each no worse than `lead_worst_price`.
    `hedge` allows the hedge series, so that nothing need be written between a fill and its hedge.
    """

    position_id: str
    at: datetime
    long_rules: InstrumentRules
    short_rules: InstrumentRules
    lead_leg: LegSide
    quantity: Decimal
    slice_quantity: Decimal
    lead_reference: Decimal
    lead_worst_price: Decimal
    hedge_reference: Decimal
    # A row before each hedge would stand between a fill and its hedge; this stands for all of them.
    hedge: OrderAllowance
    opportunity_id: str = ""
    # The lead rests post-only and is quoted anew instead of taking what the book has.
    passive: bool = False


@dataclass(frozen=True, slots=True)
class OrderIntended:
    """An order was decided. Durable before the send, but for hedges, which the entry allowed."""

    position_id: str
    at: datetime
    plan: OrderPlan


@dataclass(frozen=True, slots=True)
class OrderObserved:
    """A venue's word on an order, cumulative; `outcome.closed` says whether it is the last.

    Observations join: the larger `executed` counts, and closed stays closed, so duplicates,
    reordered rows and fills after the end give the same position.
    """

    position_id: str
    at: datetime
    leg: LegSide
    outcome: OrderOutcome


@dataclass(frozen=True, slots=True)
class OrderRejected:
    """An order was refused for certain, nothing executed. `retryable`: the same may work later."""

    position_id: str
    at: datetime
    client_order_id: str
    reason: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class OrderUnknown:
    """An order was sent and has no provable outcome yet."""

    position_id: str
    at: datetime
    client_order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class OrderNotSent:
    """The venue did not know the id after the fence: the order never arrived and never will."""

    position_id: str
    at: datetime
    client_order_id: str


@dataclass(frozen=True, slots=True)
class ExitRequested:
    """Both legs are to be closed; from here on the position only shrinks."""

    position_id: str
    at: datetime
    reason: str
    # A ratio, not a price: the exit may run long after the market has moved.
    bound_ratio: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ReduceRequested:
    """Both legs are to shrink by `quantity`, to the unsigned quantities named."""

    position_id: str
    at: datetime
    quantity: Decimal
    # Targets and not amounts: a restart in the middle takes off what is left to take.
    long_target: Decimal
    short_target: Decimal
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DustBooked:
    """A signed rest of one leg that its venue does not trade any more was given up."""

    position_id: str
    at: datetime
    leg: LegSide
    quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class EntryMeasured:
    """What the entry cost in exposure, measured on the engine's monotonic clock."""

    position_id: str
    at: datetime
    unhedged_time: timedelta
    max_unhedged_notional: Decimal


@dataclass(frozen=True, slots=True)
class ExitDispatched:
    """The legs of an exit left with this time between the first and the last."""

    position_id: str
    at: datetime
    skew: timedelta


@dataclass(frozen=True, slots=True)
class PositionSettled:
    """The position came to rest: OPEN, CLOSED or FLAT, and why."""

    position_id: str
    at: datetime
    status: PositionStatus
    reason: str


@dataclass(frozen=True, slots=True)
class FundingRead:
    """Sum of a leg's funding payments so far, signed, in `asset`."""

    position_id: str
    at: datetime
    leg: LegSide
    total: AssetAmount


@dataclass(frozen=True, slots=True)
class EngineHalted:
    """Entries were stopped."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class EngineResumed:
    """Entries were allowed again; tripped breakers are reset."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerTripped:
    """Entries in one symbol were stopped by the engine itself."""

    at: datetime
    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class CommandAccepted:
    """A command was taken; a repeat of `request_id` with this content answers these positions."""

    at: datetime
    request_id: str
    content_hash: str
    position_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BreakerReset:
    """Entries in one symbol were allowed again, or all where `symbol` is empty."""

    at: datetime
    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class DayOpened:
    """What all positions had made when the first look of a UTC day was taken, in quote asset."""

    at: datetime
    result: Decimal


@dataclass(frozen=True, slots=True)
class GuardActed:
    """A guard found something and this was done; `text` names the figures it was decided by."""

    at: datetime
    guard: str
    symbol: str
    position_id: str
    action: str
    text: str


@dataclass(frozen=True, slots=True)
class LegGone:
    """Some of a leg left at its venue without an order of ours; `quantity` is unsigned.

    `evidence` is the venue's id of the forced fill, whose cumulative quantity this is; empty for a
    reading of the venue's position: then it is the total that ever left the leg so.
    """

    position_id: str
    at: datetime
    leg: LegSide
    quantity: Decimal
    cause: GoneCause
    evidence: str = ""
    # The venue's average price of a forced fill; a reading knows none.
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class InterestCharged:
    """A short spot leg owes more than it sold: `total` base units of interest so far, unsigned."""

    position_id: str
    at: datetime
    total: Decimal


@dataclass(frozen=True, slots=True)
class ExitResumed:
    """A position that had ended has something on again (a late fill): its exit goes on."""

    position_id: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class BaselineTaken:
    """What a pocket holds besides the ledger's sum, signed: the user's own, never traded by us."""

    at: datetime
    pocket: Pocket
    quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class ReconciliationBroke:
    """Two equal readings of a pocket say otherwise than baseline and ledger; entries stop.

    `symbols` are those whose legs were ever in the pocket.
    """

    at: datetime
    pocket: Pocket
    expected: Decimal
    told: Decimal
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReconciliationHealed:
    """Two readings of a broken pocket agree with baseline and ledger again."""

    at: datetime
    pocket: Pocket
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class StrategySwitched:
    """The strategy's mode was set by command; holds while the setting is still `setting`."""

    at: datetime
    mode: StrategyMode
    setting: StrategyMode
    reason: str


@dataclass(frozen=True, slots=True)
class DecisionTaken:
    """What the strategy decided, why, and by which figures; journaled before it is carried out.

    `position_id` is empty for an entry. `notional` is the target of one leg in quote asset, None
    where none is set. `mode` says whether it was to be carried out.
    """

    at: datetime
    mode: StrategyMode
    action: DecisionAction
    reason: str
    symbol: str
    opportunity_id: str
    revision: int
    position_id: str
    notional: Decimal | None
    figures: tuple[Figure, ...]
    text: str = ""
    # Rows of older releases have none, nor has the refusal of an entry that was decided.
    inputs: DecisionInputs | None = None


@dataclass(frozen=True, slots=True)
class StrategyRulesTaken:
    """The rules by which the decisions after this are made; `policy_id` is their digest."""

    at: datetime
    policy_id: str
    policy: StrategyPolicy


PositionEvent = (
    EntryIntended
    | OrderIntended
    | OrderObserved
    | OrderRejected
    | OrderUnknown
    | OrderNotSent
    | ExitRequested
    | ReduceRequested
    | DustBooked
    | EntryMeasured
    | ExitDispatched
    | PositionSettled
    | FundingRead
    | LegGone
    | InterestCharged
    | ExitResumed
)
EngineEvent = (
    EngineHalted
    | EngineResumed
    | BreakerTripped
    | CommandAccepted
    | BreakerReset
    | DayOpened
    | GuardActed
    | BaselineTaken
    | ReconciliationBroke
    | ReconciliationHealed
    | StrategySwitched
    | DecisionTaken
    | StrategyRulesTaken
)
Event = PositionEvent | EngineEvent
