"""Watch streams: snapshot, changes, resume, bounds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from services.common.errors import (
    InvalidFieldError,
    RejectedError,
    RetryableError,
    UnreachableError,
)
from services.common.watch_hub import CaughtUp, Heartbeat, Removed, Upsert, WatchHub
from tests.support.hand_clock import HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Event = Upsert[int] | Removed | CaughtUp | Heartbeat


def _hub(*, conflate: bool = False, capacity: int = 8, backlog: int = 16) -> WatchHub[int]:
    return WatchHub(
        "epoch", conflate=conflate, capacity=capacity, backlog=backlog, heartbeat_seconds=60
    )


def _all(_: int) -> bool:
    return True


async def _take(stream: AsyncIterator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(60):
        return [await anext(stream) for _ in range(count)]


def _pairs(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.key, event.resource) for event in events if isinstance(event, Upsert)]


async def test_a_new_watcher_gets_the_snapshot_then_the_marker_then_changes() -> None:
    """The marker separates what stood from what came."""
    hub = _hub()
    hub.upsert("a", 1)
    hub.upsert("b", 2)
    stream = hub.watch(b"", _all)
    first = await _take(stream, 3)
    hub.upsert("a", 3)
    hub.remove("b")
    second = await _take(stream, 2)
    assert _pairs(first) == [("a", 1), ("b", 2)]
    assert isinstance(first[2], CaughtUp)
    assert first[2].count == 2
    assert _pairs(second) == [("a", 3)]
    assert isinstance(second[1], Removed)
    assert second[1].key == "b"


async def test_a_token_brings_exactly_what_came_after_it() -> None:
    """Nothing is lost and nothing before the token is sent again."""
    hub = _hub()
    hub.upsert("a", 1)
    stream = hub.watch(b"", _all)
    token = (await _take(stream, 2))[1].token
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator behind the protocol
    hub.upsert("b", 2)
    hub.remove("a")
    events = await _take(hub.watch(token, _all), 3)
    assert _pairs(events) == [("b", 2)]
    assert isinstance(events[1], Removed)
    assert isinstance(events[2], CaughtUp)


@pytest.mark.parametrize("place", range(4))
async def test_resuming_after_any_event_misses_no_final_state(place: int) -> None:
    """Wherever a conflating watcher broke off, its token leads to the last state of every key."""
    hub = _hub(conflate=True)
    hub.upsert("a", 0)
    stream = hub.watch(b"", _all)
    events = await _take(stream, 2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        hub.upsert(key, value)
    events += await _take(stream, 3)
    seen: dict[str, int] = dict(_pairs(events[: place + 1]))
    token = events[place].token
    resumed = hub.watch(token, _all)
    async with asyncio.timeout(60):
        async for event in resumed:
            if isinstance(event, CaughtUp):
                break
            assert isinstance(event, Upsert)
            seen[event.key] = event.resource
    assert seen == {"a": 3, "b": 2, "c": 4}


async def test_a_conflating_watcher_that_lags_gets_only_the_last_state() -> None:
    """A thousand changes of one key cost a slow reader one event."""
    hub = _hub(conflate=True, capacity=2)
    stream = hub.watch(b"", _all)
    await _take(stream, 1)
    for value in range(1000):
        hub.upsert("a", value)
    hub.upsert("b", 7)
    assert _pairs(await _take(stream, 2)) == [("a", 999), ("b", 7)]


async def test_a_watcher_that_is_too_slow_is_ended_and_told() -> None:
    """Past the bound the stream ends instead of growing."""
    hub = _hub(capacity=3)
    stream = hub.watch(b"", _all)
    await _take(stream, 1)
    for value in range(4):
        hub.upsert("a", value)
    with pytest.raises(RetryableError) as caught:
        await _take(stream, 4)
    assert caught.value.reason == "SUBSCRIBER_TOO_SLOW"
    assert hub.subscriber_count == 0


@pytest.mark.parametrize("token", [b"other:1", b"other:4", b"epoch:99", b"epoch:0"])
async def test_an_old_or_foreign_token_is_refused(token: bytes) -> None:
    """The client must start over: what it missed is no longer held."""
    hub = _hub(backlog=2)
    for value in range(5):
        hub.upsert("a", value)
    with pytest.raises(RejectedError) as caught:
        await _take(hub.watch(token, _all), 1)
    assert caught.value.reason == "RESUME_TOKEN_EXPIRED"


@pytest.mark.parametrize(
    "token", [b"\xff\xfe", b"epoch", b"epoch:-1", b"epoch:x", b"epoch:" + b"9" * 5000]
)
async def test_garbage_in_a_token_names_the_field(token: bytes) -> None:
    """A token that was never ours is a bad argument, not an expired one."""
    with pytest.raises(InvalidFieldError) as caught:
        await _take(_hub().watch(token, _all), 1)
    assert caught.value.field == "resume_token"


async def test_a_resource_that_leaves_the_filter_is_removed_for_that_watcher() -> None:
    """Whoever was shown a resource hears when it no longer fits."""
    hub = _hub()
    hub.upsert("a", 10)
    hub.upsert("b", 1)
    stream = hub.watch(b"", lambda value: value >= 5)
    await _take(stream, 2)
    hub.upsert("a", 2)
    hub.upsert("b", 3)
    hub.upsert("c", 6)
    events = await _take(stream, 2)
    assert isinstance(events[0], Removed)
    assert events[0].key == "a"
    assert _pairs(events[1:]) == [("c", 6)]


@pytest.mark.parametrize("leave", [lambda hub: hub.remove("a"), lambda hub: hub.upsert("a", 2)])
async def test_a_resource_from_before_the_resume_is_removed_after_it(
    leave: Callable[[WatchHub[int]], None],
) -> None:
    """Whoever resumes holds what an earlier stream showed, and hears when it goes."""
    hub = _hub()
    hub.upsert("a", 10)
    hub.upsert("b", 1)
    stream = hub.watch(b"", lambda value: value >= 5)
    token = (await _take(stream, 2))[1].token
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator behind the protocol
    resumed = hub.watch(token, lambda value: value >= 5)
    assert isinstance((await _take(resumed, 1))[0], CaughtUp)
    leave(hub)
    event = (await _take(resumed, 1))[0]
    assert isinstance(event, Removed)
    assert event.key == "a"


async def test_idle_streams_beat_and_move_the_token() -> None:
    """A heartbeat's token resumes after changes the filter hid."""
    hub: WatchHub[int] = WatchHub("epoch", conflate=False, heartbeat_seconds=0.01)
    stream = hub.watch(b"", lambda value: value > 5)
    await _take(stream, 1)
    hub.upsert("a", 1)
    beat = (await _take(stream, 1))[0]
    assert isinstance(beat, Heartbeat)
    assert beat.token == b"epoch:1"


