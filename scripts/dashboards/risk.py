"""Risk: how near limits, margin and liquidation are, and what the guards ask for."""

from __future__ import annotations

from scripts.dashboards.overview import MODE, MODE_WORDS, SYMBOL, VENUE
from scripts.dashboards.plan import DashboardPlan, Kind, Panel, Query, Row
from scripts.dashboards.promql import (
    ANY_IS_BAD,
    alarming_above,
    alarming_below,
    growth,
    or_zero,
)

_OF_VENUE = 'exchange=~"$venue"'
_OF_SYMBOL = 'symbol=~"$symbol"'

_EXPOSURE = Row(
    "What is on",
    (
        Panel(
            "Net delta by pair",
            "Signed value of what one leg holds and the other does not, in quote: below a lot.",
            "short",
            (
                Query(
                    f"max by (symbol) (opensqt_engine_residual_notional{{{_OF_SYMBOL}}})",
                    "{{symbol}}",
                ),
            ),
            decimals=2,
        ),
        Panel(
            "Exposure by venue",
            "Value of all legs there, long and short added up, in quote.",
            "short",
            (
                Query(
                    f"sum by (exchange) (abs(opensqt_engine_leg_notional{{{_OF_VENUE}}}))",
                    "{{exchange}}",
                ),
            ),
            stacked=True,
            decimals=2,
        ),
        Panel(
            "Legs",
            "Every leg that is on, at its mark, in quote.",
            "short",
            (
                Query(
                    "sum by (symbol, leg, exchange) "
                    f"(opensqt_engine_leg_notional{{{_OF_VENUE}, {_OF_SYMBOL}}})"
                ),
            ),
            kind=Kind.TABLE,
            decimals=2,
        ),
        Panel(
            "Unhedged now",
            "Value without a hedge in all positions, in quote.",
            "short",
            (Query("max(opensqt_engine_unhedged_notional)", "quote"),),
            decimals=2,
        ),
        Panel(
            "Drawdown",
            "How far the result is below its best of the window, in quote.",
            "short",
            (
                Query(
                    "sum by (quote_asset) (max_over_time(opensqt_engine_result[$window]) "
                    "- opensqt_engine_result)",
                    "{{quote_asset}}",
                ),
            ),
            decimals=2,
        ),
        Panel(
            "Differences from the venues",
            "Holdings that differ from what the venue tells.",
            "short",
            (Query("max(opensqt_engine_reconciliation_breaks)", "differences"),),
            steps=ANY_IS_BAD,
        ),
    ),
)

_LIMITS = Row(
    "Limits and margin",
    (
        Panel(
            "Limits used",
            "Share of each limit that is set: at 1 nothing is entered any more.",
            "percentunit",
            (Query("max by (limit) (opensqt_engine_limit_used_ratio)", "{{limit}}"),),
            kind=Kind.BARS,
            steps=alarming_above(0.7, 0.95),
            least=0,
            most=1,
        ),
        Panel(
            "Limits over time",
            "The same.",
            "percentunit",
            (Query("max by (limit) (opensqt_engine_limit_used_ratio)", "{{limit}}"),),
            width=16,
            steps=alarming_above(0.7, 0.95),
            least=0,
        ),
        Panel(
            "Margin",
            "Maintenance margin over margin balance where a position is on: at 1 the venue "
            "liquidates.",
            "percentunit",
            (
                Query(
                    f"max by (exchange) (opensqt_engine_margin_ratio{{{_OF_VENUE}}})",
                    "{{exchange}}",
                ),
            ),
            steps=alarming_above(0.5, 0.8),
            least=0,
        ),
        Panel(
            "Distance to liquidation",
            "Adverse move of the mark to the nearest liquidation, as a share of it.",
            "percentunit",
            (
                Query(
                    f"min by (exchange) (opensqt_engine_liquidation_distance_ratio{{{_OF_VENUE}}})",
                    "{{exchange}}",
                ),
            ),
            steps=alarming_below(0.1, 0.25),
            least=0,
        ),
        Panel(
            "Silence of venues",
            "Since the guards heard of a venue where a position is on.",
            "s",
            (
                Query(
                    f"max by (exchange) (opensqt_engine_venue_silence_seconds{{{_OF_VENUE}}})",
                    "{{exchange}}",
                ),
            ),
            steps=alarming_above(15, 60),
        ),
    ),
)

_STOPS = Row(
    "Guards and stops",
    (
        Panel(
            "Engine",
            "Active: enters and exits. Reducing: exits alone. Halted: nothing until resumed.",
            "none",
            (MODE,),
            kind=Kind.STATES,
            words=MODE_WORDS,
        ),
        Panel(
            "Findings of the guards",
            "What they find now, by what it asks for.",
            "short",
            (
                Query(
                    or_zero("max by (guard, action) (opensqt_engine_guard_findings)"),
                    "{{guard}} {{action}}",
                ),
            ),
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        Panel(
            "Pairs that are stopped",
            "Symbols whose breaker is open: nothing is entered there.",
            "short",
            (Query("max(opensqt_engine_symbols_stopped)", "pairs"),),
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        Panel(
            "Entries refused",
            "Over the window, before anything was sent.",
            "short",
            (
                Query(
                    or_zero(growth("opensqt_engine_entries_refused_total", by=("reason",))),
                    "{{reason}}",
                ),
            ),
            kind=Kind.BARS,
        ),
        Panel(
            "Orders refused at the last hop",
            "Over the window, by the connectors' own limits or their halt.",
            "short",
            (
                Query(
                    or_zero(growth("opensqt_connector_limit_refusals_total", by=("reason",))),
                    "{{reason}}",
                ),
            ),
            kind=Kind.BARS,
        ),
        Panel(
            "Orders of unknown outcome",
            "Each may have filled. Entries in its symbol wait until it is proven.",
            "short",
            (Query("max(opensqt_engine_unknown_orders)", "orders"),),
            steps=ANY_IS_BAD,
            decimals=0,
        ),
    ),
)

RISK = DashboardPlan(
    slug="risk",
    title="OpenSQT risk",
    text="How near limits, margin and liquidation are, and what the guards ask for.",
    rows=(_EXPOSURE, _LIMITS, _STOPS),
    variables=(VENUE, SYMBOL),
)
