"""WatchHedgedPositions over gRPC: snapshot, marker, changes, and going on after a break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import grpc.aio
import pytest

from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc
from services.common.call_errors import translated
from services.common.clock import SystemClock
from services.common.errors import (
    Code,
    InvalidFieldError,
    OpensqtError,
    RejectedError,
    RetryableError,
    UnreachableError,
)
from services.common.time_codec import from_timestamp
from services.engine.view_codec import position_to_proto
from services.engine.watching import PositionFeed
from tests.support.engine_api import served_engine
from tests.support.engine_views import CREATED, position_view

WAIT = 60.0
Response = engine_pb2.WatchHedgedPositionsResponse


class FixedClock(SystemClock):
    """A clock whose date stands still."""

    def now(self) -> datetime:
        """Return the one instant."""
        return CREATED


def _feed(epoch: str = "epoch", *, heartbeat_seconds: float = 60.0) -> PositionFeed:
    return PositionFeed(epoch, FixedClock(), heartbeat_seconds=heartbeat_seconds)


def publish(feed: PositionFeed, name: str, revision: int = 1) -> None:
    """Publish a position at a revision."""
    feed.position_changed(position_view(position_id=name, revision=revision))


class Watcher:
    """One stream; reads with a deadline."""

    def __init__(self, responses: AsyncIterator[Response]) -> None:
        self._responses = responses

    async def take(self, count: int) -> list[Response]:
        """Read some responses."""
        with translated():
            async with asyncio.timeout(WAIT):
                return [await anext(self._responses) for _ in range(count)]

    async def failure(self) -> OpensqtError:
        """Read on to the error that ends the stream."""
        with pytest.raises(OpensqtError) as caught:
            await self.take(10_000)
        return caught.value


@asynccontextmanager
async def watching(
    channel: grpc.aio.Channel, token: bytes = b"", *position_ids: str
) -> AsyncIterator[Watcher]:
    """Open a stream and leave it afterwards."""
    stub: Any = engine_pb2_grpc.EngineServiceStub(channel)
    call = stub.WatchHedgedPositions(
        engine_pb2.WatchHedgedPositionsRequest(resume_token=token, position_ids=position_ids)
    )
    try:
        yield Watcher(aiter(call))
    finally:
        call.cancel()


def seen(responses: list[Response]) -> list[tuple[str, int]]:
    """Return what was told, in order: positions with revision, and markers with count."""
    rows = []
    for response in responses:
        match response.WhichOneof("event"):
            case "upsert":
                rows.append((response.upsert.position_id, response.upsert.revision))
            case "caught_up":
                rows.append(("caught up", response.caught_up.resource_count))
            case other:
                rows.append((str(other), 0))
    return rows


async def test_a_watcher_gets_what_stands_then_the_marker_then_each_change() -> None:
    """Whole positions, none conflated."""
    feed = _feed()
    publish(feed, "a")
    publish(feed, "b")
    async with served_engine(feed=feed) as channel, watching(channel) as stream:
        first = await stream.take(3)
        publish(feed, "a", 2)
        publish(feed, "a", 3)
        publish(feed, "c")
        second = await stream.take(3)
    assert seen(first) == [("a", 1), ("b", 1), ("caught up", 2)]
    assert seen(second) == [("a", 2), ("a", 3), ("c", 1)]
    assert first[0].upsert == position_to_proto(position_view(position_id="a", revision=1))


async def test_an_engine_without_positions_is_caught_up_at_once() -> None:
    """An empty snapshot is complete too."""
    async with served_engine(feed=_feed()) as channel, watching(channel) as stream:
        assert seen(await stream.take(1)) == [("caught up", 0)]


async def test_a_watcher_goes_on_from_its_token() -> None:
    """What changed since comes, then the marker; what stood before does not come again."""
    feed = _feed()
    publish(feed, "a")
    publish(feed, "b")
    async with served_engine(feed=feed) as channel:
        async with watching(channel) as stream:
            token = (await stream.take(3))[-1].resume_token
            publish(feed, "a", 2)
            token_of_a = (await stream.take(1))[-1].resume_token
        publish(feed, "b", 2)
        async with watching(channel, token_of_a) as stream:
            assert seen(await stream.take(2)) == [("b", 2), ("caught up", 1)]
        async with watching(channel, token) as stream:
            assert seen(await stream.take(3)) == [("a", 2), ("b", 2), ("caught up", 2)]
            publish(feed, "b", 3)
            assert seen(await stream.take(1)) == [("b", 3)]


async def test_a_snapshot_cut_short_starts_over() -> None:
    """Its responses carry no token, so nothing of it can be missed."""
    feed = _feed()
    publish(feed, "a")
    publish(feed, "b")
    async with served_engine(feed=feed) as channel:
        async with watching(channel) as stream:
            token = (await stream.take(1))[0].resume_token
        async with watching(channel, token) as stream:
            assert seen(await stream.take(3)) == [("a", 1), ("b", 1), ("caught up", 2)]


async def test_a_watcher_of_some_positions_sees_only_those() -> None:
    """In the snapshot, in the changes and in a replay."""
    feed = _feed()
    for name in ("a", "b", "c"):
        publish(feed, name)
    async with served_engine(feed=feed) as channel:
        async with watching(channel, b"", "b", "new") as stream:
            first = await stream.take(2)
            publish(feed, "a", 2)
            publish(feed, "new")
            second = await stream.take(1)
        publish(feed, "c", 2)
        publish(feed, "b", 2)
        async with watching(channel, second[-1].resume_token, "b", "new") as stream:
            third = await stream.take(2)
    assert seen(first) == [("b", 1), ("caught up", 1)]
    assert seen(second) == [("new", 1)]
    assert ("b", 2) in seen(third)
    assert not {"a", "c"} & {name for name, _ in seen(third)}


async def test_a_quiet_stream_shows_that_the_engine_lives() -> None:
    """Heartbeats carry the engine's time and a token to go on from."""
    feed = _feed(heartbeat_seconds=0.02)
    publish(feed, "a")
    async with served_engine(feed=feed) as channel:
        async with watching(channel) as stream:
            beat = (await stream.take(4))[-1]
        publish(feed, "a", 2)
        async with watching(channel, beat.resume_token) as stream:
            assert seen(await stream.take(2)) == [("a", 2), ("caught up", 1)]
    assert beat.WhichOneof("event") == "heartbeat"
    assert from_timestamp(beat.heartbeat.server_time) == CREATED


