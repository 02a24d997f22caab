"""The worker pool: order, bounds, ends of every kind, cancellation, resize, idleness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.common.clock import Clock, SystemClock
from services.common.errors import FatalError, UnreachableError
from services.common.metrics import ServiceMetrics
from services.scanner.metrics import PoolMetrics
from services.scanner.pool import WorkerPool
from services.scanner.task_runner import TaskEnd, TaskPriority
from tests.support.hand_clock import HandClock
from tests.support.scanner_rig import until


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do at a venue."""

    number: int
    venue: str = "v"


Handle = Callable[[Task], Awaitable[Any]]


@dataclass(slots=True)
class Gate:
    """A handler that holds every task until its venue is opened. Mutable: it counts."""

    closed: set[str] = field(default_factory=lambda: {"v"})
    started: list[Task] = field(default_factory=list)
    stopped: list[Task] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, task: Task) -> int:
        """Count the task in, wait while its venue is closed, count it out."""
        self.started.append(task)
        self.running[task.venue] = self.running.get(task.venue, 0) + 1
        self.most[task.venue] = max(self.most.get(task.venue, 0), self.running[task.venue])
        try:
            await asyncio.sleep(0)
            while task.venue in self.closed:
                await self.opened.wait()
        finally:
            self.running[task.venue] -= 1
            self.stopped.append(task)
        return task.number

    def open(self) -> None:
        """Let everything pass."""
        self.closed.clear()
        self.opened.set()


@dataclass(frozen=True, slots=True)
class Rig:
    """A pool and its figures."""

    pool: WorkerPool[Task, Any]
    metrics: ServiceMetrics

    def figure(self, name: str, **labels: str) -> float:
        """Return a metric's value now, 0 when nothing was counted yet."""
        return self.metrics.registry.get_sample_value(f"opensqt_scanner_{name}", labels) or 0.0


@asynccontextmanager
async def pool_of(
    handle: Handle,
    *,
    size: int = 3,
    capacity: int = 4,
    task_seconds: float = 5,
    bounds: Mapping[str, int] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Rig]:
    """Run a pool; without bounds one venue has all the workers."""
    metrics = ServiceMetrics("scanner")
    pool: WorkerPool[Task, Any] = WorkerPool(
        handle,
        size=size,
        capacity=capacity,
        task_timeout=task_seconds,
        bounds_of=lambda count: bounds or {"v": count},
        venue_of=lambda task: task.venue,
        label_of=lambda _: "number",
        clock=clock or SystemClock(),
        metrics=PoolMetrics(metrics),
    )
    async with pool:
        yield Rig(pool, metrics)


def tasks_of(*numbers: int, venue: str = "v") -> list[Task]:
    """Return one task a number."""
    return [Task(number, venue) for number in numbers]


async def double(task: Task) -> int:
    """Return twice the number, refusing thirteen."""
    await asyncio.sleep(0)
    if task.number == 13:
        raise ValueError("unlucky")
    return 2 * task.number


def values(ends: list[TaskEnd[Task, Any]]) -> list[Any]:
    """Return what the tasks returned."""
    return [end.value for end in ends]


async def test_batch_larger_than_the_queue_keeps_its_order() -> None:
    """A bounded queue takes any number of tasks; ends come in the order given."""
    async with pool_of(double) as rig:
        ends = await rig.pool.run(tasks_of(*range(100, 200)))
        assert values(ends) == list(range(200, 400, 2))
        assert await rig.pool.run([]) == []


async def test_progress_is_told_once_a_task() -> None:
    """`on_end` sees every end, failures too."""
    seen: list[int] = []
    async with pool_of(double) as rig:
        await rig.pool.run(tasks_of(1, 13, 3), lambda end: seen.append(end.task.number))
    assert sorted(seen) == [1, 3, 13]


async def test_listener_that_fails_ends_its_own_batch_only() -> None:
    """What `on_end` raises comes out of `run`; the workers serve the next batch."""

    def refuse(_end: object) -> None:
        raise ZeroDivisionError

    async with pool_of(double) as rig:
        with pytest.raises(ZeroDivisionError):
            await rig.pool.run(tasks_of(*range(20)), refuse)
        assert values(await rig.pool.run(tasks_of(4))) == [8]


