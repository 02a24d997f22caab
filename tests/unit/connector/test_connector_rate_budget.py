"""Rate budget: allowances, shares, bans, deadlines, corrections by the venue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import RetryableError
from services.connector.profile import Allowance, EndpointClass, Priority
from services.connector.rate_budget import CALL_DEADLINE, RateBudget

WEIGHT, ORDER = EndpointClass.WEIGHT, EndpointClass.ORDER
HISTORY = EndpointClass.FUNDING_HISTORY


class HandClock:
    """A clock that moves when somebody sleeps on it."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> datetime:
        """Return the instant that belongs to the seconds."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.seconds += seconds
        await asyncio.sleep(0)


def budget(clock: HandClock, waits: list[float] | None = None) -> RateBudget:
    """Return a budget of 100 weight and 10 orders a minute, 5 history calls in five minutes."""
    return RateBudget(
        {
            WEIGHT: (Allowance(100, 60.0, "x-mbx-used-weight-1m"),),
            ORDER: (Allowance(10, 60.0),),
            HISTORY: (Allowance(5, 300.0),),
        },
        clock,
        on_wait=None if waits is None else lambda _name, seconds: waits.append(seconds),
    )


async def spend(
    held: RateBudget,
    units: int,
    priority: Priority = Priority.DATA,
    name: EndpointClass = WEIGHT,
) -> None:
    """Take units and do nothing with them."""
    async with held.take(name, units, priority):
        pass


async def test_data_leaves_a_share_to_orders_and_exits() -> None:
    """At 80 % data waits, at 90 % orders wait, exits may use all of it."""
    held = budget(HandClock())
    await spend(held, 80)
    assert held.wait_seconds(WEIGHT, 1, Priority.DATA) > 0
    assert held.wait_seconds(WEIGHT, 10, Priority.ORDER) == 0
    await spend(held, 10, Priority.ORDER)
    assert held.wait_seconds(WEIGHT, 1, Priority.ORDER) > 0
    await spend(held, 10, Priority.EXIT)
    assert held.wait_seconds(WEIGHT, 1, Priority.EXIT) > 0


async def test_a_fifth_of_the_order_allowance_is_for_exits() -> None:
    """Entries stop at eight of ten orders; exits go on."""
    held = budget(HandClock())
    for _ in range(8):
        await spend(held, 1, Priority.ORDER, ORDER)
    assert held.wait_seconds(ORDER, 1, Priority.ORDER) > 0
    assert held.wait_seconds(ORDER, 1, Priority.EXIT) == 0


async def test_units_come_back_when_the_window_has_passed() -> None:
    """A wait lasts until enough of what was spent is out of the window, and is counted."""
    clock, waits = HandClock(), list[float]()
    held = budget(clock, waits)
    await spend(held, 50)
    clock.seconds += 20
    await spend(held, 30)
    await spend(held, 10)
    assert clock.seconds == pytest.approx(1_060.0)
    assert waits == [pytest.approx(40.0)]


async def test_wait_longer_than_the_callers_deadline_fails_at_once() -> None:
    """A caller with two seconds left is told how long it would take, without waiting."""
    clock = HandClock()
    held = budget(clock)
    await spend(held, 80)
    CALL_DEADLINE.set(clock.monotonic() + 2)
    with pytest.raises(RetryableError) as limited:
        await spend(held, 1)
    assert limited.value.reason == "VENUE_RATE_LIMITED"
    assert limited.value.retry_after == timedelta(seconds=60)
    assert clock.seconds == 1_000.0


async def test_funding_history_has_an_allowance_of_its_own() -> None:
    """Using up the history's allowance leaves weight alone, and the other way round."""
    held = budget(HandClock())
    for _ in range(4):
        await spend(held, 1, name=HISTORY)
    assert held.wait_seconds(HISTORY, 1, Priority.DATA) == pytest.approx(300.0)
    assert held.wait_seconds(WEIGHT, 1, Priority.DATA) == 0


async def test_venues_own_count_corrects_ours_upwards_only() -> None:
    """Weight that others of the same address used counts; a lower figure changes nothing."""
    held = budget(HandClock())
    held.observe_headers({"X-MBX-USED-WEIGHT-1M": "79"})
    assert held.wait_seconds(WEIGHT, 1, Priority.DATA) == 0
    held.observe_headers({"x-mbx-used-weight-1m": "80"})
    assert held.wait_seconds(WEIGHT, 1, Priority.DATA) > 0
    held.observe_headers({"x-mbx-used-weight-1m": "1"})
    assert held.wait_seconds(WEIGHT, 1, Priority.DATA) > 0
    held.observe_headers({"x-mbx-used-weight-1m": "garbage"})


async def test_429_stops_its_class_until_retry_after() -> None:
    """Nothing of the refused class is sent before the venue's time; other classes go on."""
    clock = HandClock()
    held = budget(clock)
    held.observe_refusal(429, timedelta(seconds=7), WEIGHT)
    assert held.wait_seconds(WEIGHT, 1, Priority.EXIT) == pytest.approx(7.0)
    assert held.wait_seconds(ORDER, 1, Priority.ORDER) == 0
    clock.seconds += 7
    assert held.wait_seconds(WEIGHT, 1, Priority.EXIT) == 0


async def test_418_stops_everything_until_the_ban_ends() -> None:
    """A ban is for the address: no class is sent, exits included."""
    held = budget(HandClock())
    held.observe_refusal(418, timedelta(seconds=90), WEIGHT)
    for name in (WEIGHT, ORDER, HISTORY):
        assert held.wait_seconds(name, 1, Priority.EXIT) == pytest.approx(90.0)


async def test_request_heavier_than_its_share_passes_an_empty_window() -> None:
    """A single call above the share of its priority is not stuck for ever."""
    held = budget(HandClock())
    assert held.wait_seconds(WEIGHT, 95, Priority.DATA) == 0


async def test_nothing_is_sent_for_a_caller_whose_deadline_has_passed() -> None:
    """Time spent before the queue counts too: the allowance is free, the caller is gone."""
    clock = HandClock()
    held = budget(clock)
    CALL_DEADLINE.set(clock.monotonic() + 2)
    clock.seconds += 3
    with pytest.raises(RetryableError):
        await spend(held, 1)
    assert held.wait_seconds(WEIGHT, 80, Priority.DATA) == 0