async def test_a_token_of_another_start_is_expired() -> None:
    """The engine cannot know what that watcher has missed."""
    async with served_engine(feed=_feed("second")) as channel:
        for token in (b"first:0", b"second:1"):
            async with watching(channel, token) as stream:
                error = await stream.failure()
            assert isinstance(error, RejectedError)
            assert (error.code, error.reason) == (Code.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED")


@pytest.mark.parametrize(
    "token", [b"\xff\xfe", b"epoch:", b"epoch:-1", b"epoch:x", b":", b"epoch:" + b"9" * 5000]
)
async def test_a_token_of_nobody_is_refused(token: bytes) -> None:
    """It is the caller's field that is wrong, however long it is."""
    async with served_engine(feed=_feed()) as channel, watching(channel, token) as stream:
        error = await stream.failure()
    assert isinstance(error, InvalidFieldError)
    assert error.field == "resume_token"


async def test_a_watcher_that_does_not_keep_up_is_told_to_come_again() -> None:
    """Its queue is bounded; the token it has leads to all it missed."""
    feed = _feed()
    async with served_engine(feed=feed) as channel:
        async with watching(channel) as stream:
            token = (await stream.take(1))[0].resume_token
            for revision in range(1, 2_001):
                publish(feed, "a", revision)
            error = await stream.failure()
        assert isinstance(error, RetryableError)
        assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, "SUBSCRIBER_TOO_SLOW")
        async with watching(channel, token) as stream:
            missed = await stream.take(2_001)
    assert seen(missed)[-2:] == [("a", 2_000), ("caught up", 2_000)]


async def test_a_stopping_engine_ends_its_streams() -> None:
    """UNAVAILABLE: go on at the next one."""
    feed = _feed()
    async with served_engine(feed=feed) as channel, watching(channel) as stream:
        await stream.take(1)
        feed.close()
        assert isinstance(await stream.failure(), UnreachableError)


async def test_a_watcher_that_left_is_forgotten() -> None:
    """Its queue would fill for ever."""
    feed = _feed()
    async with served_engine(feed=feed) as channel:
        async with watching(channel) as stream:
            await stream.take(1)
            assert feed.watcher_count == 1
        async with asyncio.timeout(WAIT):
            while feed.watcher_count:  # noqa: ASYNC110 - the feed announces no departures
                await asyncio.sleep(0.01)
    assert feed.watcher_count == 0
