"""What the status page shows, gathered at one instant; None is unknown, never zero."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from services.engine.follower_offer import Offer
from services.engine.strategy_words import StrategyMode
from services.engine.views import PositionView, StatusView


class Level(StrEnum):
    """How much something wants a look; the values are class names of the style sheet."""

    GOOD = "good"
    PLAIN = "plain"
    WATCH = "watch"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class PositionRow:
    """A position that is not closed; money in `quote_asset`.

    `notional` is the dearer leg at its mark, `result` what was made so far with all that is held
    at its mark, `carry_apr` the funding of the coming settlements as a fraction a year.
    """

    view: PositionView
    base_asset: str
    quote_asset: str
    notional: Decimal
    result: Decimal
    carry_apr: Decimal | None
    is_neutral: bool


@dataclass(frozen=True, slots=True)
class DoubtfulOrder:
    """An order whose outcome nobody has proven yet."""

    client_order_id: str
    position_id: str
    text: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Offers:
    """The best of what the scanner offers; `problem` is why there is none to show."""

    rows: tuple[Offer, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PageEvent:
    """Something that happened; `subject` is a symbol, or empty for the engine as a whole."""

    at: datetime
    level: Level
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class PageFacts:
    """Everything the page shows. `unshown_count` is how many open positions found no room.

    `summed` are rows of all open positions, the shown ones first; None where they are too many.
    Until `is_whole` the journal's ended positions are not known.
    """

    now: datetime
    status: StatusView
    strategy: StrategyMode
    day_result: Decimal | None
    positions: tuple[PositionRow, ...]
    summed: tuple[PositionRow, ...] | None
    unshown_count: int
    is_whole: bool
    ended: tuple[PositionView, ...]
    doubtful: tuple[DoubtfulOrder, ...]
    offers: Offers
    events: tuple[PageEvent, ...]
