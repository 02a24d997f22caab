"""Rows of Binance's public answers, and the market they make."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.simulator.core.matching import Execution, traded_through
from services.simulator.core.orders import Side
from services.simulator.market.source import Book, BookLevel, Kind
from services.simulator.mirror import binance_rows as rows
from services.simulator.mirror.mirrored_market import NO_BOOK, MirroredMarket
from tests.support.tiny_market import START, spec

PERPETUAL: dict[str, Any] = {
    # As in the USD-M document "Exchange Information".
    "symbol": "1000PEPEUSDT",
    "contractType": "PERPETUAL",
    "status": "TRADING",
    "maintMarginPercent": "2.5000",
    "requiredMarginPercent": "5.0000",
    "baseAsset": "1000PEPE",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "pricePrecision": 7,
    "quantityPrecision": 0,
    "baseAssetPrecision": 8,
    "onboardDate": 1683097200000,
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.0000001"},
        {"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "100000000", "stepSize": "1"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "1", "maxQty": "0", "stepSize": "1"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
    ],
}
SPOT: dict[str, Any] = {
    # As in spot rest-api.md, "Exchange information".
    "symbol": "ETHBTC",
    "status": "BREAK",
    "baseAsset": "ETH",
    "baseAssetPrecision": 8,
    "quoteAsset": "BTC",
    "isMarginTradingAllowed": True,
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.00001000"},
        {"filterType": "LOT_SIZE", "minQty": "0.0001", "maxQty": "9000", "stepSize": "0.0001"},
        {"filterType": "NOTIONAL", "minNotional": "0.00010000"},
    ],
}


def test_rules_of_a_perpetual_are_read() -> None:
    """Margin is that of the public row; a maximum of zero is none of its own."""
    found = rows.perpetual_spec(PERPETUAL, rows.FundingRules(cap=Decimal("0.03")))
    assert found is not None
    assert (found.max_leverage, found.maintenance_margin_ratio) == (20, Decimal("0.025"))
    assert found.market_max_quantity == Decimal(100000000)
    assert (found.tick_size, found.funding_cap) == (Decimal("0.0000001"), Decimal("0.03"))


def test_rules_of_spot_are_read() -> None:
    """The status is the venue's own word."""
    found = rows.spot_spec(SPOT)
    assert found is not None
    assert (found.status, found.margin_allowed, found.lot_size) == ("BREAK", True, Decimal("1e-4"))


@pytest.mark.parametrize(
    "damage",
    [
        {"filters": []},
        {"filters": None},
        {"requiredMarginPercent": "0"},
        {"maintMarginPercent": "NaN"},
        {"marginAsset": "USDT", "onboardDate": "soon"},
    ],
)
def test_damaged_rules_leave_the_instrument_out(damage: dict[str, Any]) -> None:
    """The others stay, and a contract that ends is none of ours."""
    listed = [PERPETUAL, {**PERPETUAL, **damage}, {**PERPETUAL, "contractType": "NEXT_QUARTER"}]
    found = rows.read_rows(listed, lambda row: rows.perpetual_spec(row, rows.FundingRules()))
    assert [one.symbol for one in found] == ["1000PEPEUSDT"]


def test_a_perpetual_that_the_venue_takes_off_is_still_read() -> None:
    """Its contract type changes on the way; without the row its status would never be known."""
    row = {**PERPETUAL, "contractType": "PERPETUAL_DELIVERING", "status": "SETTLING"}
    found = rows.perpetual_spec(row, rows.FundingRules())
    assert found is not None
    assert found.status == "SETTLING"


@pytest.mark.parametrize(
    "answer",
    [
        {"lastUpdateId": 1, "bids": [["10", "1"]], "asks": [["9", "1"]]},
        {"lastUpdateId": 1, "bids": [["0", "1"]], "asks": []},
        {"lastUpdateId": 1, "bids": [["10", "Infinity"]], "asks": []},
        {"bids": [], "asks": []},
    ],
)
def test_a_damaged_book_is_no_book(answer: dict[str, Any]) -> None:
    """Crossed, priced at zero, without end, without its id."""
    with pytest.raises(rows.DAMAGE):
        rows.book(answer)


