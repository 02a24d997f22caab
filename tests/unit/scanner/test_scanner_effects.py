"""Single flight, the history store, settings: effects without a network."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from services.common.clock import SystemClock
from services.common.settings import VenueSettings
from services.scanner.history_store import MemoryHistoryStore, unknown_spans
from services.scanner.rules import DEFAULT_WEIGHTS
from services.scanner.settings import CostSettings, ScannerSettings, ScoreSettings
from services.scanner.single_flight import SingleFlight
from services.scanner.slices import Slicer
from services.scanner.spans import Span

NOW = datetime(2026, 3, 20, tzinfo=UTC)
HOUR_MS = 3_600_000


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
    async with asyncio.timeout(60):
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
    await store.prune("p", Span(16 * HOUR_MS, 99 * HOUR_MS))
    assert store.settlements("p", "A").rates.tolist() == [9, 3]
    assert unknown_spans(store, "p", "A", whole) == (Span(0, 16 * HOUR_MS),)


async def test_rows_told_later_correct_those_read_before() -> None:
    """Also once the earlier ones were used; spans of a symbol add up."""
    store = MemoryHistoryStore()
    await store.extend(
        "p", "A", Span(0, 20 * HOUR_MS), {"A": ([8 * HOUR_MS, 16 * HOUR_MS], [1, 2])}
    )
    assert store.settlements("p", "A").rates.tolist() == [1, 2]
    late = Span(20 * HOUR_MS, 40 * HOUR_MS)
    await store.extend("p", "A", late, {"A": ([16 * HOUR_MS + 5, 32 * HOUR_MS], [9, 3])})
    assert store.settlements("p", "A").rates.tolist() == [1, 9, 3]
    assert store.held_by_symbol("p") == {"A": (Span(0, 40 * HOUR_MS),)}


async def test_pruning_keeps_the_rows_inside_and_other_venues() -> None:
    """Rows before a start within a minute go, as do those at the end and after it."""
    store = MemoryHistoryStore()
    times = [hour * HOUR_MS for hour in (8, 16, 24, 32)]
    for venue, symbol in (("p", "A"), ("q", "B")):
        await store.extend(venue, symbol, Span(0, 40 * HOUR_MS), {symbol: (times, [1, 2, 3, 4])})
    await store.prune("p", Span(8 * HOUR_MS + 1, 32 * HOUR_MS))
    assert store.settlements("p", "A").rates.tolist() == [2, 3]
    assert store.settlements("q", "B").rates.tolist() == [1, 2, 3, 4]
    await store.prune("q", Span(0, 32 * HOUR_MS))
    assert store.settlements("q", "B").rates.tolist() == [1, 2, 3]


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
        ScoreSettings(weights=dict.fromkeys(DEFAULT_WEIGHTS, 0.0))
    rules = ScannerSettings(venues=(spot, perpetual), lifetime_seconds=60).rules()
    assert rules.lifetime == timedelta(minutes=1)
    assert replace(rules) == rules


def replace_name(venue: VenueSettings, name: str) -> VenueSettings:
    """Return the venue under another name."""
    return venue.model_copy(update={"name": name})
