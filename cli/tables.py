"""Tables for people: opportunities, positions, orders."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from google.type import decimal_pb2
from rich import box
from rich.table import Table
from rich.text import Text

from cli.advice import with_advice
from cli.plain import enum_word
from cli.trading import ENDED_STATES
from opensqt.market_maker.v1 import engine_pb2, instrument_pb2, opportunity_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.message import Message

UNKNOWN = "?"
"""Shown where the sender left a figure out: unknown is never shown as zero."""

WIDE = 118
"""Columns from which on a terminal shows every column of every table."""

_STATE_STYLES = {"OPEN": "green", "CLOSED": "dim", "FLAT": "dim"}


def figure(value: decimal_pb2.Decimal, places: int | None = None) -> str:
    """Write a wire decimal, rounded to `places` when given; `?` when absent."""
    if not value.value:
        return UNKNOWN
    number = Decimal(value.value)
    # Plain notation: str() writes a small quantity as 1E-7.
    return f"{number:f}" if places is None else f"{number:,.{places}f}"


def quantity(value: decimal_pb2.Decimal) -> str:
    """Write a quantity in groups of three; `?` when absent."""
    return f"{Decimal(value.value):,f}" if value.value else UNKNOWN


def percent(value: decimal_pb2.Decimal, places: int = 2) -> str:
    """Write a fraction as a percentage; `?` when absent."""
    return f"{Decimal(value.value) * 100:,.{places}f}%" if value.value else UNKNOWN


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


def plain_table(title: str, width: int, note: str = "") -> Table:
    """Make a table without frames: an id must never be cut off to make room for one."""
    return Table(
        title=title,
        title_style="bold",
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0) if width >= WIDE else 0,
        # As text: a reason from a service may hold brackets, which rich would take for markup.
        caption=Text(note) if note else None,
        caption_justify="left",
    )


def opportunity_table(
    opportunities: Iterable[opportunity_pb2.Opportunity], title: str, width: int = WIDE
) -> Table:
    """Ranked opportunities, best first, by the id that `arb enter` takes: symbol, long, short."""
    rows = list(opportunities)
    wide = width >= WIDE
    doubts = sorted({caveat for row in rows for caveat in row.caveats})
    table = plain_table(title, width, _opportunity_note(doubts, wide=wide))
    # The id names the symbol and both legs; columns of their own would push it off a narrow screen.
    table.add_column("symbol:long leg:short leg", style="cyan", overflow="fold")
    extra = ("now", "as 8h", "up to") if wide else ()
    for name in ("every", "gross", "net", *extra, "pays in", "score", *(("*",) if wide else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        hours = figure(row.break_even_hours, 0)
        marks = ",".join(str(doubts.index(caveat) + 1) for caveat in sorted(row.caveats))
        numbers = (
            percent(row.current_apr, 1),
            percent(row.naive_apr, 1),
            short_amount(row.capacity_notional),
        )
        table.add_row(
            row.opportunity_id,
            _interval(row),
            percent(row.gross_apr, 1),
            percent(row.net_apr, 1) + ("*" if marks and not wide else ""),
            *(numbers if wide else ()),
            hours if hours == UNKNOWN else f"{hours} h",
            figure(row.quality_score, 3),
            *((marks,) if wide else ()),
        )
    return table


def short_amount(value: decimal_pb2.Decimal) -> str:
    """Write an amount in thousands or millions, rounded down: nobody counts cents of a capacity."""
    if not value.value:
        return UNKNOWN
    amount = Decimal(value.value)
    for size, suffix in ((Decimal(1_000_000), "M"), (Decimal(1000), "k")):
        if amount >= size:
            return f"{(amount / size).quantize(Decimal('0.1'), ROUND_DOWN)}{suffix}"
    return f"{amount.quantize(Decimal(1), ROUND_DOWN)}"


def _opportunity_note(doubts: Sequence[str], *, wide: bool) -> str:
    note = (
        "every: between fundings; gross, net: carry a year before and after costs; pays in: until"
        " the costs are earned; score: what they are ranked by, 1 is best"
    )
    if not wide:
        return f"{note}; *: with doubts, which --json names" if doubts else note
    note += (
        "; now: at the coming rates; as 8h: what a scan that takes every interval for 8 h would say"
        "; up to: size of one leg that both books fill cheaply enough"
    )
    names = ", ".join(f"{number} {doubt}" for number, doubt in enumerate(doubts, 1))
    return f"{note}; *: doubts: {names}" if names else note


def position_table(
    positions: Sequence[engine_pb2.HedgedPosition], title: str, width: int = WIDE
) -> Table:
    """Hedged positions with both legs, what is left without hedge, funding and fees."""
    wide = width >= WIDE
    notes = [(row.position_id, _note(row, wide=wide)) for row in positions]
    lines = [f"{key}: {text}" for key, text in notes if text]
    ended = any(row.state in ENDED_STATES for row in positions)
    note = _position_note(wide=wide, ended=ended)
    table = plain_table(title, width, "\n".join([*lines, note]))
    # A position takes two or three lines: without a gap nobody sees where the next one begins.
    table.leading = 1
    # Never cut: every other command asks for the id.
    table.add_column("position", no_wrap=True, min_width=16)
    table.add_column("state", no_wrap=True)
    ended = wide and ended
    extra = (*(("made",) if ended else ()), *(("unhedged",) if wide else ()))
    for name in ("long", "short", "residual", "funding", "fees", *extra):
        table.add_column(name, justify="right", no_wrap=True)
    for row in positions:
        state = word(row, "state")
        # Yellow for all that moves, the states of a newer engine among them.
        style = _STATE_STYLES.get(state, "yellow")
        table.add_row(
            f"[bold]{row.symbol}[/]\n[cyan]{row.position_id}[/]",
            f"[{style}]{state}[/]",
            _leg(row.long_leg, wide=wide),
            _leg(row.short_leg, wide=wide),
            quantity(row.residual_quantity),
            figure(row.funding_received, 4),
            figure(row.fees_paid, 4),
            *((Text(_made(row)),) if ended else ()),
            *((_unhedged(row),) if wide else ()),
        )
    return table


def _position_note(*, wide: bool, ended: bool) -> str:
    note = "residual: coins of one leg that the other does not cover; ?: not known yet"
    note += "; made: trading and funding less fees" if ended else ""
    return f"{note}; unhedged: how long a leg stood alone" if wide else note


def _made(row: engine_pb2.HedgedPosition) -> str:
    """Profit of a position that ended: price and funding less fees; nothing while it is on."""
    if row.state not in ENDED_STATES:
        return ""
    funding = row.funding_received.value
    # Without a fill on a perpetual there is no funding to be told of.
    if not funding and not any(map(_takes_funding, (row.long_leg, row.short_leg))):
        funding = "0"
    if not (row.trading_pnl.value and row.fees_paid.value and funding):
        return UNKNOWN
    made = Decimal(row.trading_pnl.value) - Decimal(row.fees_paid.value) + Decimal(funding)
    return f"{made:+,.4f}"


def _takes_funding(leg: engine_pb2.HedgedLeg) -> bool:
    is_perpetual = leg.instrument.kind == instrument_pb2.INSTRUMENT_KIND_PERPETUAL
    return is_perpetual and bool(leg.average_entry_price.value)


def _note(row: engine_pb2.HedgedPosition, *, wide: bool) -> str:
    made = "" if wide else _made(row)
    parts = (with_advice(row.state_reason) if row.state_reason else "", made and f"made {made}")
    return "; ".join(part for part in parts if part)


def _unhedged(row: engine_pb2.HedgedPosition) -> str:
    if not row.HasField("unhedged_time"):
        return UNKNOWN
    return f"{row.unhedged_time.ToTimedelta().total_seconds() * 1000:.1f} ms"


def _leg(leg: engine_pb2.HedgedLeg, *, wide: bool) -> str:
    mark = " [red]unknown[/]" if leg.outcome_unknown else ""
    place = instrument(leg.instrument)
    return f"{quantity(leg.quantity)}{mark}\n{place if wide else place.replace(':', chr(10))}"


def order_table(position: engine_pb2.HedgedPosition, width: int = WIDE) -> Table:
    """Orders of one position, oldest first: asked, executed and net side by side."""
    wide = width >= WIDE
    note = "net: executed less the fee that was taken in the coin"
    if wide:
        note += "; worst: the price that the order may not pass"
    else:
        note += "; left out for the narrow screen: order ids and worst prices"
    table = plain_table("orders", width, note)
    for name in (*(("order",) if wide else ()), "leg", "for", "side"):
        table.add_column(name, no_wrap=True)
    for name in ("asked", "executed", "net", "average", *(("worst",) if wide else ())):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("fees", overflow="fold")
    table.add_column("state", no_wrap=True)
    for order in position.orders:
        fees = ", ".join(f"{figure(fee.amount)} {fee.asset}" for fee in order.fees)
        table.add_row(
            *((order.client_order_id,) if wide else ()),
            word(order, "leg").lower(),
            word(order, "order_class").lower(),
            word(order, "side").lower(),
            figure(order.quantity),
            figure(order.executed_quantity),
            figure(order.net_quantity),
            figure(order.average_price),
            *((figure(order.worst_price),) if wide else ()),
            fees,
            word(order, "state"),
        )
    return table
