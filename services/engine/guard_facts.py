"""What guards judge: a position's market and account, their bounds, and what they find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from services.engine.instruments import LegSide


class GuardAction(StrEnum):
    """What a finding asks for, from mild to strong; none of them opens anything."""

    ALERT = "alert"
    TRIP = "trip"
    REDUCE = "reduce"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class GuardFinding:
    """One thing a guard found on one position; `figures` are what it was decided by.

    With `needs_second_look` it is an alert until the next round finds it again.
    """

    guard: str
    position_id: str
    symbol: str
    action: GuardAction
    text: str
    leg: LegSide | None = None
    figures: tuple[tuple[str, Decimal], ...] = ()
    needs_second_look: bool = False


@dataclass(frozen=True, slots=True)
class LegMarket:
    """Market of one leg; None is unknown. The rate is the coming settlement's, paid by longs.

    `index` is the venue's price of the coin itself, outside its own perpetual.
    """

    mark: Decimal | None = None
    index: Decimal | None = None
    funding_rate: Decimal | None = None
    funding_interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class PairMarket:
    """Market of a position: its legs now, and the samples of its last intervals, oldest first.

    `bases` are (short mark - long mark) / long mark, `carries` the funding received in an hour as
    a fraction of one leg's notional.
    """

    legs: Mapping[LegSide, LegMarket]
    bases: tuple[Decimal, ...] = ()
    carries: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True)
class LegAccount:
    """One leg's account as its venue told it last; None is unknown.

    `size` is the venue's signed position in a perpetual. `margin_ratio` is maintenance margin over
    margin balance: 1 is liquidation. `silent_for` is the time since the venue answered last.
    """

    size: Decimal | None = None
    liquidation_price: Decimal | None = None
    margin_ratio: Decimal | None = None
    unified: bool = False
    silent_for: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class PairAccount:
    """Accounts of both legs."""

    legs: Mapping[LegSide, LegAccount]


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Bounds of the guards; None leaves one out.

    Distances to liquidation are fractions of the mark price, margin ratios fractions of the margin
    balance. `max_adverse_basis` is how far the basis may move against the position since its
    entry, in each of `basis_intervals` samples. `min_carry` is the funding an hour, as a fraction
    of notional, below which `carry_intervals` samples in a row are a flip; `close_on_flip` closes
    the position then.
    """

    liquidation_warn_distance: Decimal | None = Decimal("0.15")
    liquidation_close_distance: Decimal | None = Decimal("0.05")
    margin_warn_ratio: Decimal | None = Decimal("0.6")
    margin_close_ratio: Decimal | None = Decimal("0.8")
    max_adverse_basis: Decimal | None = None
    basis_intervals: int = 3
    min_carry: Decimal | None = Decimal(0)
    carry_intervals: int = 3
    close_on_flip: bool = False
    max_venue_silence: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class GuardPace:
    """How often venues are read, how long a read may take, how soon a halving may follow another.

    A round costs two calls per venue that has a position, however many positions there are.
    """

    interval: timedelta = timedelta(seconds=10)
    call_timeout: timedelta = timedelta(seconds=3)
    reduce_pause: timedelta = timedelta(minutes=1)
