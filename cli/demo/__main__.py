"""`python -m cli.demo [--data DIR]`: the whole system, from nothing to a closed position."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
from rich.console import Console

from cli.demo.control import ControlError
from cli.demo.processes import StackError
from cli.demo.result import Evidence, summary
from cli.demo.stack import LocalStack, StackOptions
from cli.demo.story import Story
from cli.plain import to_line
from cli.tables import WIDE, figure, instrument, plain_table
from services.common.call_errors import from_call_error
from services.common.codec import decimal_from_proto

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_ZERO = Decimal(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code; the last line on stdout is one JSON object."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--data", type=Path, help="directory of recorded market data")
    options = parser.parse_args(arguments)
    if options.data is not None and not options.data.is_dir():
        sys.stderr.write(f"demo: {options.data} is not a directory of recordings\n")
        return EXIT_FAILED
    data = None if options.data is None else options.data.resolve()
    # Without a terminal rich takes 80 columns, too few for the whole of the tables.
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    with tempfile.TemporaryDirectory(prefix="opensqt-demo-") as directory:
        stack = LocalStack(Path(directory), StackOptions(data=data))
        try:
            return asyncio.run(_run(stack, console))
        except (KeyboardInterrupt, asyncio.CancelledError):
            console.print("demo: interrupted; everything it started was stopped")
            return EXIT_INTERRUPTED
        finally:
            stack.kill_all()


async def _run(stack: LocalStack, console: Console) -> int:
    task = asyncio.current_task()
    if task is not None:
        # SIGTERM must end the children as Ctrl-C does.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await _play(stack, console)
    except (StackError, ControlError) as error:
        console.print(f"demo: {error}", markup=False)
    except grpc.aio.AioRpcError as error:
        problem = from_call_error(error)
        console.print(f"demo: {problem.message} ({problem.reason})", markup=False)
        for name, service in stack.services.items():
            console.print(f"--- last lines of {name}", service.log_tail(5), sep="\n", markup=False)
    finally:
        with contextlib.suppress(TimeoutError):
            # Shielded: a second Ctrl-C must not leave children behind.
            await asyncio.shield(stack.stop())
    return EXIT_FAILED


async def _play(stack: LocalStack, console: Console) -> int:
    market = f"recordings in {stack.options.data}" if stack.options.data else "a generated market"
    console.print(
        f"[bold]OpenSQT Arb[/]: simulated exchange with {market}, no keys",
        highlight=False,
        soft_wrap=True,
    )
    await stack.start()
    for name, address in stack.addresses.items():
        console.print(f"   {name:22} {address}", highlight=False)
    evidence = await Story(stack, console).play()
    result = summary(evidence)
    _closing_table(evidence, console)
    console.print("next: a stack of your own, docs/running.md; the same as JSON:", highlight=False)
    await stack.stop()
    sys.stdout.write(to_line(result) + "\n")
    # By the venue's books: the engine's word alone proves nothing.
    good = result["flat"] and result["foreign_balance_untouched"] and not result["duplicate_orders"]
    return 0 if good else EXIT_FAILED


def _closing_table(evidence: Evidence, console: Console) -> None:
    closed = evidence.closed
    table = plain_table("What happened", console.width)
    for name in ("leg", "in at", "out at", "left", "funding", "fees"):
        table.add_column(name, justify="left" if name == "leg" else "right")
    for side, leg in (("long", closed.long_leg), ("short", closed.short_leg)):
        table.add_row(
            f"{side} {instrument(leg.instrument)}",
            figure(leg.average_entry_price, 6),
            figure(leg.average_exit_price, 6),
            figure(leg.quantity),
            figure(leg.funding_received, 6) if leg.HasField("funding_received") else "",
            "\n".join(f"{figure(fee.amount, 6)} {fee.asset}" for fee in leg.fees),
        )
    console.print()
    console.print(table)
    console.print()
    dust = decimal_from_proto(closed, "dust_quantity")
    if dust:
        lot = evidence.larger_lot
        text = f"{dust:f} {evidence.infos[0].base_asset} is left as dust: below a lot of {lot:f}"
        console.print(f"{text}, it cannot be traded", highlight=False, soft_wrap=True)
    fields = ("trading_pnl", "funding_received", "fees_paid")
    trading, funding, fees = (decimal_from_proto(closed, field) or _ZERO for field in fields)
    console.print(
        f"profit {trading + funding - fees:.4f} USDT = price {trading:.4f} + funding "
        f"{funding:.4f} - fees {fees:.4f}",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
