"""A first scan begins histories in bulk before the tickers of all venues have come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from services.common.errors import UnimplementedError
from services.scanner.first_histories import FirstHistories
from services.scanner.histories import HistoryLoader
from services.scanner.history_store import MemoryHistoryStore
from services.scanner.instruments import RateRow, SymbolRow, TradingStatus
from services.scanner.negative_results import NegativeResults
from services.scanner.rules import ScanRules
from services.scanner.spans import Span
from services.scanner.task_runner import TaskEnd
from services.scanner.tasks import ReadHistory, ReadRates, ReadSymbols, ReadTickers, VenueTask
from services.scanner.venue_codec import HistoryRead, Read
from tests.support.hand_clock import HandClock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.scanner.early_readings import EarlyReadings

NOW = datetime(2026, 3, 20, 1, tzinfo=UTC)
PROBE = ReadHistory("p", "", Span(0, 1))
NAMES = [f"X{number}USDT" for number in range(300)]
FOUR_HOURS = timedelta(hours=4)
SYMBOLS = Read(
    {
        name: SymbolRow(
            name, name[:-4], "USDT", TradingStatus.TRADING, margin_allowed=False,
            funding_interval=FOUR_HOURS,
        )
        for name in NAMES
    }
)  # fmt: skip
RATES = Read({name: RateRow(name, Decimal("0.0001"), None, NOW, FOUR_HOURS) for name in NAMES})
TOLD: tuple[TaskEnd[VenueTask, Any], ...] = (
    TaskEnd(ReadSymbols("p"), SYMBOLS, None),
    TaskEnd(ReadRates("p"), RATES, None),
    TaskEnd(PROBE, HistoryRead(), None),
)


class Early:
    """Keeps what was begun."""

    def __init__(self) -> None:
        self.begun: list[VenueTask] = []

    def begin(self, tasks: Iterable[VenueTask]) -> None:
        """Keep the tasks."""
        self.begun += tasks


def watched(store: MemoryHistoryStore) -> tuple[FirstHistories, Early, HistoryLoader]:
    """Return the watcher, what it begins, and the loader that plans for it."""
    early = Early()
    negative = NegativeResults(60.0, HandClock(), lambda: 0.5)
    loader = HistoryLoader(store, ScanRules(), page_size=1000, negative=negative)
    return FirstHistories(loader, cast("EarlyReadings", early), NOW), early, loader


@pytest.mark.parametrize("last", range(3))
def test_histories_begin_with_the_last_of_what_they_hang_on(last: int) -> None:
    """Listing, rates and the probe, in any order, and not before all three have come."""
    first, early, _ = watched(MemoryHistoryStore())
    for place, end in enumerate(TOLD):
        if place != last:
            first.note(end)
    first.note(TaskEnd(ReadTickers("p"), Read({}), None))
    assert early.begun == []
    first.note(TOLD[last])
    assert 0 < len(early.begun) <= 24
    assert all(isinstance(task, ReadHistory) and not task.symbol for task in early.begun)


def test_a_venue_without_history_in_bulk_is_not_asked_for_it_again() -> None:
    """The probe was refused: history will be read by symbol, once it is known of which."""
    first, early, _ = watched(MemoryHistoryStore())
    first.note(TaskEnd(PROBE, None, UnimplementedError("none")))
    for end in TOLD[:2]:
        first.note(end)
    assert early.begun == []


async def test_a_venue_of_which_something_is_held_waits_for_the_plan() -> None:
    """What is new is little, and which perpetuals need it is worth knowing first."""
    store = MemoryHistoryStore()
    await store.extend("p", "", Span(0, int(NOW.timestamp() * 1000)), {})
    first, early, _ = watched(store)
    for end in TOLD:
        first.note(end)
    assert early.begun == []
