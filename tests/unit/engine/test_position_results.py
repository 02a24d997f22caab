"""What a position made: known only once every part of it is."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from services.engine import events as ev
from services.engine.instruments import LegSide
from services.engine.orders import AssetAmount, OrderClass
from services.engine.position import fold
from services.engine.position_view import view_of
from services.engine.views import PositionStatus
from tests.support.risk_positions import PERP, entering, ordered, settled
from tests.support.virtual_clock import START

D = Decimal
LONG, SHORT = LegSide.LONG, LegSide.SHORT


def test_what_was_made_is_unknown_while_a_perpetual_owes_its_funding() -> None:
    """The funding of one leg is no word about the other, and what was not read is not zero."""
    position = entering(long_rules=replace(PERP, ref=replace(PERP.ref, exchange="other")))
    for leg, kind, price in (
        (LONG, OrderClass.ENTRY, "100"),
        (SHORT, OrderClass.HEDGE, "101"),
        (LONG, OrderClass.EXIT, "100"),
        (SHORT, OrderClass.EXIT, "100"),
    ):
        position = ordered(position, leg, kind, filled="1", price=price, fee="0.1")
    position = settled(position, PositionStatus.CLOSED)
    told = [view_of(position)]
    for leg, amount in ((SHORT, "0.5"), (LONG, "-0.2")):
        position = fold(position, ev.FundingRead("p1", START, leg, AssetAmount("USDT", D(amount))))
        told.append(view_of(position))
    assert [view.funding_received for view in told] == [None, None, D("0.3")]
    assert [view.made for view in told] == [None, None, D("0.9")]


def test_a_perpetual_without_a_fill_owes_no_funding() -> None:
    """A lead that was traded back before its hedge filled has made what it cost."""
    position = ordered(entering(), LONG, OrderClass.ENTRY, filled="1", price="100", fee="0.1")
    position = ordered(position, LONG, OrderClass.UNWIND, filled="1", price="99", fee="0.1")
    view = view_of(settled(position, PositionStatus.FLAT))
    assert (view.funding_received, view.made) == (None, D("-1.2"))
