"""Settings of the strategy's decisions, as the pure rules take them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

_DOUBTS = frozenset(
    {"STREAM_STALE", "BOOK_UNREAD", "BOOK_MISSING", "BOOK_STALE", "SETTLEMENTS_MISSING"}
)


@dataclass(frozen=True, slots=True)
class StrategyPolicy:
    """When the strategy enters, holds, reduces and exits; notionals of one leg in quote asset.

    Entry: at a net APR of at least `enter_net_apr`, with none of `refused_caveats`, a basis of at
    most `max_basis_ratio` and a size of at least `min_notional`: the smallest of `target_notional`,
    `capacity_share` of what the books take, and what the caps per venue (both legs counted),
    symbol and total leave. `symbol_cooldown` after a position in the symbol ended, and
    `refusal_cooldown` after an entry was refused, nothing is entered there.

    Exit: where the carry a year falls below `exit_gross_apr`, which is less than the entry asks;
    where what the expected holding time would still bring is less than getting out costs; where the
    coming settlements cost for `flip_patience`; where the pair was not offered for `gone_patience`.
    Rotation: only where the gain is `rotation_gain` times both round trips; None never rotates.
    Caps are enforced on what is held once they are exceeded by `reduce_band`.
    """

    enter_net_apr: Decimal = Decimal("0.10")
    exit_gross_apr: Decimal = Decimal("0.03")
    refused_caveats: frozenset[str] = _DOUBTS
    max_basis_ratio: Decimal = Decimal("0.02")
    target_notional: Decimal = Decimal(1_000)
    min_notional: Decimal = Decimal(50)
    capacity_share: Decimal = Decimal("0.5")
    max_venue_notional: Decimal = Decimal(20_000)
    max_symbol_notional: Decimal = Decimal(5_000)
    max_total_notional: Decimal = Decimal(20_000)
    max_positions: int = 10
    symbol_cooldown: timedelta = timedelta(hours=1)
    refusal_cooldown: timedelta = timedelta(minutes=5)
    flip_patience: timedelta = timedelta(minutes=30)
    gone_patience: timedelta = timedelta(hours=1)
    rotation_gain: Decimal | None = Decimal("1.5")
    reduce_band: Decimal = Decimal("0.1")
    decide_interval: timedelta = timedelta(seconds=1)
    repeat_interval: timedelta = timedelta(hours=1)
