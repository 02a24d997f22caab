"""What venues tell unasked, at the desk that books it: whose it is, what is new, who wakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.instruments import InstrumentKind, LegSide
from services.engine.leg_gone import ForcedFill
from services.engine.news_desk import NewsDesk
from services.engine.order_ids import client_order_id
from services.engine.orders import GoneCause, OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.ports import OrderEvent
from services.engine.views import PositionStatus
from tests.support.engine_rig import MemoryJournal, Recorder, make_rules
from tests.support.virtual_clock import START, VirtualClock

D = Decimal
KEY = "p000000000000000"
SPOT = make_rules("spot", InstrumentKind.SPOT, base_fee_ratio=D(0))
PERP = make_rules("perp", InstrumentKind.PERPETUAL)
LEAD = client_order_id(KEY, LegSide.LONG, OrderClass.ENTRY, 0)
HEDGE = client_order_id(KEY, LegSide.SHORT, OrderClass.HEDGE, 0)


class Desk:
    """A desk over one position that is open, with all it may be asked for."""

    def __init__(self) -> None:
        self.journal, clock, recorder = MemoryJournal(), VirtualClock(), Recorder()
        self.book = PositionBook(self.journal, recorder, recorder, clock)
        self.woken: list[str] = []
        self.news = NewsDesk(self.book, clock, self.woken.append)
        allowance = ev.OrderAllowance(LegSide.SHORT, OrderSide.SELL, D(2), D(90))
        self.book.record_soon(
            ev.EntryIntended(
                KEY, START, SPOT, PERP, LegSide.LONG, D(2), D(2), D(100), D(101), D(100), allowance
            )
        )
        self._fill(LEAD, LegSide.LONG, OrderClass.ENTRY, OrderSide.BUY)
        self._fill(HEDGE, LegSide.SHORT, OrderClass.HEDGE, OrderSide.SELL)
        self.settle(PositionStatus.OPEN)

    def settle(self, status: PositionStatus) -> None:
        """Bring the position to rest."""
        self.book.record_soon(ev.PositionSettled(KEY, START, status, ""))

    def kinds(self) -> list[str]:
        """Return the kinds of the rows after the position came to rest for the first time."""
        return [kind for kind, _ in self.journal.rows[6:]]

    def _fill(self, key: str, leg: LegSide, order_class: OrderClass, side: OrderSide) -> None:
        rules = SPOT if leg is LegSide.LONG else PERP
        plan = OrderPlan(key, rules.ref, leg, order_class, side, D(2), D(100))
        self.book.record_soon(ev.OrderIntended(KEY, START, plan))
        outcome = OrderOutcome(key, True, D(1), D(1), D(100))
        self.book.record_soon(ev.OrderObserved(KEY, START, leg, outcome))


@pytest.fixture
async def desk() -> Desk:
    """Give a desk with an open position of one coin."""
    return Desk()


def told(executed: str, key: str = LEAD, exchange: str = "spot") -> OrderEvent:
    """Return a venue's word of an order."""
    outcome = OrderOutcome(key, True, D(executed), D(executed), D(100))
    return OrderEvent(exchange, "BTCUSDT", outcome)


def gone(quantity: str, evidence: str = "") -> ev.LegGone:
    """Return the event of a loss of the short leg."""
    cause = GoneCause.AUTO_DELEVERAGED if evidence else GoneCause.UNEXPLAINED
    return ev.LegGone(KEY, START, LegSide.SHORT, D(quantity), cause, evidence)


async def test_a_late_fill_is_found_by_the_order_it_belongs_to(desk: Desk) -> None:
    """More than is known of an order of ours, from its own venue and symbol."""
    found = desk.news.find_late(told("1.5"))
    assert found is not None
    assert (found.position_id, found.leg) == (KEY, LegSide.LONG)
    assert found.outcome.executed == D("1.5")


@pytest.mark.parametrize(
    "event",
    [
        told("1"),
        told("0.5"),
        told("2.001"),
        told("1.5", exchange="perp"),
        replace(told("1.5"), symbol="ETHUSDT"),
        told("1.5", key=f"{KEY}lu0000"),
        told("1.5", key="p999999999999999le0000"),
        told("1.5", key=""),
    ],
)
async def test_what_is_known_unbelievable_or_somebody_elses_is_no_late_fill(
    desk: Desk, event: OrderEvent
) -> None:
    """Nothing is booked of it."""
    assert desk.news.find_late(event) is None


