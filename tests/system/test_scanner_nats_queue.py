"""The shared queue on a real server: every end once, whatever becomes of workers and owners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import nats
import pytest

from services.common.errors import FatalError, RetryableError, UnreachableError
from services.scanner.nats_names import ResultPart
from services.scanner.spans import Span
from services.scanner.task_runner import TaskPriority
from services.scanner.tasks import ReadFees, ReadHistory, VenueTask
from services.scanner.venue_codec import HistoryRead, Read, Reading
from tests.support.nats_server import PROGRAM, NatsServer, nats_server
from tests.support.queue_peers import fees, peer
from tests.support.scanner_rig import until

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(PROGRAM is None, reason="needs nats-server (Debian package nats-server)"),
]


@pytest.fixture(name="server")
async def _server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Run a server for one test."""
    async with nats_server(tmp_path / "nats") as server:
        yield server


async def answer(task: VenueTask) -> Reading:
    """Tell a fee."""
    assert isinstance(task, ReadFees)
    return Read({task.symbol: Decimal("0.0004")})


async def hang(task: VenueTask) -> Reading:
    """Never answer."""
    await asyncio.Event().wait()
    return await answer(task)


async def none_left(server: NatsServer) -> bool:
    """Tell whether neither tasks nor results are stored."""
    async with asked(server) as streams:
        infos = [await streams.stream_info(f"opensqt_{kind}") for kind in ("tasks", "results")]
    return [info.state.messages for info in infos] == [0, 0]


@asynccontextmanager
async def asked(server: NatsServer) -> AsyncIterator[Any]:
    """Yield another client's view of the streams."""
    client = await nats.connect(server.address)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def test_a_batch_is_shared_and_comes_back_in_order(server: NatsServer) -> None:
    """Both peers work it; each task is done once, its end told once, in the order given."""

    async def slow(task: VenueTask) -> Reading:
        await asyncio.sleep(0.02)
        return await answer(task)

    tasks, told = fees(60), []
    async with peer(server.address, slow) as first, peer(server.address, slow) as second:
        ends = await first.runner.run(tasks, lambda end: told.append(end.task))
        assert [end.task for end in ends] == tasks
        assert all(end.error is None for end in ends)
        assert sorted(told, key=tasks.index) == tasks
        assert first.local.taken + second.local.taken == dict.fromkeys(tasks, 1)
        events = ("sent", "ended", "withdrawn", "unwanted")
        assert [first.count(event) for event in events] == [60, 60, 0, 0]
        # Nothing is left on the server: what was acknowledged comes to nobody again.
        await until(lambda: none_left(server), seconds=60)
        assert first.local.taken
        assert second.local.taken
        assert await first.runner.run([]) == []


async def test_tasks_go_only_where_the_venue_is(server: NatsServer) -> None:
    """A peer without a venue takes none of its tasks."""
    async with (
        peer(server.address, answer, venues=("perpy", "odd.name *>")) as first,
        peer(server.address, answer) as second,
    ):
        tasks = fees(5, "odd.name *>")
        ends = await first.runner.run(tasks)
        assert all(end.error is None for end in ends)
        assert not second.local.taken


async def test_large_readings_come_in_pieces(server: NatsServer) -> None:
    """A history larger than any message arrives whole."""
    times = [hash((1, number)) for number in range(200_000)]
    whole = HistoryRead({"A": (times, [float(time % 977) / 7 for time in times])})

    async def huge(_task: VenueTask) -> Reading:
        return whole

    async with peer(server.address, huge) as first:
        (end,) = await first.runner.run([ReadHistory("perpy", "", Span(0, 1))])
        assert end.value == whole


async def test_a_refusal_for_now_goes_to_the_queue_again(server: NatsServer) -> None:
    """A rate limit is waited for by the queue; past max_deliver the owner hears of it."""
    refusals = 2

    async def limited(task: VenueTask) -> Reading:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise RetryableError("slow down", retry_after=timedelta(milliseconds=50))
        return await answer(task)

    async with peer(server.address, limited, max_deliver=3) as first:
        (end,) = await first.runner.run(fees(1))
        assert end.error is None
        assert first.count("returned") == 2
        refusals = 100
        (end,) = await first.runner.run(fees(1))
        assert isinstance(end.error, RetryableError)
        assert end.error.retry_after == timedelta(milliseconds=50)


