"""Names and units: ccxt's markets to instruments."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import NotFoundError
from services.connector.exchange_factory import rewrite_urls
from services.connector.instruments import InstrumentBook, TradingStatus
from services.connector.symbols import build_instrument, build_instruments, split_base
from services.connector.venues import find_profile
from tests.support.connector_orders import instrument

PERPETUAL = find_profile("binanceusdm")


def market(base: str = "BTC", **changes: Any) -> dict[str, Any]:
    """Return a linear perpetual as ccxt describes it, numbers as text."""
    return {
        "id": f"{base}USDT",
        "symbol": f"{base}/USDT:USDT",
        "base": base,
        "quote": "USDT",
        "settle": "USDT",
        "swap": True,
        "linear": True,
        "spot": False,
        "contractSize": "1",
        "precision": {"amount": "0.001", "price": "0.10"},
        "limits": {
            "amount": {"min": "0.001", "max": "1000"},
            "market": {"min": "0.001", "max": "120"},
            "cost": {"min": "100", "max": None},
        },
        "info": {"status": "TRADING"},
        **changes,
    }


@pytest.mark.parametrize(
    ("base", "coin", "multiplier"),
    [
        ("BTC", "BTC", 1),
        ("1000PEPE", "PEPE", 1000),
        ("1000000MOG", "MOG", 1_000_000),
        ("10000LADYS", "LADYS", 10_000),
        ("1MBABYDOGE", "BABYDOGE", 1_000_000),
        ("1INCH", "1INCH", 1),
        ("1000X", "1000X", 1),
        ("1MIL", "1MIL", 1),
        ("0G", "0G", 1),
        ("2Z", "2Z", 1),
        ("4", "4", 1),
    ],
)
def test_base_is_split_into_coin_and_multiplier(base: str, coin: str, multiplier: int) -> None:
    """A count of coins in the name is taken off; names that merely begin with digits stay."""
    assert split_base(base) == (coin, Decimal(multiplier))


def test_market_of_a_thousand_is_per_coin() -> None:
    """Lot, limits and tick of a 1000-multiplier market are those of the single coin."""
    found = build_instrument(market("1000PEPE"), PERPETUAL)
    assert (found.symbol, found.exchange_symbol) == ("PEPEUSDT", "1000PEPEUSDT")
    assert found.lot_size == 1
    assert found.tick_size == Decimal("0.0001")
    assert (found.min_quantity, found.max_market_quantity) == (Decimal(1), Decimal(120_000))
    assert found.min_notional == 100
    assert (found.price_precision, found.quantity_precision) == (4, 0)


@given(st.decimals("0.001", "1000000", places=3), st.decimals("0.1", "1000000", places=1))
def test_units_convert_there_and_back(quantity: Decimal, price: Decimal) -> None:
    """Quantity and price survive the way to the venue's units and back; notional is the same."""
    thousand = instrument(base="1000PEPE")
    assert thousand.to_venue_quantity(thousand.to_base_quantity(quantity)) == quantity
    assert thousand.to_venue_price(thousand.to_base_price(price)) == price
    notional = thousand.to_base_quantity(quantity) * thousand.to_base_price(price)
    assert notional == quantity * price


def test_contract_size_counts_too() -> None:
    """A contract of a hundredth coin makes lots of a hundredth of the contract's."""
    found = build_instrument(market(contractSize="0.01"), PERPETUAL)
    assert found.lot_size == Decimal("0.00001")
    assert found.to_venue_quantity(Decimal("0.05")) == 5


def test_single_listing_keeps_the_canonical_name() -> None:
    """Where a coin is listed both ways, the thousand keeps the venue's own name."""
    found = build_instruments([market("PEPE"), market("1000PEPE")], PERPETUAL)
    assert sorted(one.symbol for one in found) == ["1000PEPEUSDT", "PEPEUSDT"]


def test_foreign_kinds_and_broken_rows_are_left_out() -> None:
    """Futures with delivery, spot and rows with broken numbers take nothing else away."""
    rows = [
        market(),
        market("ETH", swap=False),
        market("SOL", linear=False),
        market("XRP", precision={"amount": "NaN", "price": "0.1"}),
        market("ADA", precision={"amount": None, "price": "0.1"}),
    ]
    assert [one.symbol for one in build_instruments(rows, PERPETUAL)] == ["BTCUSDT"]


