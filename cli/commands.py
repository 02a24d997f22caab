"""What each `arb` command does, on an open session; returns the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.clients import engine_client, scanner_client
from cli.doctor import examine
from cli.plain import to_plain
from cli.scanning import OpportunityFilter, list_opportunities, run_scan, watch_opportunities
from cli.session import EXIT_REFUSED, Session
from cli.tables import (
    figure,
    instrument,
    opportunity_table,
    order_table,
    percent,
    position_table,
    scan_summary,
    word,
)
from cli.trading import (
    ENDED_STATES,
    LIVE_STATES,
    SETTLED_STATES,
    EntryOrder,
    entry_request,
    list_positions,
    wait_settled,
)
from opensqt.market_maker.v1 import engine_pb2, scanner_pb2
from services.common.codec import decimal_to_proto

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from rich.console import Console


async def scan(session: Session, wanted: OpportunityFilter, most: int, request_id: str) -> int:
    """Run a scan with progress, show the best opportunities; fails when nothing was published."""
    async with scanner_client(session.settings.scanner) as scanner:
        # Progress on stderr: stdout holds the result alone, for pipes.
        with _progress(session.errors) as progress:
            done = await run_scan(scanner, request_id, _follower(progress))
        rows = await list_opportunities(scanner, wanted, most)
    failed = done.state in (scanner_pb2.SCAN_STATE_FAILED, scanner_pb2.SCAN_STATE_CANCELED)
    if session.json:
        session.print_json(
            {"scan": to_plain(done), "opportunities": [to_plain(row) for row in rows]}
        )
    else:
        session.console.print(opportunity_table(rows, f"Opportunities (best {len(rows)})"))
        # Text from a service may hold brackets, which rich would take for markup.
        session.console.print(f"{word(done, 'state')}: {scan_summary(done)}", markup=False)
    return EXIT_REFUSED if failed else 0


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("scan"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=not console.is_terminal,
    )


def _follower(progress: Progress) -> Callable[[scanner_pb2.Scan], None]:
    # The scanner counts its tasks only after it has listed the symbols.
    task = progress.add_task("scan", total=None)

    def follow(scan_now: scanner_pb2.Scan) -> None:
        progress.update(task, total=scan_now.task_count, completed=scan_now.ended_task_count)

    return follow


async def watch(session: Session, wanted: OpportunityFilter) -> int:
    """Print opportunities as they are published, until the stream ends or Ctrl-C."""
    async with scanner_client(session.settings.scanner) as scanner:
        async for response in watch_opportunities(scanner, wanted):
            # A program gets heartbeats as well: by their absence it knows that the stream is dead.
            if session.json:
                session.print_json(response)
            elif response.HasField("upsert"):
                row = response.upsert
                session.console.print(
                    f"{row.symbol:14} long {instrument(row.long_leg)} short "
                    f"{instrument(row.short_leg)} net {percent(row.net_apr)} "
                    f"score {figure(row.quality_score, 3)} {row.opportunity_id}",
                    markup=False,
                )
            elif response.HasField("removed_opportunity_id"):
                session.console.print(f"gone: {response.removed_opportunity_id}", markup=False)
            elif response.HasField("caught_up"):
                session.console.print(
                    f"-- {response.caught_up.resource_count} opportunities stand; "
                    "changes follow (Ctrl-C ends)"
                )
    return 0


async def enter(session: Session, order: EntryOrder, request_id: str, *, wait: bool) -> int:
    """Open a position and, with `wait`, follow it until it rests; fails when it ended flat."""
    request = entry_request(order, request_id)
    async with engine_client(session.settings.engine) as engine:
        position = (await engine.OpenHedgedPosition(request)).position
        if order.validate_only:
            return _show_position(session, position, "would open (nothing was sent)")
        if wait:
            position = await wait_settled(engine, position, SETTLED_STATES)
    _show_position(session, position, "entry")
    # Flat is a proper end, but not the position that was asked for.
    return EXIT_REFUSED if wait and position.state in ENDED_STATES else 0


async def leave(
    session: Session, position_id: str, slippage: Decimal | None, request_id: str, *, wait: bool
) -> int:
    """Close a position and, with `wait`, follow it until both legs are off."""
    async with engine_client(session.settings.engine) as engine:
        request = engine_pb2.CloseHedgedPositionRequest(
            request_id=request_id,
            position_id=position_id,
            slippage_bound_ratio=decimal_to_proto(slippage),
        )
        position = (await engine.CloseHedgedPosition(request)).position
        if wait:
            # Not OPEN, in which a position rests: an exit is over when it holds nothing.
            position = await wait_settled(engine, position, ENDED_STATES)
    return _show_position(session, position, "exit")


async def reduce(
    session: Session,
    position_id: str,
    quantity: Decimal | None,
    ratio: Decimal | None,
    request_id: str,
) -> int:
    """Take the same quantity off both legs and follow the position until it rests."""
    async with engine_client(session.settings.engine) as engine:
        request = engine_pb2.ReduceHedgedPositionRequest(
            request_id=request_id,
            position_id=position_id,
            quantity=decimal_to_proto(quantity),
            ratio=decimal_to_proto(ratio),
        )
        position = (await engine.ReduceHedgedPosition(request)).position
        position = await wait_settled(engine, position, SETTLED_STATES)
    return _show_position(session, position, "reduced")


async def close_all(session: Session, reason: str, request_id: str) -> int:
    """Close every position and follow them all until they are off."""
    async with engine_client(session.settings.engine) as engine:
        request = engine_pb2.CloseAllHedgedPositionsRequest(request_id=request_id, reason=reason)
        started = (await engine.CloseAllHedgedPositions(request)).positions
        # Only the waiting is one by one; the engine closes them all at the same time.
        ended = [await wait_settled(engine, position, ENDED_STATES) for position in started]
    return _show_positions(session, ended, f"{len(ended)} positions closed")


async def positions(session: Session, *, every: bool) -> int:
    """List the positions that are on, or all of them."""
    async with engine_client(session.settings.engine) as engine:
        rows = await list_positions(engine, () if every else LIVE_STATES)
    return _show_positions(session, rows, "All positions" if every else "Positions that are on")


async def halt(session: Session, reason: str, request_id: str) -> int:
    """Stop opening."""
    async with engine_client(session.settings.engine) as engine:
        request = engine_pb2.HaltRequest(request_id=request_id, reason=reason)
        return _show_status(session, (await engine.Halt(request)).status)


async def resume(session: Session, reason: str, request_id: str) -> int:
    """Allow opening again."""
    async with engine_client(session.settings.engine) as engine:
        request = engine_pb2.ResumeRequest(request_id=request_id, reason=reason)
        return _show_status(session, (await engine.Resume(request)).status)


async def doctor(session: Session) -> int:
    """Examine everything; fails when something must be done."""
    findings = await examine(session.settings)
    if session.json:
        session.print_json(
            {
                "findings": [
                    {"subject": row.subject, "ok": row.ok, "text": row.text} for row in findings
                ]
            }
        )
    else:
        for row in findings:
            mark = "[green]ok [/]" if row.ok else "[red]BAD[/]"
            session.console.print(mark, f"{row.subject}: {row.text}", highlight=False)
        if not session.settings.connectors:
            text = "    no [[connectors]] in arb.toml: accounts were not examined"
            session.console.print(text, markup=False)
    return 0 if all(row.ok for row in findings) else EXIT_REFUSED


def _show_position(session: Session, position: engine_pb2.HedgedPosition, title: str) -> int:
    if session.json:
        session.print_json({"position": to_plain(position)})
    else:
        session.console.print(position_table([position], title))
        session.console.print(order_table(position))
    return 0


def _show_positions(session: Session, rows: list[engine_pb2.HedgedPosition], title: str) -> int:
    if session.json:
        session.print_json({"positions": [to_plain(row) for row in rows]})
    elif rows:
        session.console.print(position_table(rows, title))
    else:
        session.console.print(f"{title}: none")
    return 0


def _show_status(session: Session, status: engine_pb2.EngineStatus) -> int:
    if session.json:
        session.print_json({"status": to_plain(status)})
    else:
        why = f" ({status.state_reason})" if status.state_reason else ""
        session.console.print(f"engine {word(status, 'state')}{why}", markup=False)
    return 0
