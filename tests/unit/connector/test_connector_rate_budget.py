"""Rate budget: allowances, shares, bans, deadlines, corrections by the venue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import RetryableError
from services.common.rate_window import Allowance
from services.connector.profile import EndpointClass, Priority
from services.connector.rate_budget import CALL_DEADLINE, RateBudget
from services.connector.rate_lanes import CALLS_AT_ONCE
from services.connector.rate_queue import current_pass

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


class ParkedClock(HandClock):
    """A clock whose sleepers wait for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.parked = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Move on once the test says so."""
        await self.parked.wait()
        await super().sleep(seconds)


class Figures:
    """Keeps what the budget tells."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.refused: list[str] = []
        self.pauses: list[tuple[str | None, datetime]] = []

    def count_wait(self, _name: str, seconds: float) -> None:
        """Keep a wait."""
        self.waits.append(seconds)

    def count_rate_refusal(self, name: str) -> None:
        """Keep a refusal."""
        self.refused.append(name)

    def show_pause(self, name: str | None, end: datetime) -> None:
        """Keep the end of a pause."""
        self.pauses.append((name, end))


def budget(clock: HandClock, figures: Figures | None = None) -> RateBudget:
    """Return a budget of 100 weight and 10 orders a minute, 5 history calls in five minutes."""
    return RateBudget(
        {
            WEIGHT: (Allowance(100, 60.0, "x-mbx-used-weight-1m"),),
            ORDER: (Allowance(10, 60.0),),
            HISTORY: (Allowance(5, 300.0),),
        },
        clock,
        observer=figures,
    )


async def spend(
    held: RateBudget,
    units: int,
    priority: Priority = Priority.DATA,
    name: str = WEIGHT,
) -> None:
    """Take units and do nothing with them."""
    async with held.take(name, units, priority):
        pass


@pytest.mark.parametrize(("name", "limit"), [(WEIGHT, 100), (ORDER, 10)])
async def test_a_fifth_is_for_exits_and_data_stop_before_orders(
    name: EndpointClass, limit: int
) -> None:
    """At 70 % data waits, at 80 % orders wait, exits may use all of it."""
    held, tenth = budget(HandClock()), limit // 10
    await spend(held, 7 * tenth, name=name)
    assert held.wait_seconds(name, 1, Priority.DATA) > 0
    assert held.wait_seconds(name, tenth, Priority.ORDER) == 0
    await spend(held, tenth, Priority.ORDER, name)
    assert held.wait_seconds(name, 1, Priority.ORDER) > 0
    assert held.wait_seconds(name, 2 * tenth, Priority.EXIT) == 0
    await spend(held, 2 * tenth, Priority.EXIT, name)
    assert held.wait_seconds(name, 1, Priority.EXIT) > 0


async def test_units_come_back_when_the_window_has_passed() -> None:
    """A wait lasts until enough of what was spent is out of the window, and is counted."""
    clock, figures = HandClock(), Figures()
    held = budget(clock, figures)
    await spend(held, 50)
    clock.seconds += 20
    await spend(held, 20)
    await spend(held, 10)
    assert clock.seconds == pytest.approx(1_060.0)
    assert figures.waits == [pytest.approx(40.0)]


async def test_wait_longer_than_the_callers_deadline_fails_at_once() -> None:
    """A caller with two seconds left is told how long it would take, without waiting."""
    clock, figures = HandClock(), Figures()
    held = budget(clock, figures)
    await spend(held, 70)
    CALL_DEADLINE.set(clock.monotonic() + 2)
    with pytest.raises(RetryableError) as limited:
        await spend(held, 1)
    assert limited.value.reason == "VENUE_RATE_LIMITED"
    assert limited.value.retry_after == timedelta(seconds=60)
    assert clock.seconds == 1_000.0
    assert figures.refused == [WEIGHT]


async def test_funding_history_has_an_allowance_of_its_own() -> None:
    """Using up the history's allowance leaves weight alone, and the other way round."""
    held = budget(HandClock())
    for _ in range(3):
        await spend(held, 1, name=HISTORY)
    assert held.wait_seconds(HISTORY, 1, Priority.DATA) == pytest.approx(300.0)
    assert held.wait_seconds(WEIGHT, 1, Priority.DATA) == 0