async def test_no_venue_runs_above_its_bound_and_all_bounds_are_used() -> None:
    """Workers in excess of the bounds stay idle rather than sit on a venue at its bound."""
    gate = Gate(closed={"a", "b"})
    async with pool_of(gate, size=8, capacity=60, bounds={"a": 2, "b": 3}) as rig:
        batch = asyncio.create_task(
            rig.pool.run([*tasks_of(*range(30), venue="a"), *tasks_of(*range(30), venue="b")])
        )
        await until(lambda: rig.figure("workers_busy") == 5)
        assert rig.figure("tasks_running", exchange="a") == 2
        assert rig.figure("worker_queue_length", exchange="b") == 27
        gate.open()
        assert values(await batch) == [*range(30), *range(30)]
    assert gate.most == {"a": 2, "b": 3}


async def test_backlog_of_a_hanging_venue_does_not_hold_up_another() -> None:
    """A venue with more tasks than the queue takes, none of which ends, leaves others their way."""
    gate = Gate(closed={"slow"})
    async with pool_of(gate, size=4, capacity=4, bounds={"slow": 3, "fast": 3}) as rig:
        slow = asyncio.create_task(rig.pool.run(tasks_of(*range(100), venue="slow")))
        await until(lambda: gate.running.get("slow") == 3)
        assert values(await rig.pool.run(tasks_of(*range(50), venue="fast"))) == [*range(50)]
        assert len(gate.started) == 53
        gate.open()
        assert values(await slow) == [*range(100)]


async def test_urgent_batch_passes_one_that_waits() -> None:
    """What refreshes an opportunity goes before a scan, a scan before a backfill."""
    gate = Gate()
    async with pool_of(gate, size=1, capacity=4) as rig:
        batches = []
        for number, priority in enumerate(
            (TaskPriority.AHEAD, TaskPriority.SCAN, TaskPriority.REFRESH), start=1
        ):
            batch = tasks_of(*[number] * 10)
            batches.append(asyncio.create_task(rig.pool.run(batch, priority=priority)))
            await asyncio.sleep(0)
        await until(lambda: len(gate.started) == 1)
        gate.open()
        await asyncio.gather(*batches)
    # Only the backfill that ran already is not passed.
    assert [task.number for task in gate.started] == [1] + [3] * 10 + [2] * 10 + [1] * 9


POISONS: dict[str, tuple[Callable[[], Any], type[Exception]]] = {}


