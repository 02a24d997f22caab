"""What `arb strategy` and `arb decisions` do, on an open session; returns the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.clients import engine_client
from cli.plain import to_plain
from cli.tables import figure, plain_table, word
from opensqt.market_maker.v1 import engine_pb2

if TYPE_CHECKING:
    from cli.session import Session


async def set_mode(session: Session, mode: str, reason: str, request_id: str) -> int:
    """Set who takes opportunities."""
    request = engine_pb2.SetStrategyModeRequest(
        request_id=request_id,
        mode=engine_pb2.StrategyMode.Value(f"STRATEGY_MODE_{mode.upper()}"),
        reason=reason,
    )
    async with engine_client(session.settings.engine) as engine:
        answer = await engine.SetStrategyMode(request)
    if session.json:
        session.print_json(to_plain(answer))
    else:
        session.console.print(f"strategy {word(answer, 'mode').lower()}", markup=False)
    return 0


async def decisions(session: Session, most: int) -> int:
    """Show what the strategy decided last, newest first."""
    async with engine_client(session.settings.engine) as engine:
        answer = await engine.ListDecisions(engine_pb2.ListDecisionsRequest(page_size=most))
    if session.json:
        session.print_json(to_plain(answer))
        return 0
    title = f"Decisions (strategy {word(answer, 'mode').lower()})"
    if not answer.decisions:
        session.console.print(f"{title}: none", markup=False)
        return 0
    table = plain_table(title, session.console.width)
    for name in ("time", "mode", "decision", "symbol", "why"):
        table.add_column(name, no_wrap=True)
    table.add_column("notional", justify="right", no_wrap=True)
    table.add_column("figures", overflow="fold")
    for row in answer.decisions:
        numbers = ", ".join(
            f"{name} {figure(row.figures[name], 4)}" for name in sorted(row.figures)
        )
        table.add_row(
            row.decide_time.ToDatetime().strftime("%m-%d %H:%M:%S"),
            word(row, "mode").lower(),
            word(row, "action").lower(),
            row.symbol,
            row.reason,
            figure(row.notional, 2) if row.HasField("notional") else "",
            f"{numbers} {row.detail}".strip(),
        )
    session.console.print(table)
    return 0
