"""What each `arb` command does, on an open session; returns the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cli.advice import with_advice
from cli.clients import engine_client, scanner_client
from cli.doctor import examine
from cli.plain import to_plain
from cli.progress import scan_progress
from cli.scan_words import NO_RESULT, exclusion_lines, scan_summary, unlisted_lines
from cli.scanning import (
    OpportunityFilter,
    list_opportunities,
    run_scan,
    symbols_without,
    watch_opportunities,
)
from cli.session import EXIT_REFUSED, Session
from cli.tables import (
    figure,
    instrument,
    opportunity_table,
    order_table,
    percent,
    position_table,
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
    from decimal import Decimal


async def scan(session: Session, wanted: OpportunityFilter, most: int, request_id: str) -> int:
    """Run a scan with progress, show the best opportunities; fails when nothing was published."""
    async with scanner_client(session.settings.scanner) as scanner:
        # Progress on stderr: stdout holds the result alone, for pipes.
        with scan_progress(session.errors) as follow:
            done = await run_scan(scanner, request_id, follow)
        rows = await list_opportunities(scanner, wanted, most)
        failed = done.state in NO_RESULT
        unseen = [] if failed else await symbols_without(scanner, wanted.symbols)
    if session.json:
        session.print_json(
            {"scan": to_plain(done), "opportunities": [to_plain(row) for row in rows]}
        )
    else:
        # What a scan before found stands until it expires.
        whose = " of the scan before" if failed else ""
        title = f"Opportunities: the best {len(rows)}{whose}"
        if rows:
            session.console.print(opportunity_table(rows, title, session.console.width))
        else:
            session.console.print("no opportunity stands that fits what was asked for")
        # Text from a service may hold brackets, which rich would take for markup.
        for line in (*exclusion_lines(done, wanted.symbols), *unlisted_lines(done, unseen)):
            session.console.print(line, markup=False, soft_wrap=True)
        told = f"\nscan {word(done, 'state')}: {scan_summary(done)}"
        session.console.print(told, markup=False, highlight=False, soft_wrap=True)
        if rows:
            following = f"arb enter {rows[0].opportunity_id} --notional 1000 --dry-run"
            session.console.print(
                f"next: {following}", markup=False, highlight=False, soft_wrap=True
            )
    return EXIT_REFUSED if failed else 0


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
                    f"{row.opportunity_id:46} net {percent(row.net_apr, 1):>7} "
                    f"score {figure(row.quality_score, 3)}",
                    markup=False,
                    soft_wrap=True,
                )
            elif response.HasField("removed_opportunity_id"):
                session.console.print(f"gone: {response.removed_opportunity_id}", markup=False)
            elif response.HasField("caught_up"):
                session.console.print(
                    f"-- {response.caught_up.resource_count} opportunities stand; "
                    "changes follow (Ctrl-C ends)"
                )
    return 0


async def workers(session: Session, count: int) -> int:
    """Set the number of the scanner's workers."""
    request = scanner_pb2.ResizePoolRequest(worker_count=count)
    async with scanner_client(session.settings.scanner) as scanner:
        answer = await scanner.ResizePool(request)
    if session.json:
        session.print_json(answer)
    else:
        session.console.print(
            f"workers of the scanner: {answer.worker_count} (before: "
            f"{answer.previous_worker_count})"
        )
    return 0


async def enter(session: Session, order: EntryOrder, request_id: str, *, wait: bool) -> int:
    """Open a position and, with `wait`, follow it until it rests; fails when it ended flat."""
    request = entry_request(order, request_id)
    async with engine_client(session.settings.engine) as engine:
        position = (await engine.OpenHedgedPosition(request)).position
        if order.validate_only:
            return _show_plan(session, position)
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
    return _show_positions(session, ended, "Closed")


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
            mark = ("ok  ", "green") if row.ok else ("BAD ", "red")
            # As text: a reason from a service may hold brackets.
            line = Text.assemble(mark, f"{row.subject}: {row.text}")
            session.console.print(line, soft_wrap=True)
        if not session.settings.connectors:
            text = "    no [[connectors]] in arb.toml: accounts were not examined"
            session.console.print(text, markup=False)
    return 0 if all(row.ok for row in findings) else EXIT_REFUSED


def _show_position(session: Session, position: engine_pb2.HedgedPosition, title: str) -> int:
    if session.json:
        session.print_json({"position": to_plain(position)})
    else:
        session.console.print(position_table([position], title, session.console.width))
        session.console.print()
        session.console.print(order_table(position, session.console.width))
    return 0


def _show_plan(session: Session, position: engine_pb2.HedgedPosition) -> int:
    """Show what a dry run would send; the position that it names does not exist."""
    if session.json:
        session.print_json({"position": to_plain(position)})
        return 0
    legs = [position.long_leg, position.short_leg]
    sides = ["buy", "sell"]
    lead = 0 if position.lead_leg == engine_pb2.LEG_SIDE_LONG else 1
    session.console.print(
        f"would enter {position.symbol}: {sides[lead]} {figure(position.lead_requested_quantity)} "
        f"on {instrument(legs[lead].instrument)} first, then {sides[1 - lead]} what that filled on "
        f"{instrument(legs[1 - lead].instrument)}; all checks passed, nothing was sent",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _show_positions(session: Session, rows: list[engine_pb2.HedgedPosition], title: str) -> int:
    if session.json:
        session.print_json({"positions": [to_plain(row) for row in rows]})
    elif rows:
        session.console.print(position_table(rows, title, session.console.width))
    else:
        session.console.print(f"{title}: none")
    return 0


def _show_status(session: Session, status: engine_pb2.EngineStatus) -> int:
    if session.json:
        session.print_json({"status": to_plain(status)})
    else:
        why = f" ({with_advice(status.state_reason)})" if status.state_reason else ""
        session.console.print(f"engine {word(status, 'state')}{why}", markup=False)
    return 0
