"""What a mirror's follower makes of what it reads, and how often it asks again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, cast

import pytest
from pydantic import ValidationError

from services.simulator.core.income import IncomeHistory
from services.simulator.core.late_funding import LateFundingDesk
from services.simulator.core.matching import Execution
from services.simulator.core.orders import Order, OrderStatus, Side
from services.simulator.market.source import Kind
from services.simulator.mirror.binance_rows import PublicTrade
from services.simulator.mirror.data_client import DataAwayError
from services.simulator.mirror.follower import Follower
from services.simulator.mirror.pace import MirrorPace, retry_seconds
from services.simulator.mirror.reader import MirrorReader
from services.simulator.mirror.roll import Roll
from services.simulator.mirror.used_weight import Need
from services.simulator.settings import MirrorSettings
from tests.support.tiny_market import START
from tests.support.venue_rig import Rig, make_rig


class ScriptedReader:
    """Answers with the trades that the test has made; mutable."""

    def __init__(self) -> None:
        self.trades: list[PublicTrade] = []
        self.settlements = 0
        self.rolls: list[Roll] = []
        self.is_away = False

    def trade(self, *prices: str) -> None:
        """Let somebody trade one coin at each price."""
        for price in prices:
            execution = Execution(Decimal(price), Decimal(1))
            self.trades.append(PublicTrade(len(self.trades) + 1, execution))

    async def read_instruments(self, kind: Kind) -> Roll:
        """Return the next roll."""
        return self.rolls.pop(0)

    async def read_book(self, kind: Kind, symbol: str, need: Need) -> None:
        """Read nothing."""

    async def read_trades(self, kind: Kind, symbol: str) -> Sequence[PublicTrade]:
        """Return all trades."""
        return list(self.trades)

    async def read_settlement(self, symbol: str, time: datetime) -> None:
        """Find none."""
        self.settlements += 1
        if self.is_away:
            raise DataAwayError("as the test says")


def _follower(rig: Rig, reader: ScriptedReader) -> Follower:
    return Follower(cast("MirrorReader", reader), rig.exchange, MirrorPace())


def _bid(rig: Rig) -> Order:
    return rig.place(Side.BUY, "1", "99.00")


async def test_an_order_is_not_filled_by_trades_that_were_before_it() -> None:
    """Not even where an older order rests in the symbol, whose trades were read up to now."""
    rig, reader = make_rig(), ScriptedReader()
    follower = _follower(rig, reader)
    older = rig.place(Side.BUY, "1", "98.00")
    reader.trade("98.50")
    await follower.follow()
    # between two readings: through the price of the order that comes after them
    reader.trade("98.50", "98.50")
    younger = _bid(rig)
    await follower.follow()
    assert (older.status, younger.status) == (OrderStatus.NEW, OrderStatus.NEW)
    reader.trade("98.50")
    await follower.follow()
    assert (older.status, younger.status) == (OrderStatus.NEW, OrderStatus.FILLED)
    reader.trade("97.50")
    await follower.follow()
    assert older.status is OrderStatus.FILLED


class OwedDesk(LateFundingDesk):
    """Owes what the test says."""

    owed: ClassVar[list[tuple[str, datetime]]] = [("BTCUSDT", START)]

    @property
    def unpaid(self) -> list[tuple[str, datetime]]:
        """Return it."""
        return self.owed


async def test_an_owed_rate_that_is_never_listed_is_asked_for_less_and_less() -> None:
    """Every three seconds at first, in the end once a minute; what failed does not count."""
    rig, reader = make_rig(), ScriptedReader()
    rig.exchange.funding = OwedDesk(rig.exchange.market, rig.exchange.accounts, IncomeHistory())
    follower = _follower(rig, reader)
    reader.is_away = True
    for _ in range(3):
        rig.wire.move(3)
        with pytest.raises(DataAwayError):
            await follower.settle()
    assert reader.settlements == 3
    reader.is_away = False
    counts = []
    for _ in range(20):
        before = reader.settlements
        for _ in range(20):
            rig.wire.move(3)
            await follower.settle()
        counts.append(reader.settlements - before)
    assert counts[0] > 8
    assert counts[12:] == [1] * 8


async def test_a_rate_that_never_came_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The account lacks a payment that a venue's would have."""
    rig, reader = make_rig(), ScriptedReader()
    desk = OwedDesk(rig.exchange.market, rig.exchange.accounts, IncomeHistory())
    rig.exchange.funding = desk
    follower = _follower(rig, reader)
    await follower.settle()
    desk.given_up.append(("BTCUSDT", START))
    for _ in range(3):
        await follower.settle()
    assert capsys.readouterr().out.count("settlement_given_up") == 1


def test_readings_that_fail_are_tried_again_soon_then_seldom() -> None:
    """What is read often anyway is so while it fails, too."""
    assert [retry_seconds(900, count) for count in (1, 2, 3, 7, 1000)] == [1, 2, 4, 64, 64]
    assert retry_seconds(3, 1000) == 3


async def test_a_list_of_rules_that_cannot_be_read_is_not_asked_for_every_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten million bytes each time; once it was read its failures are forgotten."""
    follower, pauses = _follower(make_rig(), ScriptedReader()), list[float]()
    outcomes = [True, True, True, False, True]

    async def noted(seconds: float) -> None:
        pauses.append(seconds)

    async def read() -> None:
        if not outcomes:
            raise asyncio.CancelledError
        if outcomes.pop(0):
            raise DataAwayError("as the test says")

    monkeypatch.setattr("services.simulator.mirror.follower.asyncio.sleep", noted)
    with pytest.raises(asyncio.CancelledError):
        await follower._keep("rules", read, 900)
    assert pauses == [1, 2, 4, 900, 1]


async def test_what_a_list_lacks_is_looked_for_again_a_minute_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Positions in it cannot be valued meanwhile; a quarter of an hour would be long."""
    reader, pauses = ScriptedReader(), list[float]()
    follower, one = _follower(make_rig(), reader), frozenset({"BTCUSDT"})

    async def noted(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("services.simulator.mirror.follower.asyncio.sleep", noted)
    reader.rolls = [Roll()]
    await follower._instruments(Kind.PERPETUAL)
    assert pauses == []
    reader.rolls = [Roll(missing=one), Roll(vanished=one), Roll()]
    await follower._instruments(Kind.PERPETUAL)
    assert (pauses, reader.rolls) == ([60.0], [Roll()])
    told = capsys.readouterr().out
    assert (told.count("instruments_missing"), told.count("instruments_vanished")) == (1, 1)


@pytest.mark.parametrize("name", ["follow_seconds", "price_seconds", "reload_seconds"])
def test_a_pace_that_the_venue_would_ban_is_refused(name: str) -> None:
    """On an address of one's own any will do."""
    with pytest.raises(ValidationError, match=f"{name} must be"):
        MirrorSettings(**{name: 0.4})
    own = MirrorSettings(base_url="http://127.0.0.1:1", **{name: 0.4})
    assert getattr(own, name) == 0.4


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "data-api.binance.vision", "ftp://a", "http:"])
def test_an_address_that_is_none_ends_the_start(url: str) -> None:
    """It would look like a venue that is away."""
    with pytest.raises(ValidationError, match="http://"):
        MirrorSettings(base_url=url)