async def test_a_worker_that_stops_hands_its_tasks_back(server: NatsServer) -> None:
    """Another peer has them at once, without waiting for the ack's time."""
    async with peer(server.address, answer, venues=("other",), ack_wait_seconds=60.0) as owner:
        async with peer(server.address, hang, ack_wait_seconds=60.0) as second:
            batch = asyncio.create_task(owner.runner.run(fees(4)))
            await until(lambda: second.local.taken.total() == 2)
        async with peer(server.address, answer, ack_wait_seconds=60.0):
            ends = await batch
            assert all(end.error is None for end in ends)


async def test_a_task_no_worker_survives_is_told_to_its_owner(server: NatsServer) -> None:
    """After max_deliver workers took it, it ends with TASK_POISONED; the others are done."""

    class Died(BaseException):
        """What nobody catches."""

    async def deadly(task: VenueTask) -> Reading:
        if task == fees(1)[0]:
            raise Died
        return await answer(task)

    async with peer(server.address, deadly, max_deliver=2) as first:
        bad, *good = await first.runner.run(fees(5))
        assert isinstance(bad.error, FatalError)
        assert bad.error.reason == "TASK_POISONED"
        assert all(end.error is None for end in good)
        assert first.local.taken[fees(1)[0]] == 2


async def test_long_tasks_are_kept(server: NatsServer) -> None:
    """A task longer than ack_wait stays with its worker, who says that it goes on."""

    async def long(task: VenueTask) -> Reading:
        await asyncio.sleep(1.5)
        return await answer(task)

    async with peer(server.address, long) as first, peer(server.address, long) as second:
        ends = await first.runner.run(fees(3))
        assert all(end.error is None for end in ends)
        assert (first.local.taken + second.local.taken).total() == 3


async def test_a_cancelled_batch_is_dropped_everywhere(server: NatsServer) -> None:
    """What runs is interrupted, what waits is purged; the next batch is worked."""
    async with peer(server.address, hang) as first, peer(server.address, hang) as second:
        batch = asyncio.create_task(first.runner.run(fees(20)))
        await until(lambda: (first.local.taken + second.local.taken).total() == 4)
        batch.cancel()
        await asyncio.wait({batch})
        await until(lambda: first.local.cancelled_count + second.local.cancelled_count == 4)
        first.local.handle = second.local.handle = answer
        ends = await first.runner.run(fees(10))
        assert all(end.error is None for end in ends)
        assert (first.local.taken + second.local.taken).total() == 14


async def test_a_batch_ends_in_time(server: NatsServer) -> None:
    """What is not done in time ends with TimeoutError; what was done keeps its end."""
    tasks = fees(3)

    async def one(task: VenueTask) -> Reading:
        return await (answer if task == tasks[0] else hang)(task)

    async with peer(server.address, one) as first:
        ends = await first.runner.run(tasks, timeout_seconds=2)
        assert ends[0].error is None
        assert [type(end.error) for end in ends[1:]] == [TimeoutError, TimeoutError]
        await until(lambda: first.local.cancelled_count == 2)


async def test_urgent_tasks_stay_here(server: NatsServer) -> None:
    """What keeps opportunities fresh does not wait behind a scan of all machines."""
    async with peer(server.address, answer) as first:
        await first.runner.run(fees(2), priority=TaskPriority.REFRESH)
        assert first.local.priorities == [TaskPriority.REFRESH]
        assert first.count("sent") == 0


async def test_a_lost_server_ends_scans_by_name(server: NatsServer) -> None:
    """Away for longer than an outage may be, tasks end naming the server; later ones work."""
    async with peer(server.address, answer, outage_seconds=0.5) as first:
        first.local.handle = hang
        batch = asyncio.create_task(first.runner.run(fees(300)))
        await until(lambda: first.local.taken.total() == 2)
        await server.kill()
        ends = await batch
        assert {type(end.error) for end in ends} == {UnreachableError}
        assert server.address in str(ends[0].error)
        (late,) = await first.runner.run(fees(1))
        assert isinstance(late.error, UnreachableError)
        first.local.handle = answer
        await server.start()
        await until(
            lambda: (
                first.metrics.registry.get_sample_value("opensqt_scanner_queue_connected") == 1.0
            )
        )
        ends = await first.runner.run(fees(20))
        assert all(end.error is None for end in ends)


