"""SIGKILL engine and connectors while they enter and exit: `python -m tests.kills --kills 1000`.

Real processes, started again at once; every few kills all come to rest and the venue's own books
are judged. Prints figures; the exit code is 1 where anything is found that must not be.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from cli.demo.processes import StackError
from tests.support.kill_batch import FENCE_SECONDS, run_batch
from tests.support.kill_tally import Tally

KILLS_A_STACK = 100


def main() -> int:
    """Run the kills and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=1, help="of victims, moments and entries")
    parser.add_argument("--keep", type=Path, help="folder in which logs and journals stay")
    options = parser.parse_args()
    tally = Tally()
    began = time.monotonic()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="kills-"))
    asyncio.run(_run(folder, options.seed, options.kills, tally))
    took = time.monotonic() - began
    _tell(f"seed {options.seed}: {took:.0f} s in all; the fence is {FENCE_SECONDS:.1f} s")
    for line in tally.lines():
        _tell(line)
    if not tally.is_sound:
        _tell(f"logs, journal and ledgers are in {folder}")
        return 1
    if options.keep is None:
        shutil.rmtree(folder)
    return 0


async def _run(folder: Path, seed: int, kills: int, tally: Tally) -> None:
    number = 0
    while tally.killed < kills and tally.is_sound:
        began, before = time.monotonic(), tally.killed
        share = min(KILLS_A_STACK, kills - tally.killed)
        try:
            await run_batch(folder / f"stack-{number}", seed + number, share, tally)
        except* (AssertionError, StackError, TimeoutError) as failed:
            tally.findings += [str(one) or repr(one) for one in failed.exceptions]
        took, done = time.monotonic() - began, tally.killed - before
        _tell(f"stack {number}: {done} kills in {took:.0f} s")
        number += 1


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