async def test_closing_the_hub_ends_every_stream() -> None:
    """On shutdown watchers are told to come back."""
    hub = _hub()
    stream = hub.watch(b"", _all)
    await _take(stream, 1)
    hub.close()
    with pytest.raises(UnreachableError):
        await _take(stream, 1)


async def test_closing_the_hub_wakes_those_that_wait() -> None:
    """Nobody waits for the next heartbeat to hear of it."""
    hub = _hub()
    stream = hub.watch(b"", _all)
    await _take(stream, 1)
    waiting = asyncio.create_task(_take(stream, 1))
    await asyncio.sleep(0)
    hub.close()
    with pytest.raises(UnreachableError):
        await waiting


async def test_subscribers_are_bounded() -> None:
    """One more than the bound is refused, and leaving makes room."""
    hub: WatchHub[int] = WatchHub("epoch", conflate=True, max_subscribers=1)
    stream = hub.watch(b"", _all)
    await _take(stream, 1)
    with pytest.raises(RetryableError):
        await _take(hub.watch(b"", _all), 1)
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator behind the protocol
    await _take(hub.watch(b"", _all), 1)


async def test_a_conflating_watcher_that_stays_behind_is_ended() -> None:
    """Conflation bounds what is kept for a slow reader, the lag bounds for how long."""
    clock = HandClock()
    hub: WatchHub[int] = WatchHub("epoch", conflate=True, max_lag_seconds=30, clock=clock)
    stream = hub.watch(b"", _all)
    await _take(stream, 1)
    for step in range(4):
        hub.upsert("a", step)
        hub.upsert("b", step)
        # One of two: it reads, but never all there is.
        await _take(stream, 1)
        clock.instant += timedelta(seconds=10)
    hub.upsert("a", 9)
    with pytest.raises(RetryableError) as ended:
        await _take(stream, 1)
    assert ended.value.reason == "SUBSCRIBER_TOO_SLOW"


