"""What the last scan asked of single instruments is asked at once by the next."""

from __future__ import annotations

import asyncio

from services.scanner.early_readings import EarlyReadings, Foresight
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.task_runner import TaskEnd
from services.scanner.tasks import ReadBook, ReadBorrowRates, ReadDetail

SPOT = InstrumentKey("binance", "BTCUSDT", InstrumentKind.SPOT)
PERPETUAL = InstrumentKey("binanceusdm", "BTCUSDT", InstrumentKind.PERPETUAL)


def test_foresight_asks_of_each_leg_what_a_shortlist_is_asked() -> None:
    """A book of each, a detail of the perpetual, and the borrow rates of before."""
    foresight = Foresight(frozenset({SPOT, PERPETUAL}), {"binance": frozenset({"ETH", "BTC"})})
    assert set(foresight.tasks(50)) == {
        ReadBorrowRates("binance", ("BTC", "ETH")),
        ReadBook("binance", "BTCUSDT", 50),
        ReadBook("binanceusdm", "BTCUSDT", 50),
        ReadDetail("binanceusdm", "BTCUSDT"),
    }


def test_a_first_scan_foresees_nothing() -> None:
    """Without a scan before there is nothing to ask early."""
    assert Foresight().tasks(50) == ()


async def test_an_early_reading_is_waited_for_and_given_once_it_ends() -> None:
    """Who needs it before it ended gets it when it does, failed or not."""
    book, other = ReadBook("binance", "BTCUSDT", 50), ReadBook("binance", "ETHUSDT", 50)
    early = EarlyReadings([book])
    waiting = asyncio.create_task(early.ends([other, book]))
    await asyncio.sleep(0)
    assert not waiting.done()
    end = TaskEnd(book, None, TimeoutError("late"))
    early.take(end)
    assert await waiting == [end]


async def test_what_was_not_asked_early_is_nobody_to_wait_for() -> None:
    """A task that is not among them has no end here."""
    early = EarlyReadings([])
    assert not early.holds(ReadDetail("binanceusdm", "BTCUSDT"))
    assert await early.ends([ReadDetail("binanceusdm", "BTCUSDT")]) == []


async def test_borrow_rates_asked_early_are_not_asked_again() -> None:
    """Assets the early reading has are taken from it; only the others are asked of the venue."""
    asked = ReadBorrowRates("binance", ("BTC", "ETH"))
    early = EarlyReadings([asked])
    assert early.borrow_tasks("binance", {"ETH"}) == [asked]
    assert early.borrow_tasks("binance", {"ETH", "SOL"}) == [
        asked,
        ReadBorrowRates("binance", ("SOL",)),
    ]
    assert early.borrow_tasks("okx-spot", {"ETH"}) == [ReadBorrowRates("okx-spot", ("ETH",))]