async def test_venues_own_count_corrects_ours_upwards_only() -> None:
    """Weight that others of the same address used counts; a lower figure changes nothing."""
    held = budget(HandClock())
    held.observe_headers({"X-MBX-USED-WEIGHT-1M": "69"})
    assert held.wait_seconds(WEIGHT, 1, Priority.DATA) == 0
    held.observe_headers({"x-mbx-used-weight-1m": "70"})
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
    """A ban is for the address: no class is sent, exits included; its end is told and shown."""
    clock, figures = HandClock(), Figures()
    held = budget(clock, figures)
    held.observe_refusal(418, timedelta(seconds=90), WEIGHT)
    for name in (WEIGHT, ORDER, HISTORY):
        with pytest.raises(RetryableError) as banned:
            await spend(held, 1, Priority.EXIT, name)
        assert banned.value.reason == "VENUE_BANNED"
        assert banned.value.retry_after == timedelta(seconds=90)
    assert figures.pauses == [(None, clock.now() + timedelta(seconds=90))]
    clock.seconds += 90
    await spend(held, 1, Priority.EXIT, ORDER)


async def test_a_ban_is_not_shortened_by_a_later_429() -> None:
    """A 429 that was under way when the ban came changes nothing for the other classes."""
    held = budget(HandClock())
    held.observe_refusal(418, timedelta(seconds=90), WEIGHT)
    held.observe_refusal(418, timedelta(seconds=5), WEIGHT)
    held.observe_refusal(429, timedelta(seconds=1), WEIGHT)
    assert held.wait_seconds(ORDER, 1, Priority.EXIT) == pytest.approx(90.0)


async def test_a_refusal_in_the_body_pauses_its_class_for_the_shortest_window() -> None:
    """Venues that say "too many" with HTTP 200 and no time are left alone for one window."""
    held = budget(HandClock())
    held.observe_refusal(200, None, ORDER, by_code=True)
    assert held.wait_seconds(ORDER, 1, Priority.EXIT) == pytest.approx(60.0)
    assert held.wait_seconds(WEIGHT, 1, Priority.EXIT) == 0


async def test_a_venue_that_counts_down_is_read_from_the_classes_own_replies() -> None:
    """What is left of an endpoint says nothing about another; a raised limit is counted from."""
    down = Allowance(10, 5.0, None, "x-bapi-limit-status", "x-bapi-limit")
    held = RateBudget({ORDER: (down,), WEIGHT: (down,)}, HandClock())
    headers = {"X-Bapi-Limit": "20", "X-Bapi-Limit-Status": "12"}
    held.observe_headers(headers)
    assert held.wait_seconds(ORDER, 8, Priority.ORDER) == 0
    async with held.take(ORDER, 1, Priority.ORDER):
        held.observe_headers(headers)
    assert held.wait_seconds(ORDER, 1, Priority.ORDER) > 0
    assert held.wait_seconds(WEIGHT, 7, Priority.DATA) == 0


async def test_an_endpoint_counted_apart_holds_back_itself_alone() -> None:
    """It spends its own units and those of all requests; a pause of it stops nothing else."""
    held = RateBudget(
        {
            WEIGHT: (Allowance(100, 10.0),),
            "fees": (Allowance(5, 2.0),),
            "mode": (Allowance(5, 2.0),),
        },
        HandClock(),
    )
    for _ in range(3):
        await spend(held, 1, name="fees")
    assert held.wait_seconds("fees", 1, Priority.DATA) == pytest.approx(2.0)
    assert held.wait_seconds("mode", 1, Priority.DATA) == 0
    await spend(held, 67)
    assert held.wait_seconds("mode", 1, Priority.DATA) == pytest.approx(10.0)
    held.observe_refusal(200, None, "fees", by_code=True)
    assert held.wait_seconds("fees", 1, Priority.EXIT) == pytest.approx(2.0)
    assert held.wait_seconds(WEIGHT, 1, Priority.EXIT) == 0


async def test_a_status_of_the_venues_own_may_be_a_ban() -> None:
    """Bybit shuts an address out with 403: everything stops, exits too."""
    held = budget(HandClock())
    held.observe_refusal(403, None, WEIGHT, ban=timedelta(minutes=10))
    assert held.wait_seconds(ORDER, 1, Priority.EXIT) == pytest.approx(600.0)
    with pytest.raises(RetryableError) as raised:
        await spend(held, 1, Priority.EXIT)
    assert raised.value.reason == "VENUE_BANNED"