async def test_a_conflating_watcher_that_catches_up_is_not_ended() -> None:
    """Lag counts from the last time there was nothing left to read."""
    clock = HandClock()
    hub: WatchHub[int] = WatchHub("epoch", conflate=True, max_lag_seconds=30, clock=clock)
    stream = hub.watch(b"", _all)
    await _take(stream, 1)
    waiting = asyncio.create_task(_take(stream, 1))
    for step in range(5):
        await asyncio.sleep(0)
        hub.upsert("a", step)
        assert _pairs(await waiting) == [("a", step)]
        clock.instant += timedelta(seconds=20)
        waiting = asyncio.create_task(_take(stream, 1))
    waiting.cancel()


async def test_what_came_and_went_unseen_leaves_nothing_behind() -> None:
    """A slow reader is told nothing of resources that came and went meanwhile."""
    hub = _hub(conflate=True, backlog=200)
    stream = hub.watch(b"", _all)
    await _take(stream, 1)
    hub.upsert("kept", 1)
    await _take(stream, 1)
    for index in range(50):
        hub.upsert(f"passing-{index}", index)
        hub.remove(f"passing-{index}")
    hub.upsert("kept", 2)
    assert _pairs(await _take(stream, 1)) == [("kept", 2)]


async def test_a_watcher_that_missed_a_removal_for_good_is_ended() -> None:
    """Once the log no longer tells what ended, going on would leave ghosts with the reader."""
    hub = _hub(conflate=True, backlog=4)
    hub.upsert("ghost", 1)
    stream = hub.watch(b"", _all)
    await _take(stream, 2)
    hub.remove("ghost")
    for index in range(20):
        hub.upsert(f"other-{index % 6}", index)
    with pytest.raises(RetryableError) as ended:
        await _take(stream, 1)
    assert ended.value.reason == "SUBSCRIBER_TOO_SLOW"


async def test_a_conflating_log_holds_one_change_of_each_key() -> None:
    """However long a watcher sleeps, few keys stay few changes, and its token holds."""
    hub = _hub(conflate=True, backlog=4)
    hub.upsert("a", -1)
    stream = hub.watch(b"", _all)
    token = (await _take(stream, 2))[1].token
    for step in range(500):
        hub.upsert("a", step)
        hub.upsert("b", step)
    assert dict(_pairs(await _take(stream, 2))) == {"a": 499, "b": 499}
    assert dict(_pairs(await _take(hub.watch(token, _all), 3))) == {"a": 499, "b": 499}


async def test_what_a_token_left_out_is_no_lag() -> None:
    """A watcher that comes back gets all there is after its token, however many it may lag."""
    hub = _hub(capacity=2, backlog=16)
    token = (await _take(hub.watch(b"", _all), 1))[0].token
    for step in range(16):
        hub.upsert("a", step)
    stream = hub.watch(token, _all)
    assert len(_pairs(await _take(stream, 17))) == 16
    for step in range(3):
        hub.upsert("a", step)
    with pytest.raises(RetryableError):
        await _take(stream, 1)
