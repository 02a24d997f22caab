"""Requests that are shared, and answers of nothing that are remembered."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from services.common.errors import FatalError, UnreachableError
from services.scanner import negative_results
from services.scanner.negative_results import NegativeResults
from services.scanner.single_flight import SingleFlight
from tests.support.hand_clock import HandClock


async def test_request_that_ends_slowly_leaves_its_successor_alone() -> None:
    """After all waiters of one request went, the next is joined by those who ask after it."""
    flights: SingleFlight[int] = SingleFlight()
    slow, gate, calls = asyncio.Event(), asyncio.Event(), 0

    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await slow.wait()
            raise
        return 0

    async def ask() -> int:
        nonlocal calls
        calls += 1
        await gate.wait()
        return 7

    async with asyncio.timeout(60):
        first = asyncio.create_task(flights.run("key", stubborn))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        second = asyncio.create_task(flights.run("key", ask))
        await asyncio.sleep(0)
        slow.set()
        for _ in range(3):
            await asyncio.sleep(0)
        third = asyncio.create_task(flights.run("key", ask))
        await asyncio.sleep(0)
        gate.set()
        assert (await second, await third, calls) == (7, 7, 1)


async def test_every_waiter_gets_the_error_and_the_next_asks_anew() -> None:
    """An error is not kept: it is told to those who wait, and forgotten."""
    flights: SingleFlight[int] = SingleFlight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def answer() -> int:
        return 3

    ends = await asyncio.gather(
        *(flights.run("key", fail) for _ in range(3)), return_exceptions=True
    )
    assert [type(end) for end in ends] == [ValueError] * 3
    assert await flights.run("key", answer) == 3


async def test_request_cancelled_from_within_is_an_error_of_its_own() -> None:
    """Who waits is not told that somebody cancelled him; who was cancelled is."""
    flights: SingleFlight[int] = SingleFlight()

    async def give_up() -> int:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    with pytest.raises(UnreachableError):
        await flights.run("key", give_up)

    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    waiting = asyncio.create_task(flights.run("key", hang))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_error_that_comes_when_all_have_gone_is_nobodys() -> None:
    """A request that fails while it is cancelled leaves no complaint behind."""
    flights: SingleFlight[int] = SingleFlight()

    async def fail_late() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("late") from None
        return 0

    waiting = asyncio.create_task(flights.run("key", fail_late))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    for _ in range(3):
        await asyncio.sleep(0)
    assert waiting.cancelled()


def test_nothing_is_believed_for_a_while_that_differs_by_key() -> None:
    """Times are drawn within a quarter of the setting, and what came after all is asked again."""
    clock = HandClock()
    draws = iter([0.0, 0.5, 1.0])
    negative = NegativeResults(100.0, clock, lambda: next(draws))
    for key in "abc":
        negative.remember(key)
    assert [negative.holds(key) for key in "abcd"] == [True, True, True, False]
    clock.instant += timedelta(seconds=80)
    assert [negative.holds(key) for key in "abc"] == [False, True, True]
    clock.instant += timedelta(seconds=30)
    assert [negative.holds(key) for key in "abc"] == [False, False, True]
    clock.instant += timedelta(seconds=20)
    assert not negative.holds("c")


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_request_that_would_end_the_process_ends_itself_only(
    kind: type[BaseException],
) -> None:
    """Every waiter is told; the event loop goes on, and the key can be asked anew."""
    flights: SingleFlight[int] = SingleFlight()

    async def leave() -> int:
        raise kind

    async def answer() -> int:
        return 3

    ends = await asyncio.gather(
        *(flights.run("key", leave) for _ in range(2)), return_exceptions=True
    )
    assert [type(end) for end in ends] == [FatalError] * 2
    assert await flights.run("key", answer) == 3


def test_what_is_remembered_is_bounded_and_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full memory takes nothing more until something in it is old."""
    monkeypatch.setattr(negative_results, "_MAX_KEYS", 2)
    clock = HandClock()
    negative = NegativeResults(100.0, clock, lambda: 0.5)
    for key in "abc":
        negative.remember(key)
    assert [negative.holds(key) for key in "abc"] == [True, True, False]
    clock.instant += timedelta(seconds=101)
    negative.remember("c")
    assert [negative.holds(key) for key in "abc"] == [False, False, True]
