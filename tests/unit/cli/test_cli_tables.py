"""Tables on the screens that people have: nothing that another command asks for is cut off."""

from __future__ import annotations

import io

import pytest
from google.protobuf import duration_pb2
from google.type import decimal_pb2
from rich.console import Console

from cli.tables import WIDE, opportunity_table, order_table, position_table, short_amount
from opensqt.market_maker.v1 import (
    engine_pb2,
    instrument_pb2,
    opportunity_pb2,
    resources_pb2,
    types_pb2,
)

POSITION_ID = "pc9bbxlryfwlowxv"
ORDER_ID = f"{POSITION_ID}le0000"
OPPORTUNITY_ID = "SUPERUSDT:binance:spot:binanceusdm:perpetual"


def _decimal(text: str) -> decimal_pb2.Decimal:
    return decimal_pb2.Decimal(value=text)


def _leg(exchange: str, kind: instrument_pb2.InstrumentKind.ValueType) -> engine_pb2.HedgedLeg:
    place = instrument_pb2.InstrumentRef(exchange=exchange, symbol="SUPERUSDT", kind=kind)
    return engine_pb2.HedgedLeg(instrument=place, quantity=_decimal("-31716.252"))


def _position() -> engine_pb2.HedgedPosition:
    order = engine_pb2.PositionOrder(
        client_order_id=ORDER_ID,
        leg=engine_pb2.LEG_SIDE_SHORT,
        order_class=types_pb2.ORDER_CLASS_UNWIND,
        side=types_pb2.ORDER_SIDE_SELL,
        state=engine_pb2.POSITION_ORDER_STATE_UNKNOWN,
        quantity=_decimal("63502"),
        executed_quantity=_decimal("38101"),
        net_quantity=_decimal("38062.899"),
        average_price=_decimal("0.031484"),
        worst_price=_decimal("0.031546"),
        fees=[resources_pb2.AssetAmount(asset="USDT", amount=_decimal("0.59938135"))],
    )
    return engine_pb2.HedgedPosition(
        position_id=POSITION_ID,
        symbol="SUPERUSDT",
        state=engine_pb2.HEDGED_POSITION_STATE_UNWINDING,
        state_reason="test [x]",
        long_leg=_leg("binance", instrument_pb2.INSTRUMENT_KIND_SPOT),
        short_leg=_leg("binanceusdm", instrument_pb2.INSTRUMENT_KIND_PERPETUAL),
        unhedged_time=duration_pb2.Duration(nanos=17_000_000),
        orders=[order],
    )


def _printed(table: object, width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(table)
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_position_shows_its_id_and_loses_nothing(width: int) -> None:
    """`arb exit` asks for the id; a figure that is cut off is a wrong figure."""
    text = _printed(position_table([_position()], "positions", width), width)
    assert POSITION_ID in text
    assert "UNWINDING" in text
    assert "-31,716.252" in text
    assert "test [x]" in text
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_an_ended_position_shows_what_it_made(width: int) -> None:
    """Price and funding less fees; what lacks a part of it shows that it is not known."""
    whole = _position()
    whole.state = engine_pb2.HEDGED_POSITION_STATE_CLOSED
    for field, text in (("trading_pnl", "-0.1873"), ("fees_paid", "3.578")):
        getattr(whole, field).value = text
    part = engine_pb2.HedgedPosition()
    part.CopyFrom(whole)
    part.ClearField("fees_paid")
    whole.funding_received.value = "6528.9"
    text = _printed(position_table([whole, part], "positions", width), width)
    assert "+6,525.1347" in text
    assert text.count("?") > _printed(position_table([whole], "positions", width), width).count("?")
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_what_was_made_is_unknown_until_funding_is_read(width: int) -> None:
    """A perpetual that was held owes a word on its funding; a position without one does not."""
    row = _position()
    row.state = engine_pb2.HEDGED_POSITION_STATE_CLOSED
    for field, text in (("trading_pnl", "-0.1873"), ("fees_paid", "3.578")):
        getattr(row, field).value = text
    assert "-3.7653" in _printed(position_table([row], "positions", width), width)
    row.short_leg.average_entry_price.value = "0.031484"
    assert "-3.7653" not in _printed(position_table([row], "positions", width), width)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_orders_lose_no_figure(width: int) -> None:
    """A narrow screen leaves whole columns out and says so."""
    text = _printed(order_table(_position(), width), width)
    assert "0.59938135 USDT" in text
    assert "38062.899" in text
    assert (ORDER_ID in text) == (width >= WIDE)
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_an_opportunity_can_be_copied_whole(width: int) -> None:
    """`arb enter` asks for the id."""
    row = opportunity_pb2.Opportunity(
        opportunity_id=OPPORTUNITY_ID, gross_apr=_decimal("8.988"), net_apr=_decimal("8.944")
    )
    text = _printed(opportunity_table([row], "best", width), width)
    assert OPPORTUNITY_ID in text
    assert "898.8%" in text
    assert "…" not in text


def test_an_opportunity_shows_its_size_and_its_doubts() -> None:
    """Wide: capacity, current carry and numbered doubts; narrow: a mark that there are doubts."""
    row = opportunity_pb2.Opportunity(
        opportunity_id=OPPORTUNITY_ID,
        net_apr=_decimal("0.25"),
        current_apr=_decimal("0.3"),
        capacity_notional=_decimal("38875.99"),
        caveats=["BOOK_SHALLOW", "FEE_DEFAULT"],
    )
    plain = opportunity_pb2.Opportunity(opportunity_id="B", caveats=["FEE_DEFAULT"])
    text = _printed(opportunity_table([plain, row], "best", 140), 140)
    assert "1 BOOK_SHALLOW, 2 FEE_DEFAULT" in " ".join(text.split())
    shown = next(line for line in text.splitlines() if OPPORTUNITY_ID in line).split()
    assert {"25.0%", "30.0%", "38.8k", "1,2"} <= set(shown)
    assert "25.0%*" in _printed(opportunity_table([row], "best", 80), 80)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("", "?"), ("0", "0"), ("999.9", "999"), ("1999", "1.9k"), ("46000000", "46.0M")],
)
def test_amounts_are_shortened_downwards(amount: str, shown: str) -> None:
    """A capacity is never shown larger than it is."""
    assert short_amount(_decimal(amount)) == shown