async def test_a_late_fill_is_journaled_with_what_follows_and_wakes_the_drive(desk: Desk) -> None:
    """One durable write has the fill and the reduce that matches the legs again; once."""
    event = desk.news.find_late(told("1.5"))
    assert event is not None
    assert await desk.news.late_fill(event)
    assert desk.kinds() == ["OrderObserved", "ReduceRequested"]
    assert len(desk.journal.durable_events()) == len(desk.journal.rows)
    assert desk.woken == [KEY]
    assert not await desk.news.late_fill(event)
    assert desk.kinds() == ["OrderObserved", "ReduceRequested"]
    assert desk.woken == [KEY]


async def test_a_late_fill_of_an_ended_position_takes_its_exit_up_again(desk: Desk) -> None:
    """What came after the end is on, and must go."""
    desk.settle(PositionStatus.CLOSED)
    event = desk.news.find_late(told("1.5"))
    assert event is not None
    assert await desk.news.late_fill(event)
    assert desk.kinds()[1:] == ["OrderObserved", "ExitResumed"]
    assert desk.woken == [KEY]


async def test_news_that_cross_the_end_of_a_position_take_its_exit_up_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged while it was closing, they are durable after its end: nobody else would look."""
    desk.book.record_soon(ev.ExitRequested(KEY, START, "CLOSE"))
    append = desk.journal.append

    async def append_later(events: Sequence[ev.Event]) -> None:
        monkeypatch.undo()
        desk.settle(PositionStatus.CLOSED)
        await append(events)

    monkeypatch.setattr(desk.journal, "append", append_later)
    await desk.news.interest(ev.InterestCharged(KEY, START, D("0.1")))
    assert desk.kinds()[1:] == ["PositionSettled", "InterestCharged", "ExitResumed"]
    assert desk.woken == [KEY]


async def test_a_loss_is_new_once_and_a_second_witness_is_only_journaled(desk: Desk) -> None:
    """The stream and a reading tell of the same loss: both stand in the journal, one counts."""
    assert await desk.news.leg_gone(gone("0.4", "adl-1"))
    assert desk.kinds() == ["LegGone", "ReduceRequested"]
    assert desk.woken == [KEY]
    assert not await desk.news.leg_gone(gone("0.4"))
    assert desk.kinds().count("LegGone") == 2
    assert not await desk.news.leg_gone(gone("0.4"))
    assert desk.kinds().count("LegGone") == 2
    assert await desk.news.leg_gone(gone("0.6"))
    position = desk.book.get(KEY)
    assert position is not None
    assert position.gone_quantity(LegSide.SHORT) == D("0.6")


async def test_of_an_ended_position_nothing_is_lost(desk: Desk) -> None:
    """What is missing there was the user's own, and no row is written of it."""
    desk.settle(PositionStatus.CLOSED)
    assert not await desk.news.leg_gone(gone("0.4"))
    assert "LegGone" not in desk.kinds()
    assert desk.woken == []


@pytest.mark.parametrize(
    ("symbol", "side", "is_ours"),
    [
        ("BTCUSDT", OrderSide.BUY, True),
        ("BTCUSDT", OrderSide.SELL, False),
        ("ETHUSDT", OrderSide.BUY, False),
    ],
)
async def test_a_forced_fill_is_booked_where_it_closes_a_leg_of_ours(
    desk: Desk, symbol: str, side: OrderSide, *, is_ours: bool
) -> None:
    """A liquidation of the short leg buys; anything else is somebody else's."""
    fill = ForcedFill("perp", symbol, side, D("0.4"), "liq-1", GoneCause.LIQUIDATED, D(110))
    assert await desk.news.forced_fill(fill) is is_ours
    # What a liquidation left is next, so all of it closes.
    assert desk.kinds() == (["LegGone", "ExitRequested"] if is_ours else [])


async def test_news_of_a_position_nobody_knows_is_an_error(desk: Desk) -> None:
    """The ledger must not grow a position out of a word."""
    stranger = replace(gone("0.4"), position_id="p999999999999999", at=START + timedelta(1))
    with pytest.raises(ValueError, match="nobody knows"):
        await desk.news.leg_gone(stranger)


async def test_a_position_that_has_not_changed_is_shown_again(desk: Desk) -> None:
    """Its view is made once for each of its states, and the newest state is what is shown."""
    book = desk.book
    before = book.view(book.all()[0])
    assert book.view(book.all()[0]) is before
    book.record_soon(gone("0.5"))
    after = book.view(book.all()[0])
    assert after.revision > before.revision
    assert after.short_leg.quantity == before.short_leg.quantity + D("0.5")
