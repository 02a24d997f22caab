"""The hub: one source per key, snapshots, resumes, bounded readers, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from services.common.errors import (
    NotFoundError,
    OpensqtError,
    RetryableError,
    UnreachableError,
)
from services.connector.stream_hub import HubOptions, StreamHub


class FakeClock:
    """A clock whose sleeps pass at once and are noted."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.time = 0.0

    def monotonic(self) -> float:
        """Return the time a test has set."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Note the wait and give way once."""
        self.slept.append(seconds)
        await asyncio.sleep(0)


class FakeSource:
    """A source fed by hand: batches of rows, or an exception that breaks it."""

    def __init__(self) -> None:
        self.feed: asyncio.Queue[Sequence[str] | Exception] = asyncio.Queue()
        self.state: list[str] = ["state"]
        self.snapshot_errors: list[Exception] = []
        self.snapshots = 0
        self.resets = 0

    async def receive(self) -> Sequence[str]:
        """Return the next batch or raise the next exception."""
        item = await self.feed.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def snapshot(self) -> Sequence[str]:
        """Return the state."""
        self.snapshots += 1
        if self.snapshot_errors:
            raise self.snapshot_errors.pop(0)
        return list(self.state)

    async def reset(self) -> None:
        """Count."""
        self.resets += 1


class Rig:
    """A hub over fake sources."""

    def __init__(self, *, by_first_letter: bool = False, **options: float) -> None:
        self.clock = FakeClock()
        self.sources: list[FakeSource] = []
        key = (lambda row: row[0]) if by_first_letter else None
        self.hub: StreamHub[str, str] = StreamHub(
            "test",
            lambda _: self._make(),
            self.clock,  # type: ignore[arg-type]  # the hub needs no wall time
            HubOptions(**options),  # type: ignore[arg-type]  # ints and floats as named
            key=key,
            jitter=lambda: 1.0,
        )

    def _make(self) -> FakeSource:
        self.sources.append(FakeSource())
        return self.sources[-1]


async def take(rows: AsyncIterator[str], count: int) -> list[str]:
    """Return the next `count` rows; fail when they do not come."""
    async with asyncio.timeout(60):
        return [await anext(rows) for _ in range(count)]