def _market() -> MirroredMarket:
    market = MirroredMarket(START, timedelta(seconds=5))
    market.take_specs(Kind.SPOT, {"BTCUSDT": spec(Kind.SPOT)}, ["BTCUSDT"])
    level = BookLevel(Decimal(100), Decimal(1))
    market.take_book(Kind.SPOT, "BTCUSDT", Book((), (level,), 7), START)
    return market


def test_nothing_is_known_before_prices_are() -> None:
    """An instrument without a price is not listed, and its book fills nothing."""
    market = _market()
    assert market.instruments(Kind.SPOT, START) == []
    assert market.book(Kind.SPOT, "BTCUSDT", START) == NO_BOOK
    assert market.problem(Kind.SPOT, "BTCUSDT", START) == "the list of prices was never read"


def test_an_old_book_fills_nothing() -> None:
    """Neither does a new one beside old prices; each is told with its age."""
    market = _market()
    market.take_prices({"BTCUSDT": Decimal(100)}, START)
    assert market.book(Kind.SPOT, "BTCUSDT", START).asks
    late = START + timedelta(seconds=6)
    assert market.book(Kind.SPOT, "BTCUSDT", late) == NO_BOOK
    market.take_prices({"BTCUSDT": Decimal(100)}, late)
    assert market.problem(Kind.SPOT, "BTCUSDT", late) == "the book of BTCUSDT is 6.0 s old"
    assert market.instruments(Kind.SPOT, late)


def test_a_symbol_that_is_missing_in_a_new_list_has_an_old_price() -> None:
    """Nothing is filled or valued by it, and the others are as they were."""
    market = _market()
    market.take_prices({"BTCUSDT": Decimal(100), "ETHUSDT": Decimal(10)}, START)
    late = START + timedelta(seconds=6)
    market.take_prices({"ETHUSDT": Decimal(11)}, late)
    level = BookLevel(Decimal(100), Decimal(1))
    market.take_book(Kind.SPOT, "BTCUSDT", Book((), (level,), 8), late)
    assert market.problem(Kind.SPOT, "BTCUSDT", late) == "the price of BTCUSDT is 6.0 s old"
    assert market.book(Kind.SPOT, "BTCUSDT", late) == NO_BOOK
    assert market.prices_problem(Kind.SPOT, ("ETHUSDT",), late) is None
    assert market.prices_problem(Kind.SPOT, ("ETHUSDT", "BTCUSDT"), late) is not None


def test_an_answer_that_was_overtaken_is_no_news() -> None:
    """Two readings under way at once may end in the other order."""
    market = _market()
    market.take_prices({"BTCUSDT": Decimal(100)}, START)
    market.take_book(Kind.SPOT, "BTCUSDT", Book((), (), 6), START - timedelta(seconds=1))
    assert market.book(Kind.SPOT, "BTCUSDT", START).update_id == 7


def test_an_instrument_that_vanished_is_known_as_one_that_ended() -> None:
    """Its price and its rules stay, so that what is held of it can be told and settled."""
    market = _market()
    market.take_prices({"BTCUSDT": Decimal(100)}, START)
    for status in ("TRADING", "BREAK"):
        market.take_specs(Kind.SPOT, {"ETHUSDT": spec(Kind.SPOT, "ETHUSDT")}, ["ETHUSDT"])
        assert [one.status for one in market.instruments(Kind.SPOT, START)] == [status]
    assert market.last_price(Kind.SPOT, "BTCUSDT", START) == 100


def test_only_trades_beyond_its_price_fill_a_maker() -> None:
    """At the price itself others may have stood before it."""
    trades = [Execution(Decimal(price), Decimal(1)) for price in ("99", "100", "101", "98")]
    assert traded_through(trades, Side.BUY, Decimal(100)) == 2
    assert traded_through(trades, Side.SELL, Decimal(100)) == 1
