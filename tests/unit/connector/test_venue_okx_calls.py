"""OKX's lists page by page, cancels by the twenty, executions of both lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from services.common.errors import RejectedError, UnimplementedError
from services.connector.instruments import Instrument
from services.connector.order_calls import FillsRange, OrderKey
from services.connector.symbols import build_instrument
from services.connector.venue_errors import VenueAnswerError
from services.connector.venues import find_profile
from services.connector.venues.okx_calls import OkxOrderCalls

Row = dict[str, str]
CALLS = OkxOrderCalls("SWAP")
PAGE = 100


class FakeOkx:
    """Answers the calls by name, and keeps what was asked."""

    def __init__(self, **answers: Callable[[Any], list[Row]]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(params: Any) -> dict[str, Any]:
            self.asked.append((name, params))
            return {"code": "0", "data": self._answers[name](params)}

        return call


def swap() -> Instrument:
    """Return BTC-USDT-SWAP, a hundredth of a coin a contract."""
    market = {
        "id": "BTC-USDT-SWAP",
        "symbol": "BTC/USDT:USDT",
        "base": "BTC",
        "quote": "USDT",
        "settle": "USDT",
        "contractSize": "0.01",
        "precision": {"amount": "0.1", "price": "0.1"},
        "info": {"state": "live"},
    }
    return build_instrument(market, find_profile("okx-swap"))


def listed(rows: list[Row], key: str) -> Callable[[Any], list[Row]]:
    """Return a list that is newest first, a hundred rows at a time, those before `after`."""

    def answer(params: Any) -> list[Row]:
        after = params.get("after")
        older = rows if after is None else [row for row in rows if int(row[key]) < int(after)]
        return older[:PAGE]

    return answer


def fills(count: int, *, last: int = 1_000) -> list[Row]:
    """Return executions a millisecond apart, newest first."""
    return [
        {"tradeId": str(number), "billId": str(number), "ts": str(number), "fillTime": str(number)}
        for number in range(last, last - count, -1)
    ]


async def test_open_orders_are_read_to_the_last_page() -> None:
    """A live order that is left out would be believed to be gone."""
    rows = [{"ordId": str(number), "instId": "BTC-USDT-SWAP"} for number in range(250, 0, -1)]
    okx = FakeOkx(privateGetTradeOrdersPending=listed(rows, "ordId"))
    assert await CALLS.open_orders(okx, swap(), use_margin=False) == rows
    wanted = {"instType": "SWAP", "limit": "100", "instId": "BTC-USDT-SWAP"}
    assert [params for _, params in okx.asked] == [
        wanted,
        {**wanted, "after": "151"},
        {**wanted, "after": "51"},
    ]
    await CALLS.open_orders(okx, None, use_margin=False)
    assert "instId" not in okx.asked[-1][1]


async def test_cancels_go_by_the_twenty_and_what_is_gone_is_no_error() -> None:
    """Every batch is sent although the first has an order that is gone; a real refusal is told."""
    rows = [{"ordId": str(number), "instId": "BTC-USDT-SWAP"} for number in range(45, 0, -1)]
    codes = iter(["51400", None, None, "50026"])

    def cancelled(_batch: Any) -> list[Row]:
        code = next(codes)
        if code is not None:
            raise VenueAnswerError(200, code, "")
        return []

    okx = FakeOkx(
        privateGetTradeOrdersPending=listed(rows, "ordId"),
        privatePostTradeCancelBatchOrders=cancelled,
    )
    await CALLS.cancel_all(okx, swap(), use_margin=False)
    assert [len(params) for name, params in okx.asked if name.startswith("privatePost")] == [
        20,
        20,
        5,
    ]
    with pytest.raises(VenueAnswerError):
        await CALLS.cancel_all(okx, swap(), use_margin=False)


async def test_executions_of_a_range_are_oldest_first_and_cut_to_it() -> None:
    """Read back from the newest over three pages; the ends of the range belong to it."""
    okx = FakeOkx(privateGetTradeFillsHistory=listed(fills(250), "billId"))
    wanted = FillsRange(since=800, until=999, limit=1_000)
    rows = await CALLS.fills(okx, swap(), wanted)
    assert [int(row["tradeId"]) for row in rows] == list(range(800, 1_000))
    assert (okx.asked[0][1]["begin"], okx.asked[0][1]["end"]) == ("799", "1000")
    assert len(okx.asked) == 3


async def test_without_a_start_the_newest_are_told() -> None:
    """One page, oldest first."""
    okx = FakeOkx(privateGetTradeFillsHistory=listed(fills(3), "billId"))
    rows = await CALLS.fills(okx, swap(), FillsRange(since=None, until=None, limit=500))
    assert [row["tradeId"] for row in rows] == ["998", "999", "1000"]
    assert okx.asked[0][1]["limit"] == "100"


async def test_what_cannot_be_listed_is_refused() -> None:
    """From a trade id on the venue lists nothing; nor is there an end of pages without end."""
    okx = FakeOkx(privateGetTradeFillsHistory=listed(fills(6_000, last=9_000), "billId"))
    with pytest.raises(UnimplementedError):
        await CALLS.fills(okx, swap(), FillsRange(None, None, 10, first_trade_id="5"))
    with pytest.raises(RejectedError, match="later start"):
        await CALLS.fills(okx, swap(), FillsRange(since=0, until=None, limit=10))


async def test_executions_of_an_order_are_those_of_both_lists() -> None:
    """What is older than three days stands in the history alone; none is told twice."""
    okx = FakeOkx(
        privateGetTradeFills=listed(fills(2, last=6), "billId"),
        privateGetTradeFillsHistory=listed(fills(3, last=5), "billId"),
    )
    rows = await CALLS.order_fills(okx, OrderKey(swap(), exchange_order_id="77"))
    assert [row["tradeId"] for row in rows] == ["3", "4", "5", "6"]
    assert all(params["ordId"] == "77" for _, params in okx.asked)
