"""The guard: halts, reduce-only mode, the opening rate, stale prices, and what is let pass."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import OpensqtError, PreconditionError, RetryableError
from services.connector.limits import OrderLimits, OwnOrder
from services.connector.limits_guard import GuardOptions, LimitsGuard
from services.connector.limits_prices import ReferencePrices
from services.connector.order_types import OrderClass, OrderIntent, OrderType, Side, TimeInForce
from services.connector.trading_halt import TradingHalt
from tests.support.connector_orders import instrument
from tests.support.hand_clock import HandClock

ENTRY = OrderIntent(
    client_order_id="one",
    symbol="BTCUSDT",
    side=Side.BUY,
    type=OrderType.LIMIT,
    time_in_force=TimeInForce.IOC,
    quantity=Decimal(2),
    price=Decimal(100),
    order_class=OrderClass.ENTRY,
)
HEDGE = replace(ENTRY, side=Side.SELL, order_class=OrderClass.HEDGE)
EXIT = replace(HEDGE, order_class=OrderClass.EXIT)


class Book:
    """The ledger's orders as the test has them; counts how often it was asked."""

    def __init__(self, *orders: OwnOrder) -> None:
        self.orders = list(orders)
        self.asked = 0

    async def own_orders(self, symbol: str) -> Sequence[OwnOrder]:
        """Return the orders."""
        assert symbol == "BTCUSDT"
        self.asked += 1
        await asyncio.sleep(0)
        return self.orders


class BrokenBook(Book):
    """A ledger that cannot be read."""

    async def own_orders(self, symbol: str) -> Sequence[OwnOrder]:
        """Fail."""
        raise PreconditionError(f"{symbol} cannot be read", reason="LEDGER_UNAVAILABLE")


class Rig:
    """A guard on a clock, a halt file and prices that the test moves."""

    def __init__(self, folder: Path, limits: OrderLimits | None = None, **options: Any) -> None:
        self.clock = HandClock()
        self.halt = TradingHalt(folder / "halt", self.clock)
        self.halt.create()
        self.prices = ReferencePrices(self.clock, 15.0)
        self.refused: list[str] = []
        self.book = Book()
        self.guard = LimitsGuard(
            limits or OrderLimits(),
            GuardOptions(**options),
            self.halt,
            self.prices,
            self.clock,
            self,
        )

    def count_limit_refusal(self, reason: str) -> None:
        """Keep the reason."""
        self.refused.append(reason)

    async def price(self, text: str) -> None:
        """Set the price of a coin, read now."""

        async def read() -> dict[str, Decimal]:
            return {"BTCUSDT": Decimal(text)}

        await self.prices.refresh(read)

    async def ask(self, intent: OrderIntent, *, perpetual: bool = True) -> str:
        """Return the reason of the refusal, empty when the order may be sent."""
        try:
            await self.guard.admit(intent, instrument(perpetual=perpetual), self.book)
        except OpensqtError as error:
            return error.reason
        return ""


async def test_a_halt_stops_entries_and_nothing_that_reduces(tmp_path: Path) -> None:
    """Entries and orders without a class are refused; exits, hedges and unwinds go on."""
    rig = Rig(tmp_path)
    assert await rig.ask(ENTRY) == ""
    rig.halt.halt("odd fills", "anna")
    for name in (None, OrderClass.ENTRY, OrderClass.MANUAL):
        assert await rig.ask(replace(ENTRY, order_class=name)) == "TRADING_HALTED"
        assert await rig.ask(replace(ENTRY, order_class=name, reduce_only=True)) == ""
    for name in (OrderClass.HEDGE, OrderClass.UNWIND, OrderClass.EXIT):
        assert await rig.ask(replace(ENTRY, order_class=name)) == ""
    assert rig.refused == ["TRADING_HALTED"] * 3
    assert rig.book.asked == 0
    rig.halt.resume("explained", "anna")
    assert await rig.ask(ENTRY) == ""


@pytest.mark.parametrize("mode", ["halt", "settings"])
async def test_a_word_alone_passes_for_a_time(tmp_path: Path, mode: str) -> None:
    """A hedge of an entry under way passes at 300 s and not a second later."""
    rig = Rig(tmp_path, reduce_only=mode == "settings")
    if mode == "halt":
        rig.halt.halt("odd fills", "anna")
    reason = "TRADING_HALTED" if mode == "halt" else "REDUCE_ONLY_MODE"
    assert await rig.ask(ENTRY) == reason
    rig.clock.instant += timedelta(seconds=300)
    assert await rig.ask(HEDGE) == ""
    rig.clock.instant += timedelta(seconds=1)
    assert await rig.ask(HEDGE) == reason
    assert await rig.ask(replace(HEDGE, reduce_only=True)) == ""


async def test_what_the_ledger_holds_may_be_taken_back_at_any_time(tmp_path: Path) -> None:
    """Long after the halt a margin sale of what was bought passes, one lot more does not."""
    rig = Rig(tmp_path)
    rig.halt.halt("odd fills", "anna")
    rig.clock.instant += timedelta(days=1)
    rig.book = Book(OwnOrder("a", Side.BUY, Decimal(2), Decimal(2), True, True))
    sale = replace(EXIT, use_margin=True)
    assert await rig.ask(sale, perpetual=False) == ""
    more = replace(sale, client_order_id="two", quantity=Decimal("2.001"))
    assert await rig.ask(more, perpetual=False) == "TRADING_HALTED"


