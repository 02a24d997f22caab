"""The pool, single flight, the history store, the board: effects without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import ValidationError

from services.common.clock import SystemClock
from services.common.metrics import ServiceMetrics
from services.common.settings import VenueSettings
from services.common.watch_hub import WatchHub
from services.scanner.board import Board
from services.scanner.history_store import MemoryHistoryStore, unknown_spans
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.metrics import PoolMetrics
from services.scanner.opportunity import Opportunity
from services.scanner.pairs import PairOfLegs
from services.scanner.pool import WorkerPool
from services.scanner.settings import CostSettings, ScannerSettings, ScoreSettings
from services.scanner.single_flight import SingleFlight
from services.scanner.slices import Slicer
from services.scanner.spans import Span

NOW = datetime(2026, 3, 20, tzinfo=UTC)
HOUR_MS = 3_600_000


@asynccontextmanager
async def pool_of(
    handle: Callable[[int], Awaitable[int]],
    *,
    size: int = 3,
    capacity: int = 4,
    task_seconds: float = 5,
) -> AsyncIterator[tuple[WorkerPool[int, int], PoolMetrics]]:
    """Run a pool over whole numbers."""
    metrics = PoolMetrics(ServiceMetrics("scanner"))
    pool: WorkerPool[int, int] = WorkerPool(
        handle,
        size=size,
        capacity=capacity,
        task_timeout=task_seconds,
        clock=SystemClock(),
        metrics=metrics,
        label=lambda _: "number",
    )
    async with pool:
        yield pool, metrics


async def double(number: int) -> int:
    """Return twice the number, refusing thirteen."""
    await asyncio.sleep(0)
    if number == 13:
        raise ValueError("unlucky")
    return 2 * number


async def test_batch_larger_than_the_queue_keeps_its_order() -> None:
    """A bounded queue takes any number of tasks; ends come in the order given."""
    async with pool_of(double) as (pool, _):
        ends = await pool.run(list(range(100, 200)))
        assert [end.value for end in ends] == list(range(200, 400, 2))


async def test_workers_outlive_failing_tasks() -> None:
    """More failures than workers leave every worker at work, each error with its task."""
    async with pool_of(double, size=2) as (pool, metrics):
        ends = await pool.run([13] * 10 + [4])
        assert [type(end.error) for end in ends[:10]] == [ValueError] * 10
        assert ends[10].value == 8
        assert metrics.tasks.labels("number", "failed")._value.get() == 10


async def test_no_more_tasks_run_at_once_than_there_are_workers() -> None:
    """The size of the pool bounds what runs, and all of it is used."""
    running = highest = 0

    async def count(number: int) -> int:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await asyncio.sleep(0.001)
        running -= 1
        return number

    async with pool_of(count, size=5, capacity=50) as (pool, _):
        await pool.run(list(range(60)))
    assert highest == 5


async def test_hanging_task_ends_with_its_time_and_frees_the_worker() -> None:
    """A task past its time is cancelled and reported; the worker takes the next."""

    async def hang_on_zero(number: int) -> int:
        if number == 0:
            await asyncio.Event().wait()
        return number

    async with pool_of(hang_on_zero, size=1, task_seconds=0.05) as (pool, metrics):
        first, second = await pool.run([0, 7])
        assert isinstance(first.error, TimeoutError)
        assert second.value == 7
        assert metrics.busy._value.get() == 0


async def test_cancelled_batch_drops_queued_tasks_and_stops_running_ones() -> None:
    """After a cancel nothing of the batch runs any more, and the pool serves the next batch."""
    started: list[int] = []
    stopped: list[int] = []
    both_run = asyncio.Event()

    async def hang(number: int) -> int:
        if number >= 100:
            return number
        started.append(number)
        if len(started) == 2:
            both_run.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(number)
        return number

    async with pool_of(hang, size=2, capacity=3) as (pool, _):
        batch = asyncio.create_task(pool.run(list(range(20))))
        async with asyncio.timeout(5):
            await both_run.wait()
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        (end,) = await pool.run([100])
        assert end.value == 100
        assert (sorted(started), sorted(stopped)) == ([0, 1], [0, 1])


async def test_progress_is_told_once_a_task() -> None:
    """`on_end` sees every end, failures too."""
    seen: list[int] = []
    async with pool_of(double) as (pool, _):
        await pool.run([1, 13, 3], lambda end: seen.append(end.task))
    assert sorted(seen) == [1, 3, 13]


async def test_leaving_the_pool_ends_running_tasks() -> None:
    """Shutdown does not wait for a task that never ends, and lets it clean up."""
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def hang(number: int) -> int:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()
        return number

    async with pool_of(hang) as (pool, _):
        batch = asyncio.create_task(pool.run([1]))
        async with asyncio.timeout(5):
            await begun.wait()
    assert cleaned.is_set()
    batch.cancel()
    await asyncio.wait({batch})


async def test_equal_requests_share_one_flight() -> None:
    """Two callers of one key make one request; later it is asked anew."""
    gate, calls = asyncio.Event(), 0

    async def ask() -> int:
        nonlocal calls
        calls += 1
        await gate.wait()
        return calls

    flights: SingleFlight[int] = SingleFlight()
    pair = [asyncio.create_task(flights.run("key", ask)) for _ in range(2)]
    await asyncio.sleep(0)
    gate.set()
    assert [await each for each in pair] == [1, 1]
    assert await flights.run("key", ask) == 2


async def test_flight_ends_with_its_last_waiter_only() -> None:
    """One caller's cancel leaves the other its answer; the last cancel ends the request."""
    ended = asyncio.Event()
    gate = asyncio.Event()

    async def ask() -> int:
        try:
            await gate.wait()
        finally:
            ended.set()
        return 1

    flights: SingleFlight[int] = SingleFlight()
    one, two = (asyncio.create_task(flights.run("key", ask)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait({one})
    assert not ended.is_set()
    two.cancel()
    await asyncio.wait({two})
    async with asyncio.timeout(5):
        await ended.wait()


async def test_store_joins_rows_and_knows_what_it_lacks() -> None:
    """Rows of several readings join without repeats; coverage is by venue and by symbol."""
    store = MemoryHistoryStore()
    whole = Span(0, 48 * HOUR_MS)
    await store.extend("p", "", Span(0, 24 * HOUR_MS), {"A": ([8 * HOUR_MS, 16 * HOUR_MS], [1, 2])})
    await store.extend(
        "p",
        "A",
        Span(24 * HOUR_MS, 48 * HOUR_MS),
        {"A": ([16 * HOUR_MS + 5, 32 * HOUR_MS], [9, 3])},
    )
    assert store.settlements("p", "A").rates.tolist() == [1, 9, 3]
    assert unknown_spans(store, "p", "A", whole) == ()
    assert unknown_spans(store, "p", "B", whole) == (Span(24 * HOUR_MS, 48 * HOUR_MS),)
    assert unknown_spans(store, "q", "A", whole) == (whole,)
    assert store.settlements("q", "A").minutes.size == 0
    await store.prune("p", 16 * HOUR_MS)
    assert store.settlements("p", "A").rates.tolist() == [9, 3]
    assert unknown_spans(store, "p", "A", whole) == (Span(0, 16 * HOUR_MS),)


def opportunity(
    symbol: str, score: str = "0.5", *, minutes: int = 10, venue: str = "p"
) -> Opportunity:
    """Return an opportunity that expires in some minutes."""
    legs = (
        InstrumentKey("s", symbol, InstrumentKind.SPOT),
        InstrumentKey(venue, symbol, InstrumentKind.PERPETUAL),
    )
    return Opportunity(
        pair=PairOfLegs(*legs),
        scan_id="scan",
        gross_apr=Decimal(1),
        net_apr=Decimal(1),
        naive_apr=Decimal(1),
        costs={},
        round_trip_cost_ratio=Decimal(0),
        break_even_hours=None,
        borrow_apr=None,
        basis_ratio=None,
        quote_volume=Decimal(1),
        expected_holding_time=timedelta(days=1),
        quality_score=Decimal(score),
        score_factors={},
        long_funding=None,
        short_funding=None,
        observe_time=NOW,
        expire_time=NOW + timedelta(minutes=minutes),
    )


def empty_board(limit: int = 100) -> Board:
    """Return a board with nobody watching."""
    return Board(WatchHub("epoch", conflate=True), max_opportunities=limit)


def symbols(board: Board, now: datetime = NOW) -> list[str]:
    """Return the symbols on the board, best first."""
    return [each.pair.symbol for each in board.ranked(now)]


def test_board_replaces_what_a_scan_looked_at_and_keeps_the_rest() -> None:
    """Pairs that could not be looked at stay; those that no longer qualify go."""
    board = empty_board()
    board.publish([opportunity("A"), opportunity("B", venue="q")], lambda _: False, NOW)
    board.publish([opportunity("C", "0.9")], lambda pair: pair.short_leg.venue == "q", NOW)
    assert symbols(board) == ["C", "B"]
    late = NOW + timedelta(minutes=10)
    board.publish([], lambda _: True, late)
    assert symbols(board, NOW) == []


def test_revisions_grow_even_when_the_clock_stands() -> None:
    """Every publication of a pair has a higher revision; a restart's is higher still."""
    board = empty_board()
    seen = []
    for _ in range(3):
        board.publish([opportunity("A")], lambda _: False, NOW)
        seen.append(board.ranked(NOW)[0].revision)
    assert seen == sorted(set(seen))
    reborn = empty_board()
    reborn.publish([opportunity("A")], lambda _: False, NOW + timedelta(seconds=1))
    assert reborn.ranked(NOW)[0].revision > seen[-1]


def test_board_expires_ranks_and_is_bounded() -> None:
    """The best stay when there are too many, ties go by name, the expired are not shown."""
    board = empty_board(limit=2)
    board.publish(
        [opportunity("A", "0.1"), opportunity("C"), opportunity("B")], lambda _: False, NOW
    )
    assert symbols(board) == ["B", "C"]
    late = NOW + timedelta(minutes=10)
    assert symbols(board, late) == []
    board.expire(late)
    assert symbols(board, NOW) == []


async def test_long_work_gives_way_to_the_loop() -> None:
    """Between pieces of work other tasks run as soon as a slice is used up."""

    class Stepping(SystemClock):
        time = 0.0

        def monotonic(self) -> float:
            self.time += 0.001
            return self.time

    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    slicer = Slicer(Stepping())
    for _ in range(30):
        await slicer.pause()
    task.cancel()
    assert turns >= 5


def test_settings_refuse_what_cannot_work() -> None:
    """Twice the same venue, no perpetuals, bounds out of order and unknown factors are told."""
    spot = VenueSettings(name="s", kind="spot", address="127.0.0.1:1")
    perpetual = VenueSettings(name="p", kind="perpetual", address="127.0.0.1:2")
    for venues in ((), (spot,), (perpetual, replace_name(spot, "p"))):
        with pytest.raises(ValidationError):
            ScannerSettings(venues=venues)
    with pytest.raises(ValidationError, match="max_holding_hours"):
        CostSettings(min_holding_hours=10, max_holding_hours=5)
    with pytest.raises(ValidationError, match="unknown factors: luck"):
        ScoreSettings(weights={"luck": 1.0})
    with pytest.raises(ValidationError, match="above zero"):
        ScoreSettings(weights={"carry": 0.0})
    rules = ScannerSettings(venues=(spot, perpetual), lifetime_seconds=60).rules()
    assert rules.lifetime == timedelta(minutes=1)
    assert replace(rules) == rules


def replace_name(venue: VenueSettings, name: str) -> VenueSettings:
    """Return the venue under another name."""
    return venue.model_copy(update={"name": name})
