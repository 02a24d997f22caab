"""Replay recorded funding histories and tell what the ranking would have earned.

`python -m services.scanner.backtest --data DIR`, which is what `arb backtest-ranking` runs.
docs/quality-score.md explains the figures. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from services.common.codec import parse_decimal
from services.common.errors import InvalidFieldError
from services.common.settings_loader import SettingsProblemsError, read_settings
from services.scanner.backtest_data import RecordingError, read_recordings
from services.scanner.backtest_figures import method_figures
from services.scanner.backtest_market import MarketAssumptions
from services.scanner.backtest_report import plain_plan, plain_result, result_lines, result_of
from services.scanner.backtest_walk import BacktestPlan, walk
from services.scanner.offline import count, in_words, refuse, whole_number
from services.scanner.rules import ScanRules
from services.scanner.settings import ScannerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.scanner.backtest_report import BacktestResult
    from services.scanner.backtest_walk import Walk

PROGRAM = "backtest-ranking"
EXIT_REFUSED = 1
EXIT_INTERRUPTED = 130
PLOT_SUFFIXES = (".png", ".svg")
MAX_HORIZON_DAYS = 365


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the backtest and return the exit code: 0, 1 without a plotter, 2 for wrong input."""
    options = _parser().parse_args(arguments)
    try:
        plan = _plan(options)
        # Before the walk: nobody should wait a minute to learn that nothing can be drawn.
        draw = None if options.plot is None else _plotter()
        told = _walked(options.data, plan, options.seed)
        if draw is not None:
            draw(options.plot, told)
    except ImportError as error:
        return refuse(PROGRAM, str(error), EXIT_REFUSED)
    except (RecordingError, OSError, SettingsProblemsError) as error:
        return refuse(PROGRAM, in_words(error))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if not options.json:
        for result, _ in told:
            sys.stdout.write("\n".join(result_lines(result)) + "\n")
    plain = {
        "plan": plain_plan(plan),
        "recordings": [plain_result(result) for result, _ in told],
        "plot": None if options.plot is None else str(options.plot),
    }
    sys.stdout.write(json.dumps(plain) + "\n")
    return 0


def _walked(
    directory: Path, plan: BacktestPlan, seed: int
) -> tuple[tuple[BacktestResult, Walk], ...]:
    """Walk through every recording; RecordingError when none is long enough for a single date."""
    told = []
    for recording in read_recordings(directory):
        walked = walk(recording, plan)
        if walked.outcomes:
            figures = method_figures(walked.outcomes, seed)
            told.append((result_of(recording, walked, figures, plan), walked))
        else:
            sys.stderr.write(f"{PROGRAM}: recording {recording.name} is too short\n")
    if not told:
        raise RecordingError(f"{directory}: no recording is long enough for one date and horizon")
    return tuple(told)


def _plan(options: argparse.Namespace) -> BacktestPlan:
    rules = ScanRules()
    if options.scanner_config is not None:
        rules = read_settings(ScannerSettings, options.scanner_config, os.environ).rules()
    if options.borrow_apr is not None:
        rules = replace(rules, costs=replace(rules.costs, default_borrow_apr=options.borrow_apr))
    assumptions = MarketAssumptions(
        perpetual_fee_ratio=options.perpetual_fee,
        spot_fee_ratio=options.spot_fee,
        half_spread_ratio=options.half_spread,
        spot_symbols=None if options.spot is None else _spot_symbols(options.spot),
    )
    return BacktestPlan(options.top, options.horizons, rules, assumptions)


def _spot_symbols(path: Path) -> frozenset[str]:
    """Read symbols, one a line, or the `symbol` of each row of a venue's JSON list."""
    try:
        text = path.read_text(encoding="utf-8")
        names = (
            [row["symbol"] for row in json.loads(text)] if text.startswith("[") else text.split()
        )
    except OSError as error:
        raise RecordingError(f"--spot: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecordingError(f"--spot: {path} is no text") from None
    except (ValueError, KeyError, TypeError):
        raise RecordingError(f"{path} is no JSON list of rows with a symbol") from None
    if not names:
        raise RecordingError(f"{path} names no symbol")
    return frozenset(names)


def _plotter() -> Callable[[Path, Sequence[tuple[BacktestResult, Walk]]], None]:
    # Half a second to import, and in the extra `cli` only.
    from services.scanner.backtest_plot import write_plot

    return write_plot


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    add = parser.add_argument
    given = MarketAssumptions()
    add("--data", type=Path, required=True, help="directory of recorded funding histories")
    add("--top", type=count, default=10, help="places to fill at each date")
    add("--horizons", type=_horizons, default=(1, 7, 30), help="days to hold, as 1,7,30")
    add(
        "--scanner-config",
        type=Path,
        help="scanner.toml whose thresholds, costs and weights to use",
    )
    add("--perpetual-fee", type=_ratio, default=given.perpetual_fee_ratio, metavar="RATIO")
    add("--spot-fee", type=_ratio, default=given.spot_fee_ratio, metavar="RATIO")
    add("--half-spread", type=_ratio, default=given.half_spread_ratio, metavar="RATIO")
    add("--borrow-apr", type=_ratio, metavar="RATIO", help="cost of a short spot leg a year")
    add("--spot", type=Path, metavar="FILE", help="symbols with a spot market; default: all")
    add("--plot", type=_plot_path, metavar="FILE", help="PNG or SVG to draw, by its suffix")
    add("--seed", type=_seed, default=1, help="of the bootstrap's draws")
    add("--json", action="store_true", help="print the JSON line alone")
    return parser


def _seed(text: str) -> int:
    return whole_number(text, 0, 2**32 - 1)


def _horizons(text: str) -> tuple[int, ...]:
    days = tuple(sorted({count(each) for each in text.split(",")}))
    if days[-1] > MAX_HORIZON_DAYS:
        raise argparse.ArgumentTypeError(f"must not be over {MAX_HORIZON_DAYS} days")
    return days


def _ratio(text: str) -> Decimal:
    try:
        value = parse_decimal(text, "it")
    except InvalidFieldError as error:
        raise argparse.ArgumentTypeError(error.problem) from None
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("must be a fraction from 0 to below 1")
    return value


def _plot_path(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise argparse.ArgumentTypeError(f"must end in {' or '.join(PLOT_SUFFIXES)}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {path.parent}")
    return path


if __name__ == "__main__":
    sys.exit(main())
