"""Scanner: whether scans keep up, what they cover, what they found."""

from __future__ import annotations

from scripts.dashboards.plan import DashboardPlan, Kind, Panel, Query, Row, Variable
from scripts.dashboards.promql import (
    ANY_IS_BAD,
    alarming_above,
    growth,
    or_zero,
    per_second,
    quantile,
    quantiles,
)

_VENUE = Variable("venue", "Venue", "opensqt_scanner_worker_queue_length", "exchange")
_OF_VENUE = 'exchange=~"$venue"'
_FLOOR = (
    "sum(increase(opensqt_scanner_task_duration_seconds_sum[$window])) "
    "/ max(opensqt_scanner_workers) "
    "/ (sum(increase(opensqt_scanner_scan_duration_seconds_count[$window])) > 0)"
)

_SCANS = Row(
    "Scans",
    (
        Panel(
            "Duration against its floor",
            "Mean time of a scan over the window; its floor is the work of all tasks spread evenly "
            "over the workers. Far above it, scans wait: for rate limits or one slow venue.",
            "s",
            (
                Query(
                    f"{growth('opensqt_scanner_scan_duration_seconds_sum')} / "
                    f"({growth('opensqt_scanner_scan_duration_seconds_count')} > 0)",
                    "scan",
                ),
                Query(_FLOOR, "floor"),
            ),
        ),
        Panel(
            "Slowest scans",
            "The slowest tenth over the window.",
            "s",
            (Query(quantile("opensqt_scanner_scan_duration_seconds", 0.9), "90 %"),),
        ),
        Panel(
            "Since the last scan",
            "Time since a scan ended that published, beside the interval that is set (0: by hand).",
            "s",
            (
                Query("time() - max(opensqt_scanner_last_scan_timestamp_seconds > 0)", "age"),
                Query("max(opensqt_scanner_scan_interval_seconds)", "interval"),
            ),
        ),
        Panel(
            "Scans ended",
            "Over the window, by how.",
            "short",
            (Query(growth("opensqt_scanner_scans_total", by=("state",)), "{{state}}"),),
            stacked=True,
            decimals=0,
        ),
        Panel(
            "Coverage",
            "Perpetuals the last scan analysed, of those the venues list.",
            "percentunit",
            (Query("max(opensqt_scanner_scan_coverage_ratio)", "coverage"),),
            least=0,
            most=1,
        ),
        Panel(
            "Left out",
            "Instruments the last scan left out, by reason; docs/errors.md tells the reasons.",
            "short",
            (
                Query(
                    "max by (reason) (opensqt_scanner_excluded_instruments) or vector(0)",
                    "{{reason}}",
                ),
            ),
            kind=Kind.BARS,
        ),
    ),
)

_FOUND = Row(
    "Opportunities",
    (
        Panel(
            "Top opportunities",
            "Net yearly yield after all costs of the best ones, by rank. `arb scan` names them.",
            "percentunit",
            (
                Query(
                    "sort_desc(max by (rank) (opensqt_scanner_opportunity_net_apr_ratio))",
                    "{{rank}}",
                ),
            ),
            kind=Kind.BARS,
            decimals=1,
        ),
        Panel(
            "The best over time",
            "Net yearly yield of the first in rank.",
            "percentunit",
            (Query("max(opensqt_scanner_opportunity_net_apr_ratio)", "best"),),
            decimals=1,
        ),
        Panel(
            "Analysed and published",
            "Perpetuals with a history, and opportunities that are published now.",
            "short",
            (
                Query("max(opensqt_scanner_symbols)", "analysed"),
                Query("max(opensqt_scanner_opportunities)", "published"),
            ),
        ),
        Panel(
            "Age of what is published",
            "The oldest rate, price or book behind a published opportunity.",
            "s",
            (Query("max(opensqt_scanner_oldest_published_age_seconds)", "oldest"),),
            steps=alarming_above(30, 120),
        ),
        Panel(
            "Streams and readers",
            "Streams that keep the best opportunities fresh, and callers who watch.",
            "short",
            (
                Query("max(opensqt_scanner_live_streams)", "streams"),
                Query("max(opensqt_scanner_subscribers)", "readers"),
            ),
            decimals=0,
        ),
        Panel(
            "Broken streams and rows",
            "Over the window: streams that broke, by cause; rows that could not be used.",
            "short",
            (
                Query(
                    or_zero(
                        growth("opensqt_scanner_live_stream_gaps_total", by=("exchange", "cause"))
                    ),
                    "{{exchange}} {{cause}}",
                ),
                Query(
                    or_zero(growth("opensqt_scanner_live_rows_malformed_total", by=("exchange",))),
                    "{{exchange}} rows",
                ),
            ),
        ),
    ),
)

_WORK = Row(
    "Queue and workers",
    (
        Panel(
            "Queue",
            "Tasks that wait for a worker, by venue.",
            "short",
            (
                Query(
                    f"max by (exchange) (opensqt_scanner_worker_queue_length{{{_OF_VENUE}}})",
                    "{{exchange}}",
                ),
            ),
            decimals=0,
        ),
        Panel(
            "Workers",
            "Those at work, of those there are; abandoned tasks hold a place of their venue.",
            "short",
            (
                Query("sum(opensqt_scanner_workers_busy)", "busy"),
                Query("sum(opensqt_scanner_workers)", "workers"),
                Query("sum(opensqt_scanner_tasks_abandoned)", "abandoned"),
            ),
            decimals=0,
        ),
        Panel(
            "Under way",
            "Tasks at work, by venue.",
            "short",
            (
                Query(
                    f"max by (exchange) (opensqt_scanner_tasks_running{{{_OF_VENUE}}})",
                    "{{exchange}}",
                ),
            ),
            decimals=0,
        ),
        Panel(
            "Wait for a worker",
            "From a batch's arrival, by priority.",
            "s",
            quantiles("opensqt_scanner_task_wait_seconds", by=("priority",)),
        ),
        Panel(
            "Time of a task",
            "The slowest hundredth, by task.",
            "s",
            (
                Query(
                    quantile("opensqt_scanner_task_duration_seconds", 0.99, by=("task",)),
                    "{{task}}",
                ),
            ),
        ),
        Panel(
            "Tasks ended",
            "A second, by how they ended.",
            "ops",
            (Query(per_second("opensqt_scanner_tasks_total", by=("outcome",)), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Calls to connectors",
            "A second, by venue and outcome.",
            "ops",
            (
                Query(
                    per_second(
                        "opensqt_scanner_venue_calls_total",
                        by=("exchange", "outcome"),
                        where=_OF_VENUE,
                    ),
                    "{{exchange}} {{outcome}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Shared queue",
            "Tasks over the window where several scanners share a queue, by what became of them; "
            "0 without one.",
            "short",
            (
                Query(
                    or_zero(growth("opensqt_scanner_queue_tasks_total", by=("event",))),
                    "{{event}}",
                ),
            ),
            decimals=0,
        ),
        Panel(
            "Histories not kept",
            "Histories over the window that could not be written to their file.",
            "short",
            (Query(growth("opensqt_scanner_history_write_failures_total"), "failures"),),
            steps=ANY_IS_BAD,
        ),
    ),
)

SCANNER = DashboardPlan(
    slug="scanner",
    title="OpenSQT scanner",
    text="Whether scans keep up, what they cover, what they found.",
    rows=(_SCANS, _FOUND, _WORK),
    variables=(_VENUE,),
)
