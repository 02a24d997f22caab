"""Tables for people: opportunities, scans, positions, orders."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from google.type import decimal_pb2
from rich.table import Table

from cli.plain import enum_word
from opensqt.market_maker.v1 import engine_pb2, instrument_pb2, opportunity_pb2, scanner_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.message import Message

UNKNOWN = "?"
"""Shown where the sender left a figure out: unknown is never shown as zero."""

_STATE_STYLES = {"OPEN": "green", "CLOSED": "dim", "FLAT": "dim"}


def figure(value: decimal_pb2.Decimal, places: int | None = None) -> str:
    """Write a wire decimal, rounded to `places` when given; `?` when absent."""
    if not value.value:
        return UNKNOWN
    number = Decimal(value.value)
    # Plain notation: str() writes a small quantity as 1E-7.
    return f"{number:f}" if places is None else f"{number:,.{places}f}"


def percent(value: decimal_pb2.Decimal, places: int = 2) -> str:
    """Write a fraction as a percentage; `?` when absent."""
    return f"{Decimal(value.value) * 100:,.{places}f} %" if value.value else UNKNOWN


def word(message: Message, field: str) -> str:
    """Name of an enum field's value, without the type's prefix."""
    return enum_word(message.DESCRIPTOR.fields_by_name[field], getattr(message, field))


def instrument(ref: instrument_pb2.InstrumentRef) -> str:
    """Write an instrument as `venue:kind`, the form the `enter` command reads."""
    return f"{ref.exchange}:{word(ref, 'kind').lower()}"


def _interval(opportunity: opportunity_pb2.Opportunity) -> str:
    legs = [opportunity.long_funding, opportunity.short_funding]
    hours = [f"{leg.interval.seconds / 3600:g}h" for leg in legs if leg.HasField("interval")]
    return "/".join(hours) or UNKNOWN


def opportunity_table(opportunities: Iterable[opportunity_pb2.Opportunity], title: str) -> Table:
    """Ranked opportunities, best first, by the id that `arb enter` takes: symbol, long, short."""
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    table.add_column("#", justify="right", style="dim")
    # The id names the symbol and both legs; columns of their own would push it off a narrow screen.
    table.add_column("opportunity = symbol:long leg:short leg", style="cyan", overflow="fold")
    for name in ("every", "gross APR", "net APR", "8h APR", "pays in", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    for rank, row in enumerate(opportunities, start=1):
        hours = figure(row.break_even_hours, 0)
        table.add_row(
            str(rank),
            row.opportunity_id,
            _interval(row),
            percent(row.gross_apr, 1),
            percent(row.net_apr, 1),
            # What a scan that takes 8 h for granted would promise, beside what is true.
            percent(row.naive_apr, 1),
            hours if hours == UNKNOWN else f"{hours} h",
            figure(row.quality_score, 3),
        )
    return table


def scan_summary(scan: scanner_pb2.Scan) -> str:
    """One line on a finished scan, with what was left out and why."""
    reasons: dict[str, int] = {}
    for row in scan.excluded_instruments:
        reasons[row.reason] = reasons.get(row.reason, 0) + 1
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    seconds = scan.elapsed.seconds + scan.elapsed.nanos / 1e9
    text = (
        f"{scan.symbol_count} symbols in {seconds:.2f} s with {scan.venue_call_count} calls; "
        f"{scan.opportunity_count} opportunities"
    )
    if left_out:
        text += f"; left out: {left_out}"
    if scan.missing_parts:
        text += f"; MISSING: {'; '.join(scan.missing_parts)}"
    return text


def position_table(positions: Sequence[engine_pb2.HedgedPosition], title: str) -> Table:
    """Hedged positions with both legs, what is left without hedge, funding and fees."""
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    table.add_column("position", style="cyan", no_wrap=True)
    table.add_column("symbol", style="bold", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("long", "short", "residual", "funding", "fees", "unhedged"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for row in positions:
        state = word(row, "state")
        # Yellow for all that moves, the states of a newer engine among them.
        style = _STATE_STYLES.get(state, "yellow")
        table.add_row(
            row.position_id,
            row.symbol,
            f"[{style}]{state}[/]",
            _leg(row.long_leg),
            _leg(row.short_leg),
            figure(row.residual_quantity),
            figure(row.funding_received, 4),
            figure(row.fees_paid, 4),
            f"{row.unhedged_time.ToTimedelta().total_seconds() * 1000:.1f} ms"
            if row.HasField("unhedged_time")
            else UNKNOWN,
            row.state_reason,
        )
    return table


def _leg(leg: engine_pb2.HedgedLeg) -> str:
    mark = " [red]unknown[/]" if leg.outcome_unknown else ""
    return f"{figure(leg.quantity)} {instrument(leg.instrument)}{mark}"


def order_table(position: engine_pb2.HedgedPosition) -> Table:
    """Orders of one position, oldest first: asked, executed and net side by side."""
    table = Table(title="orders", title_justify="left", header_style="bold", pad_edge=False)
    for name in ("order", "leg", "for", "side"):
        table.add_column(name, no_wrap=True)
    for name in ("asked", "executed", "net", "average", "worst"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("fees", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for order in position.orders:
        fees = ", ".join(f"{figure(fee.amount)} {fee.asset}" for fee in order.fees)
        table.add_row(
            order.client_order_id,
            word(order, "leg").lower(),
            word(order, "order_class").lower(),
            word(order, "side").lower(),
            figure(order.quantity),
            figure(order.executed_quantity),
            figure(order.net_quantity),
            figure(order.average_price),
            figure(order.worst_price),
            fees,
            word(order, "state"),
        )
    return table
