"""The virtual-time loop: asyncio's own code runs on it, and a killed process says nothing more."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from contextvars import Context, ContextVar

import pytest

from simulation.loop import (
    DeadlockError,
    OutsideError,
    Process,
    TimeLimitError,
    context_of,
    run_simulated,
)
from simulation.loop_time import SimClock, own_time


def test_time_jumps_to_the_next_timer() -> None:
    """An hour of sleeps in parallel and in turn passes at once, and to the second."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for minutes in (10, 60, 30):
                group.create_task(asyncio.sleep(minutes * 60))
        await asyncio.sleep(0.5)
        return loop.time() - began

    assert run_simulated(main()) == 3600.5


def test_timeouts_queues_and_events_are_asyncios_own() -> None:
    """What waits is woken, and what waits too long is told so."""

    async def main() -> list[object]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        asyncio.get_running_loop().call_later(5, queue.put_nowait, 3)
        found: list[object] = [await queue.get()]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await asyncio.Event().wait()
        return [*found, await asyncio.to_thread(lambda: "inline")]

    assert run_simulated(main()) == [3, "inline"]


def test_equal_instants_keep_the_order_of_asyncio() -> None:
    """Callbacks made ready in one turn run in the order they were made ready."""

    async def main() -> list[int]:
        seen: list[int] = []
        loop = asyncio.get_running_loop()
        for number in range(20):
            loop.call_soon(seen.append, number)
        await asyncio.sleep(0)
        return seen

    assert run_simulated(main()) == list(range(20))


def test_waiting_for_nothing_is_a_deadlock() -> None:
    """A wait that nothing can end is an error, not a standstill."""
    with pytest.raises(DeadlockError):
        run_simulated(asyncio.Event().wait())


def test_a_run_without_end_is_given_up() -> None:
    """Virtual time is bounded."""

    async def tick() -> None:
        for _ in range(60):
            await asyncio.sleep(1)

    with pytest.raises(TimeLimitError):
        run_simulated(tick(), seconds=30)


def test_a_socket_cannot_be_had() -> None:
    """Code that would talk to the outside fails at once."""

    async def main() -> None:
        with pytest.raises(OutsideError):
            await asyncio.open_connection("127.0.0.1", 9)
        loop = asyncio.get_running_loop()
        with socket.socket() as kept:
            with pytest.raises(OutsideError):
                await loop.sock_connect(kept, ("127.0.0.1", 9))
            with pytest.raises(OutsideError):
                loop.add_reader(kept, print)

    run_simulated(main())


def test_a_killed_process_runs_no_finally() -> None:
    """After its death neither `finally` nor `except` of a task runs, whatever it waited for."""

    async def main() -> list[str]:
        seen: list[str] = []

        async def work() -> None:
            try:
                seen.append("began")
                await asyncio.sleep(5)
                seen.append("went on")
            finally:
                seen.append("ended")

        process = Process("one")
        task = asyncio.get_running_loop().create_task(work(), context=context_of(process))
        await asyncio.sleep(1)
        process.die()
        await asyncio.sleep(60)
        assert not task.done()
        left = list(seen)
        process.bury()
        return left

    assert run_simulated(main()) == ["began"]


def test_a_task_in_an_empty_context_is_of_the_process_that_made_it() -> None:
    """It forgets what was set, not whose it is: it dies with the process, and is buried with it."""

    async def main() -> list[str]:
        seen: list[str] = []
        ended: list[str] = []
        asked = ContextVar("asked", default="nothing")

        async def work() -> None:
            try:
                while True:
                    seen.append(asked.get())
                    await asyncio.sleep(2)
            finally:
                ended.append("ended")

        async def begin() -> asyncio.Task[None]:
            asked.set("by the first")
            return asyncio.create_task(work(), context=Context())

        process = Process("one")
        loop = asyncio.get_running_loop()
        task = await loop.create_task(begin(), context=context_of(process))
        await asyncio.sleep(3)
        process.die()
        await asyncio.sleep(60)
        assert not ended
        process.bury()
        assert ended == ["ended"]
        del task
        return seen

    assert run_simulated(main()) == ["nothing", "nothing"]


def test_a_process_dies_at_the_step_it_is_told() -> None:
    """With `dies_at` the step of that number does not happen."""

    async def main(step: int) -> int:
        seen: list[int] = []

        async def work() -> None:
            for number in range(10):
                seen.append(number)
                await asyncio.sleep(1)

        process = Process("one", dies_at=step)
        task = asyncio.get_running_loop().create_task(work(), context=context_of(process))
        await asyncio.sleep(30)
        assert task.done() == (not process.is_dead)
        process.bury()
        return len(seen)

    counts = [run_simulated(main(step)) for step in range(1, 8)]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert run_simulated(main(1_000)) == 10


def test_everybodys_clock_is_the_loops() -> None:
    """While a run lasts, the interpreter's clocks and chance follow loop and seed; then no more."""

    async def main() -> tuple[int, float, float]:
        clock = SimClock(asyncio.get_running_loop())
        with own_time(clock, random.Random(1)):
            before, wall = time.monotonic(), time.time_ns()
            await asyncio.sleep(2.5)
            return time.time_ns() - wall, time.monotonic() - before, random.random()

    first, second = run_simulated(main()), run_simulated(main())
    assert first == second
    assert first[:2] == (2_500_000_000, 2.5)
    assert abs(time.time() - time.time_ns() / 1e9) < 1
