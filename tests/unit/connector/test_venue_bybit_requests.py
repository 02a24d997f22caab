"""What is sent to Bybit: what was asked, and nothing else; and how its lists are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from services.common.errors import RejectedError
from services.connector.instruments import InstrumentKind
from services.connector.order_calls import FillsRange, OrderKey
from services.connector.order_types import OrderIntent, OrderType, TimeInForce
from services.connector.send_judgement import SendResult, Verdict
from services.connector.symbols import build_instrument
from services.connector.trade_reader import TradeReader, TradesRequest
from services.connector.venue_client_ids import to_venue_client_id
from services.connector.venues import find_profile
from services.connector.venues.bybit_calls import BybitOrderCalls
from tests.support.canned_venue import Answer, Asked
from tests.support.connector_orders import instrument
from tests.support.order_intents import intent_of, place_canned

if TYPE_CHECKING:
    from pathlib import Path

ORDER_PATH = "POST /v5/order/create"
CODES = ("bybit-spot", "bybit-linear")
BOTH = pytest.mark.parametrize("code", CODES)
ORDER: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "qty": "0.002",
    "price": "38026",
    "timeInForce": "IOC",
    "orderLinkId": "trend-1",
}


async def place(
    code: str, folder: Path, intent: OrderIntent, reply: str = "{"
) -> tuple[SendResult, list[Asked]]:
    """Load markets, place one order, and return the verdict and all that was asked."""
    answers = {ORDER_PATH: Answer(reply, 200)}
    result, canned = await place_canned(code, folder, intent, answers)
    return result, canned.asked


@BOTH
async def test_a_first_order_asks_nothing_else_and_carries_no_broker_tag(
    code: str, tmp_path: Path
) -> None:
    """No account question is signed, no currency read, and no Referer names a broker."""
    result, asked = await place(code, tmp_path, intent_of())
    posts = [one for one in asked if one.method == "POST"]
    reads = [one for one in asked if one.method == "GET"]
    assert len(posts) == 1
    assert not any("x-bapi-sign" in one.headers for one in reads)
    assert "referer" not in posts[0].headers
    assert "ccxt" not in str(posts[0].body).lower()
    assert posts[0].headers["x-bapi-recv-window"].isdigit()
    assert result.verdict is Verdict.UNKNOWN


async def test_spot_sends_what_was_asked(tmp_path: Path) -> None:
    """No borrowing, no position side; the client id goes as it is."""
    _, asked = await place("bybit-spot", tmp_path, intent_of())
    assert asked[-1].body == {**ORDER, "category": "spot"}


async def test_linear_says_one_way_mode_and_reduce_only(tmp_path: Path) -> None:
    """An account in hedge mode refuses position 0, so the order cannot open the wrong side."""
    _, asked = await place("bybit-linear", tmp_path, intent_of(reduce_only=True))
    assert asked[-1].body == {
        **ORDER,
        "category": "linear",
        "positionIdx": 0,
        "reduceOnly": True,
    }


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"time_in_force": TimeInForce.FOK}, "FOK"),
        ({"time_in_force": TimeInForce.GTC}, "GTC"),
        ({"time_in_force": TimeInForce.GTX}, "PostOnly"),
        ({"time_in_force": TimeInForce.GTC, "post_only": True}, "PostOnly"),
    ],
)
async def test_time_in_force_in_the_venues_words(
    changes: dict[str, Any], word: str, tmp_path: Path
) -> None:
    """Fill-or-kill, resting and post-only."""
    _, asked = await place("bybit-linear", tmp_path, intent_of(**changes))
    assert asked[-1].body["timeInForce"] == word


@BOTH
async def test_a_market_order_goes_out_in_coins(code: str, tmp_path: Path) -> None:
    """On spot a market buy is by value unless it says otherwise."""
    market = intent_of(type=OrderType.MARKET, time_in_force=None, price=None)
    _, asked = await place(code, tmp_path, market)
    body = asked[-1].body
    assert (body["orderType"], body["qty"]) == ("Market", "0.002")
    assert body.get("marketUnit") == ("baseCoin" if code == "bybit-spot" else None)
    assert "price" not in body


@BOTH
async def test_an_acknowledgement_is_accepted_without_a_row(code: str, tmp_path: Path) -> None:
    """It is neither a fill nor the lack of one."""
    reply = '{"retCode":0,"retMsg":"OK","result":{"orderId":"7","orderLinkId":"trend-1"}}'
    result, _ = await place(code, tmp_path, intent_of(), reply)
    assert (result.verdict, result.row) == (Verdict.ACCEPTED, None)


@BOTH
def test_client_ids_of_the_venues_form_stay_and_others_are_derived(code: str) -> None:
    """Letters, digits, dashes and underscores, at most 36; the same id gives the same one."""
    profile = find_profile(code)
    assert to_venue_client_id("Trend_1-a", profile) == "Trend_1-a"
    for odd in ("a.b", "a" * 37, "ä", "a b"):
        derived = to_venue_client_id(odd, profile)
        assert derived != odd
        assert profile.client_ids.pattern.fullmatch(derived)
        assert derived == to_venue_client_id(odd, profile)


@pytest.mark.parametrize(
    ("base", "coin", "coins"),
    [("SHIB1000", "SHIB", 1000), ("1000PEPE", "PEPE", 1000), ("BTC", "BTC", 1), ("A8", "A8", 1)],
)
def test_coins_by_the_thousand_are_known_singly(base: str, coin: str, coins: int) -> None:
    """Bybit writes the thousand before the name, and once behind it."""
    market: dict[str, Any] = {
        "id": f"{base}USDT",
        "symbol": f"{base}/USDT:USDT",
        "base": base,
        "quote": "USDT",
        "settle": "USDT",
        "swap": True,
        "linear": True,
        "precision": {"amount": "1", "price": "0.0001"},
        "info": {"status": "Trading"},
    }
    found = build_instrument(market, find_profile("bybit-linear"))
    assert (found.symbol, found.exchange_symbol) == (f"{coin}USDT", f"{base}USDT")
    assert found.base_multiplier == coins
    assert found.lot_size == coins


class HandExchange:
    """ccxt's raw methods over lists of rows, newest first, a cursor after each page."""

    def __init__(self, **rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def privateGetV5OrderRealtime(self, params: Mapping[str, Any]) -> Any:  # noqa: N802 - ccxt's name
        """Answer live and lately closed orders."""
        return self._page("live", params)

    async def privateGetV5OrderHistory(self, params: Mapping[str, Any]) -> Any:  # noqa: N802 - ccxt's name
        """Answer closed orders."""
        return self._page("past", params)

    async def privateGetV5ExecutionList(self, params: Mapping[str, Any]) -> Any:  # noqa: N802 - ccxt's name
        """Answer executions."""
        return self._page("fills", params)

    def _page(self, name: str, params: Mapping[str, Any]) -> Any:
        self.asked.append((name, params))
        rows = self.rows.get(name, [])
        start, size = int(params.get("cursor", 0)), int(params.get("limit", 20))
        following = start + size
        cursor = str(following) if following < len(rows) else ""
        return {"result": {"list": rows[start:following], "nextPageCursor": cursor}}


def fill_of(number: int, **changes: Any) -> dict[str, Any]:
    """Return an execution, later for a higher number."""
    row = {
        "symbol": "BTCUSDT",
        "orderId": "o",
        "execId": f"e{number:04d}",
        "side": "Buy",
        "execPrice": "100",
        "execQty": "0.001",
        "execFee": "0",
        "feeCurrency": "USDT",
        "execType": "Trade",
        "execTime": str(1_767_225_600_000 + number),
    }
    return {**row, **changes}


LINEAR_CALLS = BybitOrderCalls(InstrumentKind.PERPETUAL)
BTC = replace(instrument(perpetual=True), exchange_symbol="BTCUSDT")


async def test_an_order_is_asked_for_by_client_id_then_in_the_history() -> None:
    """Another order's row in the answer is none of ours."""
    old = {"symbol": "BTCUSDT", "orderId": "9", "orderLinkId": "mine"}
    other = {**old, "orderLinkId": "another"}
    exchange = HandExchange(live=[other], past=[old])
    assert await LINEAR_CALLS.query(exchange, OrderKey(BTC, "mine")) == old
    assert exchange.asked[0][1]["orderLinkId"] == "mine"
    assert "orderId" not in exchange.asked[0][1]
    assert await LINEAR_CALLS.query(exchange, OrderKey(BTC, "mine", "11")) is None
    assert exchange.asked[-1][1]["orderId"] == "11"


async def test_open_orders_of_all_symbols_are_read_whole_for_each_settle_coin() -> None:
    """Twenty rows a page are the venue's default: all pages are read, for USDT and USDC."""
    exchange = HandExchange(live=[{"orderId": str(number)} for number in range(120)])
    rows = await LINEAR_CALLS.open_orders(exchange, None, use_margin=False)
    assert len(rows) == 240
    coins = [params["settleCoin"] for _, params in exchange.asked]
    assert coins == ["USDT"] * 3 + ["USDC"] * 3


async def test_fills_come_oldest_first_without_funding() -> None:
    """The venue lists the newest first, and payments of funding among them."""
    rows = [fill_of(number) for number in range(149, -1, -1)]
    rows.insert(0, fill_of(200, execType="Funding"))
    found = await LINEAR_CALLS.fills(
        HandExchange(fills=rows), BTC, FillsRange(since=1, until=2, limit=1000)
    )
    assert [row["execId"] for row in found] == [f"e{number:04d}" for number in range(150)]


async def read_pages(rows: list[dict[str, Any]], size: int) -> list[str]:
    """Return the ids of all pages of a day's executions, by our reader."""
    profile = find_profile("bybit-linear")
    exchange = HandExchange(fills=rows)

    async def fills(_: Any, *, start: datetime | None, limit: int, **__: Any) -> list[Any]:
        since = 0 if start is None else round(start.timestamp() * 1000)
        wanted = FillsRange(since=since, until=since + 1, limit=limit)
        found = await LINEAR_CALLS.fills(exchange, BTC, wanted)
        return [profile.fill_row(row) for row in found if int(row["execTime"]) >= since]

    shelf = SimpleNamespace(find_exchange_id=lambda *_: None)
    venue: Any = SimpleNamespace(profile=profile)
    orders: Any = SimpleNamespace(fills=fills)
    desk: Any = SimpleNamespace(shelf=shelf)
    reader = TradeReader(venue, orders, desk)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids: list[str] = []
    token = ""
    for _ in range(20):
        request = TradesRequest(BTC, start, start + timedelta(days=1), size, token)
        page, token = await reader.page(request)
        ids += [fill.trade_id for fill in page]
        if not token:
            return ids
    raise AssertionError("the pages do not end")


async def test_pages_of_fills_go_on_by_time_and_lose_none_of_an_instant() -> None:
    """Ids of this venue are no numbers to go on from; a page ends before an instant, not in it."""
    rows = [fill_of(number, execTime=fill_of(number // 3)["execTime"]) for number in range(30)]
    wanted = [f"e{number:04d}" for number in range(30)]
    assert await read_pages(rows[::-1], 7) == wanted


async def test_an_instant_with_more_fills_than_a_page_is_told() -> None:
    """Nothing is left out in silence."""
    rows = [fill_of(number, execTime=fill_of(0)["execTime"]) for number in range(10)]
    with pytest.raises(RejectedError) as caught:
        await read_pages(rows[::-1], 5)
    assert caught.value.reason == "HISTORY_TOO_DENSE"
