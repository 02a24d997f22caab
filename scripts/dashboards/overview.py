"""Overview: what it earned, what is on, whether anything needs a hand."""

from __future__ import annotations

from scripts.dashboards.plan import DashboardPlan, Kind, Panel, Query, Row, Tone, Variable, Word
from scripts.dashboards.promql import (
    ANY_IS_BAD,
    NO_BAD_OR_YES,
    NO_OR_YES_BAD,
    SIGNED,
    UP_OR_DOWN,
    alarming_above,
    growth,
    or_zero,
)

SYMBOL = Variable("symbol", "Pair", "opensqt_engine_leg_notional", "symbol")
VENUE = Variable("venue", "Venue", "opensqt_engine_venue_reachable", "exchange")
MODE = Query(
    'max(opensqt_engine_mode{mode="reducing"}) + 2 * max(opensqt_engine_mode{mode="halted"})',
    "engine",
)
MODE_WORDS = (
    Word("0", "active", Tone.GOOD),
    Word("1", "reducing", Tone.WATCH),
    Word("2", "halted", Tone.BAD),
)

_MONEY = Row(
    "Money",
    (
        Panel(
            "Result",
            "What all positions made, fees and funding in it, open ones at their marks.",
            "short",
            (Query("sum by (quote_asset) (opensqt_engine_result)", "{{quote_asset}}"),),
            kind=Kind.NUMBER,
            width=4,
            height=5,
            steps=SIGNED,
            decimals=2,
        ),
        Panel(
            "Carry earned",
            "Funding received less funding paid, since the journal began.",
            "short",
            (Query("sum by (quote_asset) (opensqt_engine_funding_received)", "{{quote_asset}}"),),
            kind=Kind.NUMBER,
            width=4,
            height=5,
            steps=SIGNED,
            decimals=2,
        ),
        Panel(
            "Fees paid",
            "Trading fees since the journal began.",
            "short",
            (Query("sum by (quote_asset) (opensqt_engine_fees_paid)", "{{quote_asset}}"),),
            kind=Kind.NUMBER,
            width=4,
            height=5,
            decimals=2,
        ),
        Panel(
            "Open positions",
            "Positions neither closed nor flat.",
            "short",
            (Query("max(opensqt_engine_open_positions)", "positions"),),
            kind=Kind.NUMBER,
            width=4,
            height=5,
        ),
        Panel(
            "Net delta",
            "Signed value of what open positions hold on one leg and not on the other, in quote. "
            "It should be less than a lot of each position.",
            "short",
            (Query(or_zero("sum(opensqt_engine_residual_notional)"), "quote"),),
            kind=Kind.NUMBER,
            width=4,
            height=5,
            decimals=2,
        ),
        Panel(
            "Engine",
            "Active: enters and exits. Reducing: exits alone. Halted: nothing until resumed.",
            "none",
            (MODE,),
            kind=Kind.NUMBER,
            width=4,
            height=5,
            words=MODE_WORDS,
        ),
        Panel(
            "Result over time",
            "All positions, open ones at their marks.",
            "short",
            (
                Query("sum by (quote_asset) (opensqt_engine_result)", "result {{quote_asset}}"),
                Query(
                    "sum by (quote_asset) (opensqt_engine_funding_received)",
                    "funding {{quote_asset}}",
                ),
                Query("-sum by (quote_asset) (opensqt_engine_fees_paid)", "fees {{quote_asset}}"),
            ),
            width=12,
            decimals=2,
        ),
        Panel(
            "What is on",
            "Signed value of each leg at its mark, in quote. The two legs of a symbol mirror each "
            "other.",
            "short",
            (
                Query(
                    'opensqt_engine_leg_notional{symbol=~"$symbol"}',
                    "{{symbol}} {{leg}} {{exchange}}",
                ),
            ),
            width=12,
            decimals=2,
        ),
    ),
)

_HEALTH = Row(
    "Health of everything",
    (
        Panel(
            "Alerts that fire",
            "How many; their names stand as purple marks over the panels.",
            "short",
            (Query('count(ALERTS{alertstate="firing"}) or vector(0)', "alerts"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps=ANY_IS_BAD,
        ),
        Panel(
            "Orders of unknown outcome",
            "Each may have filled. Entries in its symbol wait until it is proven.",
            "short",
            (Query("max(opensqt_engine_unknown_orders)", "orders"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps=ANY_IS_BAD,
        ),
        Panel(
            "Unhedged now",
            "Value without a hedge in all positions, in quote.",
            "short",
            (Query("max(opensqt_engine_unhedged_notional)", "quote"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps=ANY_IS_BAD,
            decimals=2,
        ),
        Panel(
            "Recovered",
            "Whether the engine has compared its journal with the venues since its start.",
            "none",
            (Query("max(opensqt_engine_reconciled)", "reconciled"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            words=NO_BAD_OR_YES,
        ),
        Panel(
            "Journal or ledger failing",
            "Whether the last durable write failed somewhere: what needs one waits.",
            "none",
            (
                Query("max(opensqt_engine_journal_failing)", "journal"),
                Query("max(opensqt_connector_ledger_failing)", "ledgers"),
            ),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            words=NO_OR_YES_BAD,
        ),
        Panel(
            "Since the last scan",
            "Time since a scan ended that published.",
            "s",
            (Query("time() - max(opensqt_scanner_last_scan_timestamp_seconds > 0)", "scan"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
        ),
        Panel(
            "Processes",
            "Whether Prometheus reaches each.",
            "none",
            (Query("up", "{{job}} {{instance}}"),),
            kind=Kind.STATES,
            width=12,
            words=UP_OR_DOWN,
        ),
        Panel(
            "Venues and order streams",
            "Whether the engine's connectors answer, and whether each streams its orders. Without "
            "the stream orders are asked for instead, which is slower.",
            "none",
            (
                Query("max by (exchange) (opensqt_engine_venue_reachable)", "{{exchange}}"),
                Query(
                    "max by (exchange) (opensqt_connector_order_stream_up)", "{{exchange}} orders"
                ),
            ),
            kind=Kind.STATES,
            width=12,
            words=UP_OR_DOWN,
        ),
        Panel(
            "Calls that failed",
            "gRPC calls over the window that ended otherwise than OK, by service and code.",
            "short",
            tuple(
                Query(
                    or_zero(
                        growth(
                            f"opensqt_{service}_grpc_requests_total",
                            by=("code",),
                            where='code!="OK"',
                        )
                    ),
                    f"{service} {{{{code}}}}",
                )
                for service in ("engine", "scanner", "connector")
            ),
        ),
        Panel(
            "Memory",
            "Resident, by process.",
            "bytes",
            (Query("process_resident_memory_bytes", "{{job}} {{instance}}"),),
        ),
        Panel(
            "Processor",
            "Cores in use, by process.",
            "short",
            (Query("rate(process_cpu_seconds_total[$__rate_interval])", "{{job}} {{instance}}"),),
            steps=alarming_above(0.7, 0.95),
            decimals=2,
        ),
    ),
)

OVERVIEW = DashboardPlan(
    slug="overview",
    title="OpenSQT overview",
    text="What it earned, what is on, and whether anything needs a hand.",
    rows=(_MONEY, _HEALTH),
    variables=(SYMBOL,),
)