async def settle(turns: int) -> None:
    """Let everything that can run, run."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_a_subscriber_gets_the_snapshot_first_and_then_the_changes() -> None:
    """Snapshot, then changes in order."""
    rig = Rig()
    async with rig.hub.subscribe("k") as rows:
        assert await take(rows, 1) == ["state"]
        rig.sources[0].feed.put_nowait(["a", "b"])
        assert await take(rows, 2) == ["a", "b"]


async def test_subscribers_of_one_key_share_one_source_and_get_every_change() -> None:
    """One upstream subscription serves all; a later one has its own snapshot."""
    rig = Rig()
    async with rig.hub.subscribe("k") as first:
        await take(first, 1)
        async with rig.hub.subscribe("k") as second:
            assert await take(second, 1) == ["state"]
            rig.sources[0].feed.put_nowait(["a"])
            assert await take(first, 1) == ["a"]
            assert await take(second, 1) == ["a"]
    assert len(rig.sources) == 1


async def test_other_keys_have_sources_of_their_own() -> None:
    """A change of one key is not seen under another."""
    rig = Rig()
    async with rig.hub.subscribe("k") as one, rig.hub.subscribe("l") as other:
        await take(one, 1)
        await take(other, 1)
        rig.sources[1].feed.put_nowait(["l1"])
        assert await take(other, 1) == ["l1"]
        assert len(rig.sources) == 2


async def test_a_drop_is_followed_by_a_fresh_snapshot() -> None:
    """What happened during the gap is in the snapshot after the resume."""
    rig = Rig()
    async with rig.hub.subscribe("k") as rows:
        await take(rows, 1)
        rig.sources[0].state = ["after the gap"]
        rig.sources[0].feed.put_nowait(UnreachableError("cut"))
        assert await take(rows, 1) == ["after the gap"]
        assert rig.hub.stats.resumes == 1
        assert rig.sources[0].resets == 1


async def test_a_change_that_comes_while_the_snapshot_is_read_follows_it() -> None:
    """The subscription stands before the snapshot is read: nothing falls between."""
    rig = Rig()
    async with rig.hub.subscribe("k") as rows:
        rig.sources[0].feed.put_nowait(["early"])
        assert await take(rows, 2) == ["state", "early"]


async def test_the_backoff_doubles_is_bounded_and_starts_anew_after_success() -> None:
    """Waits of failed attempts double up to the maximum."""
    rig = Rig(first_backoff_seconds=1.0, max_backoff_seconds=4.0)
    async with rig.hub.subscribe("k") as rows:
        source = rig.sources[0]
        source.snapshot_errors = [UnreachableError("down")] * 4
        assert await take(rows, 1) == ["state"]
        assert rig.clock.slept == [2.0, 4.0, 4.0, 4.0]
        source.feed.put_nowait(UnreachableError("cut"))
        await take(rows, 1)
        assert rig.clock.slept[-1] == 1.0


async def test_the_venues_retry_after_bounds_the_wait_from_below() -> None:
    """A 429 with Retry-After is obeyed."""
    rig = Rig()
    async with rig.hub.subscribe("k") as rows:
        rig.sources[0].snapshot_errors = [
            RetryableError("slow down", retry_after=timedelta(seconds=30))
        ]
        await take(rows, 1)
        assert rig.clock.slept == [30.0]


async def test_a_refusal_that_cannot_pass_ends_the_subscribers_and_the_next_starts_anew() -> None:
    """An unknown symbol is told, not retried for ever."""
    rig = Rig()
    async with rig.hub.subscribe("k") as rows:
        await take(rows, 1)
        rig.sources[0].feed.put_nowait(NotFoundError("no such symbol"))
        with pytest.raises(NotFoundError):
            await take(rows, 1)
    async with rig.hub.subscribe("k") as rows:
        assert await take(rows, 1) == ["state"]
    assert len(rig.sources) == 2


async def test_a_bug_in_a_source_ends_the_subscribers_with_that_error() -> None:
    """An error that is none of ours is not taken for a drop."""
    rig = Rig()
    async with rig.hub.subscribe("k") as rows:
        rig.sources[0].feed.put_nowait(KeyError("bug"))
        with pytest.raises(KeyError):
            await take(rows, 2)


async def test_a_slow_subscriber_is_ended_and_the_others_are_not() -> None:
    """The bound is on each reader; memory does not grow."""
    rig = Rig(queue_limit=10)
    async with rig.hub.subscribe("k") as slow, rig.hub.subscribe("k") as quick:
        await take(quick, 1)
        for number in range(15):
            rig.sources[0].feed.put_nowait([str(number)])
            assert await take(quick, 1) == [str(number)]
        with pytest.raises(RetryableError) as caught:
            await take(slow, 20)
        assert caught.value.reason == "SUBSCRIBER_TOO_SLOW"
        assert caught.value.code.value == "RESOURCE_EXHAUSTED"
        rig.sources[0].feed.put_nowait(["after"])
        assert await take(quick, 1) == ["after"]
        assert rig.hub.stats.slow_subscribers == 1


async def test_with_a_key_a_late_reader_gets_the_newest_row_of_each() -> None:
    """Prices are conflated: no reader is ended, none sees an old price."""
    rig = Rig(by_first_letter=True, queue_limit=5)
    async with rig.hub.subscribe("k") as rows:
        await take(rows, 1)
        for number in range(50):
            rig.sources[0].feed.put_nowait([f"a{number}", f"b{number}"])
        await settle(500)
        assert rig.sources[0].feed.empty()
        assert await take(rows, 2) == ["a49", "b49"]


async def test_the_last_subscriber_stops_the_source_and_leaves_no_task() -> None:
    """Nothing runs for nobody."""
    rig = Rig()
    before = asyncio.all_tasks()
    async with rig.hub.subscribe("k") as rows:
        await take(rows, 1)
        assert asyncio.all_tasks() != before
    assert asyncio.all_tasks() == before
    assert rig.hub.keys == ()
    assert rig.sources[0].resets == 1


async def test_closing_the_hub_ends_subscribers_and_tasks() -> None:
    """At shutdown readers learn that the stream is over."""
    rig = Rig()
    before = asyncio.all_tasks()
    async with rig.hub.subscribe("k") as rows:
        await take(rows, 1)
        await rig.hub.close()
        with pytest.raises(OpensqtError) as caught:
            await take(rows, 1)
        assert caught.value.reason == "STREAM_CLOSED"
    assert asyncio.all_tasks() == before


async def test_silence_beyond_the_bound_is_a_drop() -> None:
    """A connection that died without a word is made anew, with a snapshot."""
    rig = Rig(idle_seconds=0.05)
    async with rig.hub.subscribe("k") as rows:
        assert await take(rows, 2) == ["state", "state"]
        assert rig.hub.stats.drops == 1


async def test_silence_is_measured_from_the_last_rows_of_the_quietest_source() -> None:
    """Rows end it for their own source; with no source there is none to be silent."""
    rig = Rig()
    assert rig.hub.silence_seconds() == 0.0
    async with rig.hub.subscribe("k") as one, rig.hub.subscribe("l") as other:
        await take(one, 1)
        await take(other, 1)
        rig.clock.time = 7.0
        assert rig.hub.silence_seconds() == 7.0
        rig.sources[0].feed.put_nowait(["a"])
        await take(one, 1)
        assert rig.hub.silence_seconds() == 7.0
        rig.sources[1].feed.put_nowait(["b"])
        await take(other, 1)
        assert rig.hub.silence_seconds() == 0.0
    assert rig.hub.silence_seconds() == 0.0