def test_allowed_symbols_restrict_the_book() -> None:
    """With an allow list only those symbols are there."""
    rows = [market(), market("ETH")]
    found = build_instruments(rows, PERPETUAL, frozenset({"ETHUSDT"}))
    assert [one.symbol for one in found] == ["ETHUSDT"]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("TRADING", TradingStatus.TRADING),
        ("BREAK", TradingStatus.BREAK),
        ("HALT", TradingStatus.BREAK),
        ("PENDING_TRADING", TradingStatus.BREAK),
        ("SETTLING", TradingStatus.ENDED),
        ("DELIVERED", TradingStatus.ENDED),
        ("something new", TradingStatus.ENDED),
    ],
)
def test_trading_status_is_never_guessed_open(word: str, status: TradingStatus) -> None:
    """Only the venue's word for trading means trading."""
    assert build_instrument(market(info={"status": word}), PERPETUAL).status is status


@pytest.mark.parametrize(
    ("venue", "information", "end"),
    [
        ("binanceusdm", {"deliveryDate": 4133404800000}, None),
        ("binanceusdm", {"deliveryDate": 1774342800000}, datetime(2026, 3, 24, 9, tzinfo=UTC)),
        ("okx-swap", {"expTime": ""}, None),
        ("okx-swap", {"expTime": "1774342800000"}, datetime(2026, 3, 24, 9, tzinfo=UTC)),
        ("bybit-linear", {"deliveryTime": "0"}, None),
        ("bybit-linear", {"deliveryTime": "1774342800000"}, datetime(2026, 3, 24, 9, tzinfo=UTC)),
        ("bitget-swap", {"offTime": "-1", "limitOpenTime": "-1"}, None),
        (
            "bitget-swap",
            {"offTime": "1774346400000", "limitOpenTime": "1774342800000"},
            datetime(2026, 3, 24, 9, tzinfo=UTC),
        ),
        ("bitget-swap", {"offTime": "soon"}, None),
    ],
)
def test_announced_end_is_read_and_none_is_invented(
    venue: str, information: dict[str, Any], end: datetime | None
) -> None:
    """Each venue's own field of it, the earliest where there are two; placeholders are none."""
    found = build_instrument(market(info=information), find_profile(venue))
    assert found.end_time == end


def test_zero_limits_are_no_limits() -> None:
    """A zero maximum, Binance's way of saying none, does not forbid every order."""
    limits = {"amount": {"min": "0.001", "max": "0"}, "market": {"max": "0.00000000"}, "cost": {}}
    found = build_instrument(market(limits=limits), PERPETUAL)
    assert found.max_quantity is None
    assert found.max_market_quantity is None
    assert found.min_notional is None


def test_book_finds_by_every_name_and_no_other() -> None:
    """Canonical, venue and unified names find the instrument; anything else is NOT_FOUND."""
    book = InstrumentBook(build_instruments([market("1000PEPE")], PERPETUAL))
    for name in ("PEPEUSDT", "1000PEPEUSDT", "1000PEPE/USDT:USDT"):
        assert book.get(name).symbol == "PEPEUSDT"
    with pytest.raises(NotFoundError) as missing:
        book.get("pepeusdt")
    assert missing.value.reason == "SYMBOL_NOT_FOUND"


def test_urls_move_to_the_base_and_keep_their_paths() -> None:
    """Every address of the venue moves; the spot stream keeps the word ccxt knows it by."""
    urls = {
        "public": "https://api.binance.com/api/v3",
        "ws": {
            "spot": "wss://stream.binance.com:9443/ws",
            "linear": "wss://fstream.binance.com/ws",
        },
        "note": "no url",
    }
    assert rewrite_urls(urls, "http://127.0.0.1:8080") == {
        "public": "http://127.0.0.1:8080/api/v3",
        "ws": {
            "spot": "ws://127.0.0.1:8080/stream/ws",
            "linear": "ws://127.0.0.1:8080/ws",
        },
        "note": "no url",
    }
