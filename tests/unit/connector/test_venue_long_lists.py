"""Lists that are longer than one answer, and messages of many rows, of several venues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from services.common.errors import UnreachableError
from services.connector.order_calls import FillsRange
from services.connector.order_types import Side
from services.connector.symbols import split_base
from services.connector.venues import find_profile

BTC: Any = SimpleNamespace(exchange_symbol="BTC", unified="BTC/USDT")
PAGE = 100


@dataclass(frozen=True, slots=True)
class Pages:
    """A stand-in for ccxt's class: each of its endpoints answers by the same function."""

    answer: Callable[[Mapping[str, Any]], Any]
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    walletAddress: str = "0x1"  # noqa: N815 - ccxt's name

    def __getattr__(self, name: str) -> Any:
        """Return an endpoint."""

        async def call(params: Mapping[str, Any]) -> Any:
            self.asked.append({"endpoint": name, **params})
            return self.answer(params)

        return call


def rows_of(first: int, count: int) -> list[dict[str, Any]]:
    """Return so many rows of live orders."""
    return [{"orderId": str(first + number)} for number in range(count)]


def gate_rows(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Answer with 150 live orders, a hundred at once, by page or offset."""
    first = params["offset"] if "offset" in params else (params["page"] - 1) * PAGE
    return rows_of(first, min(PAGE, 150 - first))


def gate_groups(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Answer with two pairs, one of them with more than a page holds."""
    page = params["page"]
    groups = [
        {"currency_pair": "BTC_USDT", "orders": rows_of(PAGE * page, PAGE if page == 1 else 7)}
    ]
    return (
        [*groups, {"currency_pair": "ETH_USDT", "orders": rows_of(900, 1)}] if page == 1 else groups
    )


def bitget_rows(params: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with 150 live orders, those with lower ids on the second page."""
    rows = rows_of(0, 50) if "idLessThan" in params else rows_of(50, PAGE)
    return {"data": {"entrustedList": rows} if "productType" in params else rows}


@pytest.mark.parametrize(
    ("code", "instrument", "answer", "count"),
    [
        ("gate-spot", BTC, gate_rows, 150),
        ("gate-spot", None, gate_groups, 108),
        ("gate-swap", BTC, gate_rows, 150),
        ("gate-swap", None, gate_rows, 150),
        ("bitget-spot", BTC, bitget_rows, 150),
        ("bitget-swap", None, bitget_rows, 150),
    ],
)
async def test_live_orders_past_the_first_page_are_read(
    code: str, instrument: Any, answer: Callable[[Mapping[str, Any]], Any], count: int
) -> None:
    """One that is left out would be believed to have ended, and its exposure to be none."""
    pages = Pages(answer)
    rows = await find_profile(code).calls.open_orders(pages, instrument, use_margin=False)
    assert len(rows) == count
    assert len(pages.asked) == 2


@pytest.mark.parametrize("code", ["gate-spot", "gate-swap", "bitget-spot", "bitget-swap"])
async def test_live_orders_without_end_are_no_list(code: str) -> None:
    """All or none: a part of them is never taken for the whole."""
    full = rows_of(0, PAGE)
    mix = {"data": {"entrustedList": full} if code == "bitget-swap" else full}
    pages = Pages(lambda _: full if code.startswith("gate") else mix)
    with pytest.raises(UnreachableError):
        await find_profile(code).calls.open_orders(pages, BTC, use_margin=False)


def fill(number: int, coin: str = "BTC") -> dict[str, Any]:
    """Return a fill of Hyperliquid at an instant of its number."""
    return {"tid": number, "time": number, "coin": coin, "oid": 1}


async def test_hyperliquid_fills_behind_those_of_other_coins_are_read() -> None:
    """Two thousand come at once, of all coins, the oldest first: ours may be behind them."""
    history = [*(fill(number, "ETH") for number in range(1, 2_500)), fill(2_500), fill(2_501)]

    def answer(params: Mapping[str, Any]) -> Any:
        return [row for row in history if row["time"] >= params["startTime"]][:2_000]

    calls = find_profile("hyperliquid").calls
    found = await calls.fills(Pages(answer), BTC, FillsRange(1, 3_000, 10))
    assert [row["tid"] for row in found] == [2_500, 2_501]
    # More at one instant than an answer holds: what follows cannot be asked for.
    with pytest.raises(UnreachableError):
        await calls.fills(Pages(lambda _: [fill(7, "ETH")] * 2_000), BTC, FillsRange(7, None, 10))


async def test_the_newest_fills_are_told_where_no_start_is_given() -> None:
    """Hyperliquid's list by time begins with the oldest; Bitget's with the newest."""
    hyperliquid = Pages(lambda _: [fill(number) for number in (3, 1, 2)])
    found = await find_profile("hyperliquid").calls.fills(
        hyperliquid, BTC, FillsRange(None, None, 2)
    )
    assert [row["tid"] for row in found] == [2, 3]
    assert hyperliquid.asked[0]["type"] == "userFills"
    bitget = Pages(lambda params: {"data": [{"tradeId": "3"}, {"tradeId": "2"}][: params["limit"]]})
    found = await find_profile("bitget-spot").calls.fills(bitget, BTC, FillsRange(None, None, 2))
    assert [row["tradeId"] for row in found] == ["2", "3"]
    assert len(bitget.asked) == 1


OKX = {
    "instId": "BTC-USDT-SWAP",
    "ordId": "1",
    "ordType": "limit",
    "side": "buy",
    "state": "filled",
    "sz": "2",
    "accFillSz": "2",
}
BYBIT = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "orderId": "1",
    "side": "Buy",
    "orderStatus": "Filled",
    "qty": "2",
    "cumExecQty": "2",
}
GATE = {"contract": "BTC_USDT", "id": 1, "size": 2, "left": 0, "price": "1", "status": "finished"}
BITGET = {
    "instId": "BTCUSDT",
    "orderId": "1",
    "side": "buy",
    "orderType": "limit",
    "status": "filled",
    "size": "2",
    "accBaseVolume": "2",
}
HYPERLIQUID = {
    "order": {"coin": "BTC", "oid": 1, "side": "B", "sz": "0", "origSz": "2"},
    "status": "filled",
}


@pytest.mark.parametrize(
    ("code", "frame", "key", "row", "broken"),
    [
        ("okx-swap", {"arg": {"channel": "orders"}}, "data", OKX, {"state": "new word"}),
        ("bybit-linear", {"topic": "order"}, "data", BYBIT, {"orderStatus": "new word"}),
        (
            "gate-swap",
            {"channel": "futures.orders", "event": "update"},
            "result",
            GATE,
            # As a position that was closed by hand, whatever its size.
            {"size": 0},
        ),
        ("bitget-swap", {"arg": {"channel": "orders"}}, "data", BITGET, {"status": "new word"}),
        ("hyperliquid", {"channel": "orderUpdates"}, "data", HYPERLIQUID, {"status": "new word"}),
    ],
)
def test_a_broken_row_of_a_message_costs_its_neighbours_nothing(
    code: str, frame: dict[str, Any], key: str, row: dict[str, Any], broken: dict[str, Any]
) -> None:
    """Somebody else's order in a state nobody knows must not hide the fill of ours beside it."""
    read, bad = find_profile(code).stream_orders, {**row, **broken}
    for rows in ([bad, row], [row, bad]):
        (order,) = read({**frame, key: rows})
        assert order.executed == Decimal(2)
    with pytest.raises(ValueError, match=r"."):
        read({**frame, key: [bad]})


def test_gates_stream_of_contract_orders_stamps_in_milliseconds() -> None:
    """Its `update_time` alone is not in seconds; prices are numbers, sizes text."""
    row = {
        **GATE,
        "size": "-3",
        "left": "1",
        "price": 40000.4,
        "fill_price": 40000.5,
        "update_time": 1541505434123,
    }
    message = {"channel": "futures.orders", "event": "update", "result": [row]}
    (order,) = find_profile("gate-swap").stream_orders(message)
    assert order.update_time == datetime(2018, 11, 6, 11, 57, 14, 123_000, tzinfo=UTC)
    assert (order.side, order.executed) == (Side.SELL, Decimal(2))
    listed = find_profile("gate-swap").order_row({**row, "update_time": 1541505434})
    assert listed.update_time == datetime(2018, 11, 6, 11, 57, 14, tzinfo=UTC)


def test_an_order_in_bitgets_list_of_live_ones_has_no_average() -> None:
    """Its limit stands where others have the average; what it cost is told beside it."""
    row = {
        "symbol": "BTCUSDT",
        "orderId": "1",
        "side": "buy",
        "orderType": "limit",
        "status": "partially_filled",
        "size": "2",
        "baseVolume": "1",
        "priceAvg": "100",
        "quoteVolume": "90",
    }
    order = find_profile("bitget-spot").order_row(row)
    assert (order.price, order.average_price) == (Decimal(100), None)
    assert order.cumulative_quote == Decimal(90)


def test_ten_million_coins_are_told_from_the_coin() -> None:
    """Bybit lists 10000000AIDOGEUSDT."""
    assert split_base("10000000AIDOGE") == ("AIDOGE", Decimal(10_000_000))