async def test_two_exits_at_once_do_not_take_back_the_same_coins(tmp_path: Path) -> None:
    """The second is refused although the first has no row yet."""
    rig = Rig(tmp_path)
    rig.halt.halt("odd fills", "anna")
    rig.clock.instant += timedelta(days=1)
    rig.book = Book(OwnOrder("a", Side.BUY, Decimal(3), Decimal(3), True, False))
    found = await asyncio.gather(rig.ask(EXIT), rig.ask(replace(EXIT, client_order_id="two")))
    assert list(found) == ["", "TRADING_HALTED"]


async def test_an_unread_ledger_proves_nothing(tmp_path: Path) -> None:
    """The limit's own reason is told, not the ledger's."""
    rig = Rig(tmp_path)
    rig.halt.halt("odd fills", "anna")
    rig.clock.instant += timedelta(days=1)
    rig.book = BrokenBook()
    assert await rig.ask(EXIT) == "TRADING_HALTED"


async def test_the_class_does_not_lift_the_size(tmp_path: Path) -> None:
    """An entry called HEDGE is no larger than an entry; a sale of own coins may be."""
    rig = Rig(tmp_path, OrderLimits(max_quantity={"BTCUSDT": Decimal(1)}))
    assert await rig.ask(HEDGE) == "ORDER_TOO_LARGE"
    rig.book = Book(OwnOrder("a", Side.BUY, Decimal(2), Decimal(2), True, False))
    assert await rig.ask(EXIT) == ""
    assert await rig.ask(replace(ENTRY, reduce_only=True, quantity=Decimal(900))) == ""


@pytest.mark.parametrize("most", [1, 3])
async def test_opening_orders_of_one_second(tmp_path: Path, most: int) -> None:
    """The bound passes, one more waits for the second to end; exits are not counted."""
    rig = Rig(tmp_path, opening_orders_per_second=most)
    for _ in range(most):
        assert await rig.ask(ENTRY) == ""
        assert await rig.ask(replace(ENTRY, reduce_only=True)) == ""
    rig.clock.instant += timedelta(milliseconds=999)
    with pytest.raises(RetryableError) as late:
        await rig.guard.admit(ENTRY, instrument(perpetual=True), rig.book)
    assert late.value.reason == "OPENING_RATE_EXCEEDED"
    assert late.value.retry_after == timedelta(milliseconds=1)
    assert await rig.ask(HEDGE) == ""
    rig.clock.instant += timedelta(milliseconds=1)
    assert await rig.ask(ENTRY) == ""


async def test_a_price_judges_until_it_is_too_old(tmp_path: Path) -> None:
    """At 15 s it counts, after that entries are refused and exits are not."""
    rig = Rig(tmp_path, OrderLimits(price_band_ratio=Decimal("0.01")))
    assert await rig.ask(ENTRY) == "REFERENCE_PRICE_STALE"
    await rig.price("100")
    rig.clock.instant += timedelta(seconds=15)
    assert await rig.ask(ENTRY) == ""
    rig.clock.instant += timedelta(milliseconds=1)
    assert await rig.ask(ENTRY) == "REFERENCE_PRICE_STALE"
    assert await rig.ask(replace(ENTRY, reduce_only=True)) == ""
    assert await rig.ask(HEDGE) == ""


async def test_a_reading_that_fails_keeps_the_age_of_the_last(tmp_path: Path) -> None:
    """A venue that does not answer lets the prices grow old, and no error leaves the errand."""
    rig = Rig(tmp_path, OrderLimits(price_band_ratio=Decimal("0.01")))
    await rig.price("100")
    old = asyncio.Event()

    async def fail() -> dict[str, Decimal]:
        if rig.prices.find("BTCUSDT") is None:
            old.set()
        raise RetryableError("not now")

    keeping = asyncio.create_task(rig.prices.keep(fail))
    await old.wait()
    keeping.cancel()
    assert await rig.ask(ENTRY) == "REFERENCE_PRICE_STALE"


async def test_a_second_try_does_not_count_against_itself(tmp_path: Path) -> None:
    """A way out that was held back passes again under its own id, also after a refused one."""
    rig = Rig(tmp_path, OrderLimits(symbols=frozenset({"ETHUSDT"})))
    rig.book.orders.append(OwnOrder("in", Side.BUY, Decimal(2), Decimal(2), True, False))
    assert await rig.ask(EXIT) == ""
    assert await rig.ask(EXIT) == ""
    other = replace(EXIT, client_order_id="two")
    assert await rig.ask(other) == "SYMBOL_NOT_ALLOWED"
    refused = OwnOrder(EXIT.client_order_id, Side.SELL, Decimal(2), Decimal(0), True, False)
    rig.book.orders.append(refused)
    assert await rig.ask(other) == ""
