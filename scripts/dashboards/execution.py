"""Execution: how long something was unhedged, how orders ended, what they cost."""

from __future__ import annotations

from scripts.dashboards.overview import VENUE
from scripts.dashboards.plan import DashboardPlan, Kind, Panel, Query, Row
from scripts.dashboards.promql import (
    ANY_IS_BAD,
    alarming_above,
    alarming_below,
    growth,
    or_zero,
    quantile,
    quantiles,
)

_ORDERS = "opensqt_engine_orders_total"
_OF_VENUE = 'exchange=~"$venue"'
_FILLED = f'outcome="filled", {_OF_VENUE}'
_TOUCHED = f'outcome=~"filled|partial", {_OF_VENUE}'
_SLIPPAGE = "opensqt_engine_slippage_ratio"

_HEDGING = Row(
    "From one leg to the other",
    (
        Panel(
            "Unhedged time of an entry",
            "How long some of a leg was filled with no hedge. Dots are single entries, with their "
            "position's id.",
            "s",
            quantiles("opensqt_engine_naked_leg_seconds", exemplar=True),
            steps=alarming_above(0.5, 2),
        ),
        Panel(
            "Hedge dispatch",
            "From the lead's fill being known to the hedge leaving: our own part of it.",
            "s",
            quantiles("opensqt_engine_hedge_dispatch_seconds", exemplar=True),
            steps=alarming_above(0.005, 0.05),
        ),
        Panel(
            "Skew of an exit",
            "Between the first and the last order of an exit leaving.",
            "s",
            quantiles("opensqt_engine_exit_dispatch_skew_seconds", exemplar=True),
            steps=alarming_above(0.005, 0.05),
        ),
        Panel(
            "Unhedged now",
            "Value without a hedge in all positions, in quote.",
            "short",
            (Query("max(opensqt_engine_unhedged_notional)", "quote"),),
            decimals=2,
        ),
        Panel(
            "Left over when settled",
            "Unhedged value of the position that settled last, in quote: below a lot.",
            "short",
            (Query("max(opensqt_engine_settled_residual_notional)", "quote"),),
            decimals=2,
        ),
        Panel(
            "Alarms of unknown orders",
            "Orders over the window whose outcome was unknown for longer than the budget of "
            "unhedged time.",
            "short",
            (
                Query(
                    or_zero(growth("opensqt_engine_unhedged_alarms_total", by=("exchange",))),
                    "{{exchange}}",
                ),
            ),
            steps=ANY_IS_BAD,
        ),
    ),
)

_OUTCOMES = Row(
    "Orders",
    (
        Panel(
            "Outcomes",
            "Orders over the window. Unknown ones are resolved afterwards; partial and zero ones "
            "are what the hedge follows.",
            "short",
            (Query(growth(_ORDERS, by=("outcome",), where=_OF_VENUE), "{{outcome}}"),),
            stacked=True,
            decimals=0,
        ),
        Panel(
            "Share that filled whole",
            "Orders filled whole, of all, by what they were for.",
            "percentunit",
            (
                Query(
                    f"{growth(_ORDERS, by=('order_class',), where=_FILLED)} "
                    f"/ ({growth(_ORDERS, by=('order_class',), where=_OF_VENUE)} > 0)",
                    "{{order_class}}",
                ),
            ),
            steps=alarming_below(0.5, 0.8),
            least=0,
            most=1,
        ),
        Panel(
            "Share that filled at all",
            "Orders filled whole or in part, of all, by venue.",
            "percentunit",
            (
                Query(
                    f"{growth(_ORDERS, by=('exchange',), where=_TOUCHED)} "
                    f"/ ({growth(_ORDERS, by=('exchange',), where=_OF_VENUE)} > 0)",
                    "{{exchange}}",
                ),
            ),
            steps=alarming_below(0.5, 0.8),
            least=0,
            most=1,
        ),
        Panel(
            "Time of an order",
            "From sending to the answer, as the engine sees it.",
            "s",
            quantiles(
                "opensqt_engine_order_duration_seconds",
                by=("exchange",),
                where=_OF_VENUE,
                exemplar=True,
            ),
        ),
        Panel(
            "Slippage",
            "What an entry's or a hedge's fill was worse than the price it was decided on, as a "
            "share of it; below zero it was better.",
            "percentunit",
            (
                Query(
                    quantile(_SLIPPAGE, 0.5, by=("order_class",), where=_OF_VENUE),
                    "median {{order_class}}",
                ),
                Query(
                    quantile(_SLIPPAGE, 0.95, by=("order_class",), where=_OF_VENUE),
                    "95 % {{order_class}}",
                    exemplar=True,
                ),
            ),
            decimals=3,
        ),
        Panel(
            "Slippage by venue",
            "The worst twentieth; the same measure.",
            "percentunit",
            (
                Query(
                    quantile(_SLIPPAGE, 0.95, by=("exchange",), where=_OF_VENUE),
                    "95 % {{exchange}}",
                    exemplar=True,
                ),
            ),
            decimals=3,
        ),
    ),
)

_POSITIONS = Row(
    "Positions and the journal",
    (
        Panel(
            "Positions that came to rest",
            "Over the window: open (entered), flat (entered and undone), closed (left).",
            "short",
            (Query(growth("opensqt_engine_positions_settled_total", by=("state",)), "{{state}}"),),
            stacked=True,
            decimals=0,
        ),
        Panel(
            "Entries refused",
            "Over the window, before anything was sent; docs/errors.md tells the reasons.",
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
            "Durable write",
            "One write of the journal; every order waits for one.",
            "s",
            quantiles("opensqt_engine_journal_write_seconds"),
            steps=alarming_above(0.05, 0.25),
        ),
    ),
)

EXECUTION = DashboardPlan(
    slug="execution",
    title="OpenSQT execution",
    text="How long something was unhedged, how orders ended, what they cost.",
    rows=(_HEDGING, _OUTCOMES, _POSITIONS),
    variables=(VENUE,),
)
