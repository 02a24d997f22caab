"""What `arb enter` sends, and what it refuses before sending."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cli.trading import EntryOrder, entry_request, parse_leg
from opensqt.market_maker.v1 import instrument_pb2
from services.common.errors import InvalidFieldError


def test_an_entry_by_legs_names_both_instruments() -> None:
    """`venue:kind` becomes an instrument of the symbol."""
    order = EntryOrder(
        symbol="BTCUSDT",
        long_leg="binance:spot",
        short_leg="binanceusdm:perpetual",
        notional=Decimal("1000.50"),
    )
    request = entry_request(order, "id")
    assert request.long_leg.kind == instrument_pb2.INSTRUMENT_KIND_SPOT
    assert request.short_leg.exchange == "binanceusdm"
    assert request.short_leg.symbol == "BTCUSDT"
    assert request.notional.value == "1000.5"
    assert not request.HasField("quantity")


def test_an_entry_by_opportunity_leaves_the_legs_to_the_engine() -> None:
    """The engine asks the scanner for them."""
    request = entry_request(EntryOrder(opportunity_id="o", quantity=Decimal(1)), "id")
    assert request.opportunity_id == "o"
    assert not request.HasField("long_leg")


@pytest.mark.parametrize("text", ["binance", "binance:", ":spot", "binance:future", ""])
def test_a_leg_that_names_no_instrument_is_refused(text: str) -> None:
    """The error names the option and shows the form."""
    with pytest.raises(InvalidFieldError) as caught:
        parse_leg(text, "BTCUSDT", "--long")
    assert caught.value.field == "--long"
    assert "venue:spot" in caught.value.problem


def test_neither_opportunity_nor_legs_is_refused() -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidFieldError):
        entry_request(EntryOrder(symbol="BTCUSDT", long_leg="binance:spot"), "id")