def poison(
    error: type[Exception],
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Name a way for a task to go wrong, with the error its end must carry."""

    def enter(act: Callable[[], Any]) -> Callable[[], Any]:
        POISONS[act.__name__] = (act, error)
        return act

    return enter


@poison(ValueError)
async def raises() -> None:
    """Raise an ordinary error."""
    raise ValueError("unlucky")


@poison(FatalError)
async def exits() -> None:
    """Raise what would end the event loop."""
    raise SystemExit(3)


@poison(FatalError)
async def interrupts() -> None:
    """Raise what a person at the keyboard would."""
    raise KeyboardInterrupt


@poison(FatalError)
async def cancels_itself() -> None:
    """Raise a cancellation nobody asked for."""
    raise asyncio.CancelledError


@poison(FatalError)
async def raises_a_group() -> None:
    """Raise a group with a bare BaseException in it."""
    raise BaseExceptionGroup("several", [GeneratorExit()])


@poison(TimeoutError)
async def hangs() -> None:
    """Never end."""
    await asyncio.Event().wait()


@poison(TimeoutError)
async def takes_cancellation_for_a_result() -> int:
    """Turn the cancellation into a value."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return 1
    return 2


@poison(FatalError)
async def returns_nothing() -> None:
    """Return no value at all."""


@poison(TypeError)
def is_no_coroutine() -> int:
    """Return what cannot be awaited."""
    return 1


@pytest.mark.parametrize("name", POISONS)
async def test_poisoned_tasks_end_and_leave_every_worker_at_work(name: str) -> None:
    """More poisoned tasks than workers: each ends with its error, then good ones go through."""
    act, expected = POISONS[name]

    async def handle(task: Task) -> Any:
        return await (act() if task.number < 0 else double(task))

    async with pool_of(handle, size=2, task_seconds=0.02) as rig:
        ends = await rig.pool.run(tasks_of(-1, -1, 4, -1, -1, -1, 5))
        assert [type(end.error) for end in ends if end.task.number < 0] == [expected] * 5
        assert values([ends[2], ends[6]]) == [8, 10]
        # Both workers are there: each holds one of these until the other has come.
        both = asyncio.Barrier(2)

        async def meet(_task: Task) -> int:
            await both.wait()
            return 1

        rig.pool._handle = meet
        assert values(await rig.pool.run(tasks_of(1, 2))) == [1, 1]
        assert rig.figure("workers_busy") == 0
        counted = "timeout" if expected is TimeoutError else "failed"
        assert rig.figure("tasks_total", task="number", outcome=counted) == 5


async def test_task_that_ignores_its_cancellation_costs_its_own_venue_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker goes on without it; its place at the venue stays taken until it ends."""
    monkeypatch.setattr("services.scanner.task_attempt._CANCEL_SECONDS", 0.01)
    release = asyncio.Event()

    async def handle(task: Task) -> int:
        while task.venue == "deaf" and not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return task.number

    bounds = {"deaf": 2, "good": 2}
    async with pool_of(handle, size=2, task_seconds=0.02, bounds=bounds) as rig:
        ends = await rig.pool.run(tasks_of(1, 2, 3, venue="deaf"), timeout_seconds=0.2)
        assert [type(end.error) for end in ends] == [TimeoutError] * 3
        assert rig.figure("tasks_abandoned") == 2
        assert values(await rig.pool.run(tasks_of(*range(9), venue="good"))) == [*range(9)]
        waiting = asyncio.create_task(rig.pool.run(tasks_of(7, venue="deaf")))
        await until(lambda: rig.figure("worker_queue_length", exchange="deaf") == 1)
        release.set()
        assert values(await asyncio.wait_for(waiting, 5)) == [7]
        assert rig.figure("tasks_abandoned") == 0


async def test_batch_past_its_time_keeps_what_ended() -> None:
    """After its time the rest of a batch ends with TimeoutError, waiting and running alike."""
    gate = Gate(closed={"slow"})
    async with pool_of(gate, size=3, bounds={"slow": 1, "fast": 2}) as rig:
        slow, fast = tasks_of(1, 2, 3, venue="slow"), tasks_of(4, 5, venue="fast")
        seen: list[int] = []
        ends = await rig.pool.run(
            [*slow, *fast], lambda end: seen.append(end.task.number), timeout_seconds=0.05
        )
        assert values(ends) == [None, None, None, 4, 5]
        assert [type(end.error) for end in ends[:3]] == [TimeoutError] * 3
        assert sorted(seen) == [1, 2, 3, 4, 5]
        await until(lambda: gate.running["slow"] == 0)
        assert gate.started.count(Task(2, "slow")) == 0


async def test_cancelled_batch_drops_queued_tasks_and_stops_running_ones() -> None:
    """After a cancel nothing of the batch runs any more, and others go on undisturbed."""
    gate = Gate()
    async with pool_of(gate, size=2, capacity=3) as rig:
        other = asyncio.create_task(rig.pool.run(tasks_of(100)))
        await until(lambda: len(gate.started) == 1)
        seen: list[int] = []
        batch = asyncio.create_task(
            rig.pool.run(tasks_of(*range(20)), lambda end: seen.append(end.task.number))
        )
        await until(lambda: len(gate.started) == 2)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        await until(lambda: gate.stopped == [Task(0)])
        assert rig.figure("worker_queue_length", exchange="v") == 0
        await until(lambda: rig.figure("workers_busy") == 1)
        assert rig.figure("tasks_running", exchange="v") == 1
        gate.open()
        assert values(await other) == [100]
        assert values(await rig.pool.run(tasks_of(101))) == [101]
    assert [task.number for task in gate.started] == [100, 0, 101]
    assert seen == []


async def test_cancelled_batch_makes_room_for_one_that_waits_outside() -> None:
    """What stood behind it, with no place in the queue, goes on at once."""
    gate = Gate()
    async with pool_of(gate, size=1, capacity=3) as rig:
        first = asyncio.create_task(rig.pool.run(tasks_of(1, 2, 3)))
        await until(lambda: len(gate.started) == 1)
        second = asyncio.create_task(rig.pool.run(tasks_of(4)))
        await until(lambda: rig.figure("worker_queue_length", exchange="v") == 3)
        gate.open()
        first.cancel()
        assert values(await asyncio.wait_for(second, 5)) == [4]


async def test_times_of_tasks_are_told() -> None:
    """Waiting counts from the batch's arrival, and the task's own time apart from it."""
    clock = HandClock()

    async def work(task: Task) -> int:
        await clock.sleep(task.number)
        return task.number

    async with pool_of(work, size=1, clock=clock) as rig:
        await rig.pool.run(tasks_of(3, 4))
        assert rig.figure("task_wait_seconds_sum", priority="scan") == 3
        assert rig.figure("task_duration_seconds_sum", task="number") == 7


async def test_pool_grows_while_it_works() -> None:
    """New workers take what waits at once."""
    gate = Gate()
    async with pool_of(gate, size=1, capacity=8) as rig:
        batch = asyncio.create_task(rig.pool.run(tasks_of(*range(8))))
        await until(lambda: gate.running.get("v") == 1)
        assert rig.pool.resize(6) == 1
        await until(lambda: gate.running["v"] == 6)
        assert rig.figure("workers") == 6
        gate.open()
        assert values(await batch) == [*range(8)]


async def test_pool_shrinks_without_interrupting_what_runs() -> None:
    """Running tasks end by themselves, waiting ones are kept, fewer run from then on."""
    gate = Gate()
    async with pool_of(gate, size=4, capacity=20) as rig:
        batch = asyncio.create_task(rig.pool.run(tasks_of(*range(20))))
        await until(lambda: gate.running.get("v") == 4)
        assert rig.pool.resize(1) == 4
        gate.most.clear()
        gate.open()
        assert values(await batch) == [*range(20)]
        assert len(gate.stopped) == len(gate.started) == 20
        await until(lambda: len(rig.pool._workers) == 1)
        # While four ran on, at the first new starts three were still leaving.
        gate.most.clear()
        await rig.pool.run(tasks_of(*range(5)))
        assert gate.most == {"v": 1}


async def test_no_task_goes_with_a_worker_that_leaves() -> None:
    """Where a venue's bound lets more run than there are workers, those that leave take nothing."""
    gate = Gate()
    async with pool_of(gate, size=4, capacity=60, bounds={"v": 9}) as rig:
        batch = asyncio.create_task(rig.pool.run(tasks_of(*range(20))))
        await until(lambda: gate.running.get("v") == 4)
        rig.pool.resize(1)
        gate.open()
        assert values(await asyncio.wait_for(batch, 5)) == [*range(20)]
        assert rig.figure("tasks_running", exchange="v") == 0


async def test_idle_workers_leave_at_once_and_come_back() -> None:
    """An idle pool shrinks to one and grows to many; all of them work."""
    gate = Gate(closed=set())
    async with pool_of(gate, size=50, capacity=100) as rig:
        await rig.pool.run(tasks_of(*range(100)))
        rig.pool.resize(1)
        await until(lambda: len(rig.pool._workers) == 1)
        assert values(await rig.pool.run(tasks_of(1, 2, 3))) == [1, 2, 3]
        rig.pool.resize(20)
        gate.closed.add("v")
        gate.opened.clear()
        batch = asyncio.create_task(rig.pool.run(tasks_of(*range(30))))
        await until(lambda: gate.running["v"] == 20)
        gate.open()
        await batch


async def test_idle_workers_cost_nothing() -> None:
    """With 256 idle workers the event loop has no timer and nothing ready: it sleeps for good."""
    async with pool_of(double, size=256) as rig:
        await rig.pool.run(tasks_of(*range(300)))
        loop: Any = asyncio.get_running_loop()
        for _ in range(5):
            await asyncio.sleep(0)
        assert [timer for timer in loop._scheduled if not timer.cancelled()] == []
        assert list(loop._ready) == []
        assert len(rig.pool._workers) == 256


async def test_leaving_the_pool_ends_what_runs_and_tells_who_waits() -> None:
    """Shutdown lets a task clean up, fails its batch, and takes no more."""
    gate = Gate()
    async with pool_of(gate, size=1) as rig:
        batch = asyncio.create_task(rig.pool.run(tasks_of(1, 2)))
        await until(lambda: len(gate.started) == 1)
    assert gate.stopped == [Task(1)]
    assert rig.figure("workers_busy") == 0
    with pytest.raises(UnreachableError):
        await batch
    with pytest.raises(UnreachableError):
        await rig.pool.run(tasks_of(3))
    with pytest.raises(UnreachableError):
        rig.pool.resize(2)


async def test_task_of_an_unknown_venue_is_refused_before_anything_runs() -> None:
    """The caller hears of it; no worker does."""
    gate = Gate(closed=set())
    async with pool_of(gate) as rig:
        with pytest.raises(KeyError):
            await rig.pool.run([Task(1), Task(2, "nowhere")])
        assert values(await rig.pool.run(tasks_of(3))) == [3]
    assert gate.started == [Task(3)]
