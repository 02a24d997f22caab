"""The `arb` command line: options and help; the work is in `cli.commands`.

Nothing heavy is imported before a command runs, so that `arb --help` answers at once.
"""

from __future__ import annotations

import uuid
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from cli.session import Session
    from cli.trading import EntryOrder

# Headlines of the commands, in the order of `arb --help`.
_LOOK, _TRADE, _STEER, _RECKON = "See", "Trade", "Steer", "Reckon, without a service"
app = typer.Typer(
    no_args_is_help=True,
    epilog="First: arb doctor, then arb scan, which names the command that follows.",
    add_completion=False,
    # typer's pretty tracebacks can show local variables, a token among them.
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one line for each result.")]
# typer reads the annotation at run time, where Python 3.11 needs Optional's own form.
Config = Annotated[
    Optional[Path],  # noqa: UP045 - evaluated by typer at run time
    typer.Option("--config", help="TOML file; else arb.toml here, else the local defaults."),
]
RequestId = Annotated[
    Optional[str],  # noqa: UP045 - evaluated by typer at run time
    typer.Option("--request-id", help="UUID that makes a repeat harmless; default: a new one."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Venue = Annotated[
    Optional[str],  # noqa: UP045 - evaluated by typer at run time
    typer.Option("--venue", help="Only at this connector, by its name in arb.toml."),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")]
Figure = Optional[str]  # noqa: UP045 - evaluated by typer at run time
Symbols = Annotated[
    Optional[list[str]],  # noqa: UP045 - evaluated by typer at run time
    typer.Option("--symbol", help="Canonical symbol, as BTCUSDT; may be given again."),
]
MinNetApr = Annotated[
    Figure, typer.Option("--min-net-apr", help="Least net APR as a fraction, as 0.05.")
]


def _finish(
    config: Path | None,
    json: bool,
    command: Callable[[Session], Awaitable[int]],
    change: str = "",
) -> None:
    from cli.session import run

    # Raised: typer drops what a command returns and would exit with 0.
    raise typer.Exit(run(config, json=json, command=command, change=change))


def _number(text: str | None, option: str) -> Decimal | None:
    if text is None:
        return None
    # Options are text until here: typer's float would change the digits of a quantity.
    from services.common.codec import parse_decimal
    from services.common.errors import InvalidFieldError

    try:
        return parse_decimal(text, option)
    except InvalidFieldError as error:
        raise typer.BadParameter(error.problem, param_hint=option) from None


def _filter(symbols: list[str] | None, min_net_apr: str | None) -> Any:
    from cli.scanning import OpportunityFilter

    for symbol in symbols or ():
        # Such a symbol can match nothing, which would look as if nothing qualified.
        if not symbol or symbol.islower() or any(each in " /:-" for each in symbol):
            raise typer.BadParameter(
                f"{symbol!r} is no canonical symbol: capitals in one word, as BTCUSDT",
                param_hint="--symbol",
            )
    return OpportunityFilter(_number(min_net_apr, "--min-net-apr"), tuple(symbols or ()))


def _confirm(question: str, *, yes: bool, json: bool) -> None:
    if yes:
        return
    if json:
        raise typer.BadParameter("with --json give --yes; nobody can be asked", param_hint="--yes")
    typer.confirm(question, abort=True)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("opensqt-arb"))
        raise typer.Exit


@app.callback()
def arb(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Find, enter and leave funding-rate arbitrage through the OpenSQT scanner and engine."""


@app.command(rich_help_panel=_LOOK)
def scan(
    top: Annotated[int, typer.Option("--top", min=1, max=10_000, help="Rows to show.")] = 20,
    symbol: Symbols = None,
    min_net_apr: MinNetApr = None,
    request_id: RequestId = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Scan all symbols now and list the best opportunities."""
    from cli import commands

    wanted = _filter(symbol, min_net_apr)
    _finish(
        config,
        json,
        lambda session: commands.scan(session, wanted, top, request_id or str(uuid.uuid4())),
    )


@app.command(rich_help_panel=_LOOK)
def watch(
    symbol: Symbols = None,
    min_net_apr: MinNetApr = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Print opportunities as they are published."""
    from cli import commands

    wanted = _filter(symbol, min_net_apr)
    _finish(config, json, lambda session: commands.watch(session, wanted))


def _check_entry(order: EntryOrder) -> None:
    # Before the question: nobody should say yes to what cannot be sent.
    if not order.opportunity_id and not (order.symbol and order.long_leg and order.short_leg):
        raise typer.BadParameter(
            "name an opportunity, or give --symbol with --long and --short",
            param_hint="opportunity",
        )
    if (order.notional is None) == (order.quantity is None):
        raise typer.BadParameter("give either --notional or --quantity", param_hint="--notional")


@app.command(rich_help_panel=_TRADE)
def enter(
    opportunity: Annotated[str, typer.Argument(help="Opportunity id, from arb scan.")] = "",
    symbol: Annotated[
        str, typer.Option("--symbol", help="With --long and --short, instead of an opportunity.")
    ] = "",
    long_leg: Annotated[str, typer.Option("--long", help="Leg to be long, as binance:spot.")] = "",
    short_leg: Annotated[str, typer.Option("--short", help="Leg to be short.")] = "",
    notional: Annotated[Figure, typer.Option(help="Size of one leg in quote asset.")] = None,
    quantity: Annotated[Figure, typer.Option(help="Size of one leg in coins.")] = None,
    slippage: Annotated[
        Figure, typer.Option("--slippage", help="Worst distance accepted, as a fraction: 0.002.")
    ] = None,
    lead: Annotated[str, typer.Option("--lead", help="Leg to trade first: long or short.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and size only.")] = False,
    wait: Wait = True,
    yes: Yes = False,
    request_id: RequestId = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Enter a hedged position: lead leg first, the other leg scaled to what filled."""
    from cli import commands
    from cli.trading import EntryOrder
    from opensqt.market_maker.v1 import engine_pb2

    leads = {
        "": engine_pb2.LEG_SIDE_UNSPECIFIED,
        "long": engine_pb2.LEG_SIDE_LONG,
        "short": engine_pb2.LEG_SIDE_SHORT,
    }
    if lead not in leads:
        raise typer.BadParameter("must be long or short", param_hint="--lead")
    order = EntryOrder(
        opportunity_id=opportunity,
        symbol=symbol,
        long_leg=long_leg,
        short_leg=short_leg,
        notional=_number(notional, "--notional"),
        quantity=_number(quantity, "--quantity"),
        slippage_bound_ratio=_number(slippage, "--slippage"),
        lead_leg=leads[lead],
        validate_only=dry_run,
    )
    _check_entry(order)
    what = opportunity or f"{symbol}, long {long_leg}, short {short_leg},"
    size = f"{notional} of the quote asset" if notional else f"{quantity} coins"
    if not dry_run:
        _confirm(f"Enter {what} with {size} a leg?", yes=yes, json=json)
    change = request_id or str(uuid.uuid4())
    _finish(
        config,
        json,
        lambda session: commands.enter(session, order, change, wait=wait),
        change,
    )


@app.command(name="exit", rich_help_panel=_TRADE)
def leave(
    position: Annotated[str, typer.Argument(help="Position id, from arb positions.")],
    slippage: Annotated[
        Figure, typer.Option("--slippage", help="Worst distance accepted, as a fraction: 0.002.")
    ] = None,
    wait: Wait = True,
    request_id: RequestId = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Leave a position: both legs at once."""
    from cli import commands

    # No question is asked: nothing may stand between a person and less exposure.
    bound = _number(slippage, "--slippage")
    change = request_id or str(uuid.uuid4())
    _finish(
        config,
        json,
        lambda session: commands.leave(session, position, bound, change, wait=wait),
        change,
    )


@app.command(rich_help_panel=_TRADE)
def reduce(
    position: Annotated[str, typer.Argument(help="Position id, from arb positions.")],
    quantity: Annotated[Figure, typer.Option(help="Coins to take off each leg.")] = None,
    ratio: Annotated[Figure, typer.Option(help="Share to take off, as 0.5.")] = None,
    request_id: RequestId = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Make both legs of a position smaller."""
    from cli import commands

    amount, share = _number(quantity, "--quantity"), _number(ratio, "--ratio")
    if (amount is None) == (share is None):
        raise typer.BadParameter("give either --quantity or --ratio", param_hint="--ratio")
    change = request_id or str(uuid.uuid4())
    _finish(
        config,
        json,
        lambda session: commands.reduce(session, position, amount, share, change),
        change,
    )


@app.command(name="close-all", rich_help_panel=_TRADE)
def close_all(
    reason: Reason,
    yes: Yes = False,
    request_id: RequestId = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Leave every position."""
    from cli import commands

    # It reduces exposure, yet one slip of the hand would pay for every exit.
    _confirm("Close every position?", yes=yes, json=json)
    change = request_id or str(uuid.uuid4())
    _finish(
        config,
        json,
        lambda session: commands.close_all(session, reason, change),
        change,
    )


@app.command(rich_help_panel=_LOOK)
def positions(
    every: Annotated[bool, typer.Option("--all", help="Closed and flat ones too.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """List positions."""
    from cli import commands

    _finish(config, json, lambda session: commands.positions(session, every=every))


@app.command(rich_help_panel=_LOOK)
def decisions(
    most: Annotated[int, typer.Option("--most", min=1, max=500, help="Rows to show.")] = 20,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show what the strategy decided last, and by which figures."""
    from cli import strategy

    _finish(config, json, lambda session: strategy.decisions(session, most))


class Mode(StrEnum):
    """Who takes opportunities."""

    MANUAL = "manual"
    ADVISE = "advise"
    AUTO = "auto"


@app.command("strategy", rich_help_panel=_STEER)
def set_strategy(
    mode: Annotated[Mode, typer.Argument(help="Who takes opportunities from now on.")],
    reason: Reason,
    yes: Yes = False,
    request_id: RequestId = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Set who takes opportunities: manual, advise or auto."""
    from cli import strategy

    if mode is Mode.AUTO:
        _confirm("Let the engine enter and leave positions by itself?", yes=yes, json=json)
    change = request_id or str(uuid.uuid4())
    _finish(
        config,
        json,
        lambda session: strategy.set_mode(session, mode.value, reason, change),
        change,
    )


@app.command(rich_help_panel=_STEER)
def halt(
    reason: Reason,
    venue: Venue = None,
    request_id: RequestId = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Stop opening, in the engine or at one connector; exits still run."""
    from cli import commands, venue_halt

    if venue is not None:
        _finish(config, json, lambda session: venue_halt.halt_venue(session, venue, reason))
    change = request_id or str(uuid.uuid4())
    _finish(
        config,
        json,
        lambda session: commands.halt(session, reason, change),
        change,
    )


@app.command(rich_help_panel=_STEER)
def resume(
    reason: Reason,
    venue: Venue = None,
    yes: Yes = False,
    request_id: RequestId = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Allow opening again, in the engine or at one connector."""
    from cli import commands, venue_halt

    _confirm("Allow entries again?", yes=yes, json=json)
    if venue is not None:
        _finish(config, json, lambda session: venue_halt.resume_venue(session, venue, reason))
    change = request_id or str(uuid.uuid4())
    _finish(
        config,
        json,
        lambda session: commands.resume(session, reason, change),
        change,
    )


@app.command(rich_help_panel=_STEER)
def workers(
    count: Annotated[int, typer.Argument(min=1, max=256, help="Workers from now on.")],
    json: Json = False,
    config: Config = None,
) -> None:
    """Set the number of the scanner's workers until it is started again."""
    from cli import commands

    _finish(config, json, lambda session: commands.workers(session, count))


@app.command(rich_help_panel=_LOOK)
def doctor(json: Json = False, config: Config = None) -> None:
    """Examine services and accounts and say what is wrong."""
    from cli import commands

    _finish(config, json, commands.doctor)


@app.command(rich_help_panel=_RECKON)
def analyse_data(
    data: Annotated[Path, typer.Option("--data", help="Directory of recorded histories.")],
    top: Annotated[int, typer.Option("--top", min=1, max=10_000, help="Carries to show.")] = 20,
    rules: Annotated[
        Optional[Path],  # noqa: UP045 - evaluated by typer at run time
        typer.Option("--config", help="scanner.toml whose thresholds to use; else the defaults."),
    ] = None,
    json: Json = False,
) -> None:
    """Analyse recorded funding histories: what is left out and why, the highest true carries."""
    from cli.offline import run_module

    arguments = ["--data", str(data), "--top", str(top)]
    arguments += ["--config", str(rules)] if rules is not None else []
    arguments += ["--json"] if json else []
    raise typer.Exit(run_module("services.scanner.analyse_data", arguments))


@app.command(rich_help_panel=_RECKON)
def fetch_plan(
    symbols: Annotated[int, typer.Option("--symbols", min=1, max=10_000, help="Perpetuals.")] = 300,
    interval: Annotated[float, typer.Option("--interval", min=1, max=24, help="In hours.")] = 4.0,
    shortlist: Annotated[int, typer.Option("--shortlist", min=0, max=500, help="Legs.")] = 20,
    json: Json = False,
) -> None:
    """Count what scans would ask of each venue: calls, requests, weight; asks nobody."""
    from cli.offline import arguments_of, run_module

    options = {"symbols": symbols, "interval": interval, "shortlist": shortlist, "json": json}
    raise typer.Exit(run_module("services.scanner.fetch_plan_table", arguments_of(options)))


@app.command(name="backtest-ranking", rich_help_panel=_RECKON)
def backtest_ranking(
    data: Annotated[str, typer.Option("--data", help="Directory of recorded funding histories.")],
    top: Annotated[int, typer.Option("--top", help="Places to fill at each date.")] = 10,
    horizons: Annotated[str, typer.Option("--horizons", help="Days to hold.")] = "1,7,30",
    scanner_config: Annotated[
        Figure, typer.Option(help="scanner.toml whose thresholds, costs and weights to use.")
    ] = None,
    perpetual_fee: Annotated[Figure, typer.Option(help="Taker fee, a fraction.")] = None,
    spot_fee: Annotated[Figure, typer.Option(help="Taker fee, a fraction.")] = None,
    half_spread: Annotated[Figure, typer.Option(help="Of every leg, a fraction.")] = None,
    borrow_apr: Annotated[
        Figure, typer.Option(help="Cost of a short spot leg a year; without it there are none.")
    ] = None,
    spot: Annotated[Figure, typer.Option(help="File of symbols with a spot market.")] = None,
    plot: Annotated[Figure, typer.Option("--plot", help="PNG or SVG file to draw.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap's draws.")] = 1,
    json: Json = False,
) -> None:
    """Replay recorded histories: what the ranking would have earned, net of costs."""
    from cli.offline import arguments_of, run_module

    options = {
        "data": data,
        "top": top,
        "horizons": horizons,
        "scanner-config": scanner_config,
        "perpetual-fee": perpetual_fee,
        "spot-fee": spot_fee,
        "half-spread": half_spread,
        "borrow-apr": borrow_apr,
        "spot": spot,
        "plot": plot,
        "seed": seed,
        "json": json,
    }
    raise typer.Exit(run_module("services.scanner.backtest", arguments_of(options)))


def main() -> None:
    """Entry point of the `arb` script."""
    app(prog_name="arb")


if __name__ == "__main__":
    main()