async def test_pages_beyond_what_a_call_has_taken_wait_for_their_own_units() -> None:
    """A long history is read at the venue's pace, and not refused half way."""
    clock = HandClock()
    held = RateBudget({WEIGHT: (Allowance(100, 10.0),), "fills": (Allowance(10, 2.0),)}, clock)
    async with held.take("fills", 1, Priority.ORDER):
        leave = current_pass()
        assert leave is not None
        for _ in range(16):
            await held.take_more(leave)
        # Eight at once, of ten: the rest after two windows.
        assert clock.seconds == pytest.approx(1_004.0)
        for _ in range(7):
            await held.take_more(leave)
        token = CALL_DEADLINE.set(clock.seconds + 1.0)
        with pytest.raises(RetryableError):
            await held.take_more(leave)
        CALL_DEADLINE.reset(token)


async def test_who_stands_too_far_back_in_the_queue_is_told_at_once() -> None:
    """Four calls of half a share each need two windows: those who have but one are refused now."""
    clock, ended = ParkedClock(), list[str]()
    held = budget(clock)
    await spend(held, 80, Priority.ORDER)

    async def order(name: str) -> None:
        try:
            await spend(held, 40, Priority.ORDER)
            ended.append(name)
        except RetryableError:
            ended.append(f"{name} refused")

    tasks = [asyncio.create_task(order(str(number))) for number in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ended == ["2 refused", "3 refused"]
    clock.parked.set()
    await asyncio.gather(*tasks)
    assert ended[2:] == ["0", "1"]


async def test_exits_pass_while_entries_and_reads_fill_their_lanes() -> None:
    """As many entries as may be on the wire, none answered: the next waits, an exit does not."""
    held = RateBudget({}, HandClock())
    gate, entered = asyncio.Event(), list[Priority]()

    async def call(priority: Priority) -> None:
        async with held.take(ORDER, 1, priority):
            entered.append(priority)
            await gate.wait()

    flood = [asyncio.create_task(call(Priority.ORDER)) for _ in range(CALLS_AT_ONCE + 5)]
    way_out = asyncio.create_task(call(Priority.EXIT))
    for _ in range(3):
        await asyncio.sleep(0)
    assert entered.count(Priority.ORDER) == CALLS_AT_ONCE
    assert entered.count(Priority.EXIT) == 1
    gate.set()
    await asyncio.gather(way_out, *flood)
    assert entered.count(Priority.ORDER) == CALLS_AT_ONCE + 5


async def test_scans_leave_reads_their_lane_and_their_share() -> None:
    """A flood of scan reads is on the wire few at a time, and never delays what a trade reads."""
    clock = HandClock()
    held = RateBudget({WEIGHT: (Allowance(100, 60.0),)}, clock, scan_calls_at_once=3)
    gate, entered = asyncio.Event(), list[Priority]()

    async def call(priority: Priority) -> None:
        async with held.take(WEIGHT, 1, priority):
            entered.append(priority)
            await gate.wait()

    flood = [asyncio.create_task(call(Priority.SCAN)) for _ in range(10)]
    read = asyncio.create_task(call(Priority.DATA))
    for _ in range(3):
        await asyncio.sleep(0)
    assert sorted(entered) == [Priority.DATA, *[Priority.SCAN] * 3]
    gate.set()
    await asyncio.gather(read, *flood)
    await spend(held, 49, Priority.SCAN)
    assert held.wait_seconds(WEIGHT, 1, Priority.SCAN) > 0
    assert held.wait_seconds(WEIGHT, 10, Priority.DATA) == 0


async def test_a_pass_ends_with_its_call() -> None:
    """A task that a call has started takes its own units for what it sends later."""
    held, later = budget(HandClock()), list[bool]()
    ended = asyncio.Event()

    async def errand() -> None:
        later.append(current_pass() is not None)
        await ended.wait()
        later.append(current_pass() is not None)

    async with held.take(WEIGHT, 1, Priority.DATA):
        task = asyncio.create_task(errand())
        await asyncio.sleep(0)
    ended.set()
    await task
    assert later == [True, False]


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
    assert held.wait_seconds(WEIGHT, 70, Priority.DATA) == 0
