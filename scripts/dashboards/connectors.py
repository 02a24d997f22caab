"""Connectors: how venues answer, what is left of their rate limits, whether streams bring news."""

from __future__ import annotations

from scripts.dashboards.plan import DashboardPlan, Kind, Panel, Query, Row, Variable
from scripts.dashboards.promql import (
    ANY_IS_BAD,
    NO_OR_YES_BAD,
    UP_OR_DOWN,
    alarming_above,
    growth,
    or_zero,
    per_second,
    quantile,
    quantiles,
)

_VENUE = Variable("venue", "Venue", "opensqt_connector_order_stream_up", "exchange")
_OF_VENUE = 'exchange=~"$venue"'
_REQUESTS = "opensqt_connector_venue_requests_total"
_CALLS = "opensqt_connector_grpc_requests_total"


def _now(metric: str, *by: str) -> Query:
    labels = ("exchange", *by)
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return Query(
        f"max by ({', '.join(labels)}) (opensqt_connector_{metric}{{{_OF_VENUE}}})", legend
    )


def _counted(metric: str, *by: str) -> Query:
    labels = ("exchange", *by)
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return Query(or_zero(growth(f"opensqt_connector_{metric}", by=labels, where=_OF_VENUE)), legend)


_VENUES = Row(
    "Requests to the venues",
    (
        Panel(
            "Requests",
            "A second, by venue and class of endpoint.",
            "reqps",
            (
                Query(
                    per_second(_REQUESTS, by=("exchange", "endpoint_class"), where=_OF_VENUE),
                    "{{exchange}} {{endpoint_class}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Errors",
            "Requests a second that did not end well, by outcome.",
            "reqps",
            (
                Query(
                    or_zero(
                        per_second(
                            _REQUESTS,
                            by=("exchange", "outcome"),
                            where=f'{_OF_VENUE}, outcome!="answered"',
                        )
                    ),
                    "{{exchange}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Latency",
            "From the request leaving to its answer, over the window.",
            "s",
            quantiles(
                "opensqt_connector_venue_request_duration_seconds",
                by=("exchange",),
                where=_OF_VENUE,
            ),
        ),
        Panel(
            "Orders",
            "Over the window, by the verdict on their sending.",
            "short",
            (_counted("orders_total", "verdict"),),
            stacked=True,
            decimals=0,
        ),
        Panel(
            "Time of an order",
            "From sending an order to the end of its request.",
            "s",
            quantiles("opensqt_connector_order_send_seconds", by=("exchange",), where=_OF_VENUE),
        ),
        Panel(
            "Orders in doubt",
            "Over the window: doubts that were resolved, by what was proven; absences that a trade "
            "or the position contradicts, which need a look.",
            "short",
            (
                _counted("order_doubts_resolved_total", "outcome"),
                _counted("order_absences_contradicted_total"),
            ),
            decimals=0,
        ),
    ),
)

_RATE = Row(
    "Rate limits",
    (
        Panel(
            "Budget used",
            "Share of the venue's documented allowance that the requests of now take.",
            "percentunit",
            (_now("rate_budget_used_ratio", "endpoint_class"),),
            steps=alarming_above(0.7, 0.9),
            least=0,
        ),
        Panel(
            "Time spent waiting",
            "Seconds of waiting for the rate limit in each second, over all requests.",
            "short",
            (
                Query(
                    or_zero(
                        per_second(
                            "opensqt_connector_rate_limit_wait_seconds_total",
                            by=("exchange", "endpoint_class"),
                            where=_OF_VENUE,
                        )
                    ),
                    "{{exchange}} {{endpoint_class}}",
                ),
            ),
        ),
        Panel(
            "Not sent for the limit's sake",
            "Requests over the window whose caller would not have waited so long.",
            "short",
            (_counted("rate_limit_refusals_total", "endpoint_class"),),
            steps=ANY_IS_BAD,
        ),
        Panel(
            "Silence the venue asked for",
            "How long still; `all` is a ban.",
            "s",
            (
                Query(
                    or_zero(
                        "clamp_min(max by (exchange, endpoint_class) "
                        "(opensqt_connector_venue_pause_end_timestamp_seconds"
                        f"{{{_OF_VENUE}}}) - time(), 0)"
                    ),
                    "{{exchange}} {{endpoint_class}}",
                ),
            ),
            steps=ANY_IS_BAD,
        ),
        Panel(
            "Orders refused here",
            "Over the window, by the connector's own limits or its halt.",
            "short",
            (_counted("limit_refusals_total", "reason"),),
            kind=Kind.BARS,
        ),
        Panel(
            "Clock",
            "The venue's clock less ours.",
            "s",
            (
                Query(
                    f"max by (exchange) (opensqt_connector_clock_skew_seconds{{{_OF_VENUE}}})",
                    "{{exchange}}",
                ),
            ),
        ),
    ),
)

_STREAMS = Row(
    "Streams",
    (
        Panel(
            "Order streams",
            "Whether the venue sends this account's orders.",
            "none",
            (_now("order_stream_up"),),
            kind=Kind.STATES,
            words=UP_OR_DOWN,
        ),
        Panel(
            "Silence of the order stream",
            "Since it was last known to be alive.",
            "s",
            (_now("order_stream_silence_seconds"),),
            steps=alarming_above(30, 60),
        ),
        Panel(
            "Silence of market streams",
            "Since the quietest running stream of a kind brought rows; 0 where none runs.",
            "s",
            (_now("stream_silence_seconds", "stream"),),
        ),
        Panel(
            "Drops of the order stream",
            "Over the window.",
            "short",
            (_counted("order_stream_drops_total"),),
            decimals=0,
        ),
        Panel(
            "Events of streams",
            "Drops, resumes and readers ended for being slow, over the window.",
            "short",
            (_counted("stream_events_total", "event"),),
            stacked=True,
            decimals=0,
        ),
        Panel(
            "Unreadable rows",
            "Rows of the venue over the window that could not be read, by kind.",
            "short",
            (_counted("bad_rows_total", "kind"),),
            steps=ANY_IS_BAD,
        ),
    ),
)

_OWN = Row(
    "The connectors themselves",
    (
        Panel(
            "Calls",
            "gRPC calls a second, by method.",
            "reqps",
            (
                Query(
                    per_second(_CALLS, by=("method",), where=_OF_VENUE),
                    "{{method}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Slowest calls",
            "The slowest hundredth over the window, by method; streams last as long as they are "
            "read.",
            "s",
            (
                Query(
                    quantile(
                        "opensqt_connector_grpc_request_duration_seconds",
                        0.99,
                        by=("method",),
                        where=_OF_VENUE,
                    ),
                    "{{method}}",
                ),
            ),
        ),
        Panel(
            "Durable write",
            "One write of the ledger; an order leaves only after its own.",
            "s",
            quantiles("opensqt_connector_ledger_write_seconds", by=("exchange",), where=_OF_VENUE),
            steps=alarming_above(0.05, 0.25),
        ),
        Panel(
            "Ledger failing",
            "Whether the last durable write failed: no order is sent meanwhile.",
            "none",
            (_now("ledger_failing"),),
            kind=Kind.STATES,
            words=NO_OR_YES_BAD,
        ),
        Panel(
            "Failed writes",
            "Of the ledger, over the window.",
            "short",
            (_counted("ledger_failures_total"),),
            steps=ANY_IS_BAD,
        ),
        Panel(
            "Longest collection of garbage",
            "Since the start; an order may wait so long.",
            "s",
            (_now("garbage_pause_longest_seconds"),),
        ),
    ),
)

CONNECTORS = DashboardPlan(
    slug="connectors",
    title="OpenSQT connectors",
    text="How venues answer, what is left of their rate limits, whether streams bring news.",
    rows=(_VENUES, _RATE, _STREAMS, _OWN),
    variables=(_VENUE,),
)
