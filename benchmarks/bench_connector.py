"""What a connector adds to an order: PlaceOrder against its floor, from one run.

The floor is an empty grpc.aio echo, one committed ledger row and ccxt's own `create_order` with its
limiter off, made one after the other as an order has them, in turns with the orders. Beside it
stands the sum of the same three, each repeated back to back. Ends with code 1 when a bound is
broken. Run it with `make bench-connector` on a machine that does nothing else.
"""

from __future__ import annotations

import statistics
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from benchmarks.connector_stage import ConnectorStage, Shape, longest_pause
from benchmarks.order_calls import (
    aiohttp_call,
    ccxt_call,
    echo_call,
    entry_call,
    floor_call,
    ledger_call,
    place_call,
)
from benchmarks.report import Report
from benchmarks.timing import Sample, run_round
from benchmarks.whole_run import run_whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from benchmarks.processes import Started

    Call = Callable[[], Awaitable[object]]

_ROUNDS: Final = 11
_FLOOR: Final = ("echo", "ledger", "ccxt")
_TEXTS: Final = {
    "place": "PlaceOrder, resting",
    "market": "PlaceOrder, filled, its fee from the user stream",
    "quiet": "PlaceOrder, resting",
    "reloading": "PlaceOrder, resting, markets reloaded all the time",
    "interpreter": "PlaceOrder, resting, garbage left to the interpreter",
    "entry": "beside: EnterOrders, resting, one long-lived call",
    "floor": "floor: echo, row and create_order, one after the other",
    "ccxt": "back to back: ccxt create_order, limiter off",
    "echo": "back to back: empty grpc.aio echo",
    "ledger": "back to back: one committed ledger row",
    "aiohttp": "beside: the same order over bare aiohttp",
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: calls a round one at a time, and at fifty at once."""

    single: int
    crowd: int
    symbols: int = 600


async def run_rounds(calls: Mapping[str, Call], count: int, at_once: int) -> dict[str, Sample]:
    """Measure all calls in turns, so that what else the machine does falls on all of them."""
    samples = {name: Sample() for name in calls}
    for number in range(_ROUNDS + 1):
        for name, call in calls.items():
            # The first round warms connections and caches.
            await run_round(samples[name] if number else Sample(), call, count, at_once)
    return samples


def add_part(report: Report, samples: Mapping[str, Sample], at_once: int, limit: float) -> None:
    """Add the rows of one degree of crowding and the ratios to the floor."""
    report.title("one at a time" if at_once == 1 else f"{at_once} at once")
    for name, sample in samples.items():
        report.sample(f"{name}_{at_once}", _TEXTS[name], sample)
    ratios = _ratios(samples, samples["floor"].round_medians)
    ratio = statistics.median(ratios)
    report.figure(f"ratio_{at_once}", "PlaceOrder to the floor, median of rounds", ratio, limit)
    report.figure(f"ratio_{at_once}_best", "the same, best round", min(ratios))
    sums = [
        sum(parts) for parts in zip(*(samples[name].round_medians for name in _FLOOR), strict=True)
    ]
    beside = statistics.median(_ratios(samples, sums))
    report.figure(f"ratio_{at_once}_back_to_back", "to the sum of the three back to back", beside)


def _ratios(samples: Mapping[str, Sample], floors: Sequence[float]) -> list[float]:
    # Round by round: what else the machine did meanwhile slowed a round's parts alike.
    return [
        place / floor for place, floor in zip(samples["place"].round_medians, floors, strict=True)
    ]


async def measure(report: Report, folder: Path, size: Size) -> None:
    """Run everything and fill the report."""
    async with ConnectorStage(folder, size.symbols) as stage:
        starts = await stage.start_seconds(3)
        async with stage.connector(Shape("plain")) as plain:
            fresh = plain.resident_bytes()
            await _add_orders(report, stage, plain, folder, size)
            after = plain.resident_bytes()
        await _add_limiter(report, stage.venue.address, size)
        await _add_pauses(report, stage, size)
    report.title("process")
    report.figure("start_seconds", "exec to serving, s, the best of three", min(starts), 2.0)
    report.figure(
        "resident_mib", f"resident with {size.symbols} perpetuals, MiB", fresh / 2**20, 130.0
    )
    report.figure("resident_after_mib", "resident after all these orders, MiB", after / 2**20)


async def _add_orders(
    report: Report, stage: ConnectorStage, plain: Started, folder: Path, size: Size
) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        channel = await enter(grpc.aio.insecure_channel(plain.address))
        parts: dict[str, Call] = {
            "echo": echo_call(await enter(grpc.aio.insecure_channel(stage.echo.address))),
            "ledger": await enter(ledger_call(folder / "floor.ledger")),
            "ccxt": await enter(ccxt_call(stage.venue.address, with_limiter=False)),
        }
        beside: dict[str, Call] = {
            "aiohttp": await enter(aiohttp_call(stage.venue.address)),
            "market": place_call(channel, is_market=True),
            "entry": await enter(entry_call(channel)),
        }
        for count, at_once, limit in ((size.single, 1, 1.5), (size.crowd, 50, 2.0)):
            times: dict[str, list[float]] = {name: [] for name in _FLOOR}
            floor = floor_call(parts, times)
            calls = {"place": place_call(channel), "floor": floor, **parts, **beside}
            add_part(report, await run_rounds(calls, count, at_once), at_once, limit)
            for name, seconds in times.items():
                middle = statistics.median(seconds) * 1000
                report.figure(f"floor_{name}_{at_once}_ms", f"p50 in the floor: {name}, ms", middle)


async def _add_limiter(report: Report, venue: str, size: Size) -> None:
    sample = Sample()
    async with ccxt_call(venue, with_limiter=True) as limited:
        await run_round(sample, limited, max(size.single // 10, 10), 10)
    report.title("for comparison: ccxt with its own limiter, 10 at once")
    report.sample("ccxt_limiter", "create_order", sample)


async def _add_pauses(report: Report, stage: ConnectorStage, size: Size) -> None:
    """One connector after the other: one that reloads all the time slows all beside it."""
    report.title("reloads and garbage, one at a time")
    pauses: dict[str, float] = {}
    for shape in (
        Shape("quiet"),
        Shape("reloading", reload_seconds=0.25),
        Shape("interpreter", idle_collection=False),
    ):
        async with (
            stage.connector(shape) as connector,
            grpc.aio.insecure_channel(connector.address) as channel,
        ):
            call = place_call(channel)
            samples = await run_rounds({shape.name: call}, size.single, 1)
            report.sample(f"pauses_{shape.name}", _TEXTS[shape.name], samples[shape.name])
            # The interpreter's own full collections come with many objects made.
            await run_round(Sample(), call, size.crowd * 5, 50)
            pauses[shape.name] = longest_pause(connector) * 1000
    report.figure("garbage_pause_ms", "longest collection, between orders, ms", pauses["quiet"])
    report.figure(
        "garbage_pause_interpreter_ms",
        "longest collection, left to the interpreter, in orders, ms",
        pauses["interpreter"],
    )


def main() -> int:
    """Measure, write the table, and return 1 when a bound is broken."""

    async def sized(report: Report, folder: Path, quick: bool) -> None:
        await measure(report, folder, Size(30, 60) if quick else Size(150, 300))

    return run_whole(
        "bench-connector", "what a connector adds to an order", "a tenth of the calls", sized
    )


if __name__ == "__main__":
    sys.exit(main())
