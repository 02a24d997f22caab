"""Settings of the engine's decisions, as frozen values the pure modules take.

`EngineLimits` bound what may be opened; `EnginePolicy` says how entries, exits and questions to the
venues proceed. Both are filled from the service's settings by the composition root.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What may be opened; all notionals in quote asset.

    None leaves a bound out. `max_book_age` bounds the time between asking for a book and deciding
    on it. `slippage_bound_ratio` of a request above `max_slippage_bound_ratio` is refused.
    """

    max_leg_notional: Decimal | None = None
    max_symbol_notional: Decimal | None = None
    max_total_notional: Decimal | None = None
    max_open_positions: int = 100
    max_slippage_bound_ratio: Decimal = Decimal("0.05")
    max_book_age: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class EnginePolicy:
    """How the engine works its positions.

    Entry: the lead goes at `lead_bound_ratio` from the touch (a request may name its own); hedge
    attempt k at the k-th of `hedge_bound_ratios` (the last one repeats); hedging goes on for
    `unhedged_time_budget` and `hedge_attempts`, and while no more than `unhedged_notional_budget`
    is unhedged (None: any), then the rest is unwound on the lead. A lead above `max_slice_notional`
    or that budget is sent in slices, each hedged before the next; None sends it whole. What both
    books bear within the bound is entered where it is `min_size_ratio` of what was asked.

    With `passive_entry` the lead rests at the best price of its own side, post-only, and is quoted
    anew at most once in `requote_interval`, for `passive_timeout` in all; each fill is hedged.

    Exit and unwind: attempt k at the k-th of `exit_bound_ratios` from a fresh touch; after that,
    market orders when `exit_market_fallback`, else the last bound again. `exit_backoff_first` and
    `exit_backoff_last` bound the growing wait between attempts that filled nothing. A leg above
    `max_exit_slice_notional` (None: never) goes in slices of that size, each from a fresh touch and
    the first bound. At one venue `exits_at_once` exit orders are under way at most.

    Unknown outcomes: asked again after `resolve_interval_first`, doubling up to
    `resolve_interval_last`. `call_timeout` bounds one read of a venue, `place_timeout`
    one order, `touch_timeout` the reading of prices before an exit leaves.

    Funding: each open position's payments are read once in `funding_read_interval`, but never two
    positions within `funding_read_spacing`: a reading is dear at the venue (30 of 2400 units a
    minute at Binance USD-M), and entries and exits need what it would take.

    Reconciliation: ledger and venues are compared every `reconcile_interval`, with one question a
    venue; a difference counts once a second reading `reconcile_confirm_wait` later says the same.
    From `reconcile_break_limit` symbols broken at once on, entries stop in all.
    """

    lead_bound_ratio: Decimal = Decimal("0.002")
    hedge_bound_ratios: tuple[Decimal, ...] = (
        Decimal("0.002"),
        Decimal("0.005"),
        Decimal("0.01"),
    )
    unhedged_time_budget: timedelta = timedelta(seconds=2)
    hedge_attempts: int = 4
    max_slice_notional: Decimal | None = None
    exit_bound_ratios: tuple[Decimal, ...] = (
        Decimal("0.003"),
        Decimal("0.01"),
        Decimal("0.03"),
    )
    # Getting out at a bad price beats not getting out: what is left is naked once one leg is gone.
    exit_market_fallback: bool = True
    exit_backoff_first: timedelta = timedelta(milliseconds=50)
    exit_backoff_last: timedelta = timedelta(seconds=5)
    max_exit_slice_notional: Decimal | None = None
    # What a connector keeps free of reads and entries, in connections to its venue.
    exits_at_once: int = 128
    resolve_interval_first: timedelta = timedelta(milliseconds=50)
    resolve_interval_last: timedelta = timedelta(seconds=1)
    call_timeout: timedelta = timedelta(seconds=3)
    touch_timeout: timedelta = timedelta(milliseconds=500)
    # Longer than a read: giving up early turns a slow answer into an unknown order.
    place_timeout: timedelta = timedelta(seconds=10)
    book_depth: int = 50
    funding_read_interval: timedelta = timedelta(seconds=15)
    funding_read_spacing: timedelta = timedelta(seconds=6)
    unhedged_notional_budget: Decimal | None = None
    min_size_ratio: Decimal = Decimal("0.8")
    passive_entry: bool = False
    requote_interval: timedelta = timedelta(seconds=1)
    passive_timeout: timedelta = timedelta(seconds=60)
    reconcile_interval: timedelta = timedelta(seconds=5)
    reconcile_confirm_wait: timedelta = timedelta(seconds=1)
    reconcile_break_limit: int = 2