async def test_a_server_that_forgot_everything_gets_it_again(
    server: NatsServer, tmp_path: Path
) -> None:
    """An empty disk after a restart: streams are made anew and tasks are put out again."""

    async def slow(task: VenueTask) -> Reading:
        await asyncio.sleep(0.05)
        return await answer(task)

    async with peer(server.address, slow) as first, peer(server.address, slow) as second:
        batch = asyncio.create_task(first.runner.run(fees(60)))
        await until(lambda: (first.local.taken + second.local.taken).total() > 10)
        await server.kill()
        server.folder = tmp_path / "empty"
        await server.start()
        ends = await batch
        assert all(end.error is None for end in ends)
        assert [end.task for end in ends] == fees(60)


async def test_what_nobody_here_knows_harms_nobody(server: NatsServer) -> None:
    """An end of no task of ours ends none; a task of another version waits for its worker."""
    async with peer(server.address, hang) as first, asked(server) as streams:
        batch = asyncio.create_task(first.runner.run(fees(1)))
        await until(lambda: first.local.taken.total() == 1)
        # A half of each of two runs of our own task, which make no whole, then another's end.
        task = (await streams.get_last_msg("opensqt_tasks", "opensqt.tasks.perpy.>")).subject
        key = ".".join(task.split(".")[-2:])
        parts = [ResultPart(key, f"{key}.run{part}", part, 2, is_error=True) for part in (0, 1)]
        parts.append(ResultPart("elsewhen.0", "elsewhen.0.run", 0, 1, is_error=True))
        for part in parts:
            subject = f"opensqt.results.{first.owner}"
            await streams.publish(subject, b"", headers=part.headers())
        await until(lambda: first.count("unwanted") == 1)
        assert not batch.done()
        await streams.publish("opensqt.tasks.perpy.somebody.batch.0", b'{"version": 2}')
        await until(lambda: first.count("returned") == 1)
        info = await streams.stream_info("opensqt_tasks")
        assert info.state.messages == 2
        batch.cancel()
        await asyncio.wait({batch})


async def test_few_tasks_are_out_and_the_urgent_go_first(server: NatsServer) -> None:
    """What nobody waits for yet stays here, behind a scan that began later."""
    order: list[VenueTask] = []
    opened = asyncio.Event()

    async def gated(task: VenueTask) -> Reading:
        await opened.wait()
        order.append(task)
        return await answer(task)

    ahead, scan = fees(8), [ReadFees("perpy", f"S{number}") for number in range(3)]
    async with peer(server.address, gated, max_ack_pending=2) as first:
        early = asyncio.create_task(first.runner.run(ahead, priority=TaskPriority.AHEAD))
        await until(lambda: first.count("sent") == 2)
        late = asyncio.create_task(first.runner.run(scan))
        await until(lambda: first.local.taken.total() == 2)
        assert first.count("sent") == 2
        opened.set()
        await early
        await late
        # Two were out before the scan came.
        assert set(order[2:5]) == set(scan)


async def test_idle_workers_hear_that_the_server_is_back(server: NatsServer) -> None:
    """A server that restarts knows of no wait; a task after it is worked without delay."""
    async with peer(server.address, answer) as first:
        await server.kill()
        await until(
            lambda: (
                first.metrics.registry.get_sample_value("opensqt_scanner_queue_connected") == 0.0
            )
        )
        await server.start()
        (end,) = await first.runner.run(fees(1), timeout_seconds=10)
        assert end.error is None


async def test_no_server_is_a_clear_error() -> None:
    """Whoever starts without one is told where it was looked for."""
    with pytest.raises(UnreachableError, match=r"nats://127\.0\.0\.1:1: ") as caught:
        async with peer("nats://127.0.0.1:1", answer):
            pytest.fail("there is no server")
    assert caught.value.reason == "QUEUE_UNREACHABLE"
