"""Query, cancel and fills on Gate, Bitget and Hyperliquid: what is sent, what is believed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from services.common.clock import SystemClock
from services.common.errors import UnreachableError
from services.common.rate_window import Allowance
from services.connector.order_calls import OrderKey
from services.connector.order_types import OrderStatus
from services.connector.profile import EndpointClass, Priority
from services.connector.rate_budget import RateBudget
from services.connector.symbols import split_base
from services.connector.venue_client_ids import to_venue_client_id
from services.connector.venue_orders import VenueOrders
from services.connector.venues import find_profile
from services.connector.venues.hyperliquid_calls import fit_price
from tests.support.canned_markets import MARKETS, bitget
from tests.support.canned_venue import Answer, CannedVenue, open_canned, open_venue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from services.connector.instruments import Instrument
    from services.connector.venue import Venue

CLOID = "0x" + "ab" * 16
GATE_ROW = {
    "id": 7,
    "contract": "BTC_USDT",
    "size": 20,
    "left": 5,
    "price": "38026",
    "fill_price": "38025.5",
    "tif": "gtc",
    "text": "t-trend-1",
    "status": "finished",
    "finish_as": "cancelled",
}
BITGET_ROW = {
    "symbol": "BTCUSDT",
    "size": "0.002",
    "orderId": "11",
    "clientOid": "trend-1",
    "baseVolume": "0.001",
    "priceAvg": "38025.5",
    "price": "38026",
    "status": "live",
    "side": "buy",
    "force": "gtc",
    "orderType": "limit",
}
HYPERLIQUID_ORDER = {
    "coin": "BTC",
    "side": "B",
    "limitPx": "38026.0",
    "sz": "0.001",
    "origSz": "0.002",
    "oid": 91,
    "timestamp": 1700000000123,
    "tif": "Gtc",
    "cloid": CLOID,
}


@asynccontextmanager
async def opened(
    code: str, folder: Path
) -> AsyncIterator[tuple[CannedVenue, Venue, VenueOrders, Instrument]]:
    """Open a canned venue, markets loaded, nothing asked yet."""
    async with open_canned(folder) as (canned, session):
        canned.answers = dict(MARKETS[code])
        async with open_venue(code, session) as venue:
            canned.asked.clear()
            yield canned, venue, VenueOrders(venue), next(iter(venue.instruments))


async def test_gate_asks_and_cancels_by_its_prefixed_id(tmp_path: Path) -> None:
    """ccxt alone would cancel orders/None."""
    async with opened("gate-swap", tmp_path) as (canned, _, orders, instrument):
        path = "/api/v4/futures/usdt/orders/t-trend-1"
        canned.answers |= {f"GET {path}": Answer(GATE_ROW), f"DELETE {path}": Answer(GATE_ROW)}
        found = await orders.query(OrderKey(instrument, "trend-1"))
        gone = await orders.cancel(OrderKey(instrument, "trend-1"))
    assert canned.names() == [f"GET {path}", f"DELETE {path}"]
    assert found == gone
    assert found is not None
    assert instrument.to_base_quantity(found.executed) == Decimal("0.0015")
    assert (found.client_order_id, found.status) == ("trend-1", OrderStatus.CANCELED)


async def test_gate_looks_for_a_closed_order_whose_id_has_expired(tmp_path: Path) -> None:
    """A client id answers for a minute after the end; the list of closed orders goes on."""
    refused = Answer({"label": "ORDER_NOT_FOUND", "message": "Order not found"}, 404)
    listed = "GET /api/v4/futures/usdt/orders"
    async with opened("gate-swap", tmp_path) as (canned, _, orders, instrument):
        canned.answers |= {f"{listed}/t-trend-1": refused, listed: Answer([GATE_ROW])}
        found = await orders.query(OrderKey(instrument, "trend-1"))
        assert found is not None
        assert found.exchange_order_id == "7"
        canned.answers[listed] = Answer([{**GATE_ROW, "text": "t-other"}])
        assert await orders.query(OrderKey(instrument, "trend-1")) is None
        # A list without an end proves no absence.
        canned.answers[listed] = Answer([{**GATE_ROW, "text": "t-other"}] * 100)
        with pytest.raises(UnreachableError):
            await orders.query(OrderKey(instrument, "trend-1"))
        # The venue's own id never expires: its word is enough.
        canned.asked.clear()
        canned.answers[f"{listed}/7"] = refused
        assert await orders.query(OrderKey(instrument, "trend-1", "7")) is None
        assert len(canned.asked) == 1


async def test_each_page_of_a_list_is_counted(tmp_path: Path) -> None:
    """One question that takes ten requests has spent ten of the venue's two hundred."""
    listed = "GET /api/v4/futures/usdt/orders"
    async with opened("gate-swap", tmp_path) as (canned, venue, orders, instrument):
        canned.answers[listed] = Answer([GATE_ROW] * 100)
        budget = RateBudget({EndpointClass.WEIGHT: (Allowance(200, 60.0),)}, SystemClock())
        venue.budget = venue.trading.budget = budget
        with pytest.raises(UnreachableError):
            await orders.open_orders(instrument)
        assert len(canned.asked) == 10
        assert budget.wait_seconds(EndpointClass.WEIGHT, 190, Priority.EXIT) == 0
        assert budget.wait_seconds(EndpointClass.WEIGHT, 191, Priority.EXIT) > 0


async def test_gate_fills_of_an_order_are_asked_by_its_id(tmp_path: Path) -> None:
    """Rows of other orders are left out."""
    row = {"id": 1, "contract": "BTC_USDT", "order_id": "7", "size": -15, "price": "38025.5"}
    async with opened("gate-swap", tmp_path) as (canned, _, orders, instrument):
        canned.answers["GET /api/v4/futures/usdt/my_trades"] = Answer(
            [row, {**row, "order_id": "8"}]
        )
        fills = await orders.order_fills(OrderKey(instrument, "", "7"))
    assert canned.asked[0].query["order"] == "7"
    assert [fill.quantity for fill in fills] == [Decimal(15)]


async def test_gate_fills_of_a_time_are_read_whole(tmp_path: Path) -> None:
    """The newest come first; the filter counts seconds, what was asked is in milliseconds."""
    start = datetime(2026, 7, 4, tzinfo=UTC)
    row = {"contract": "BTC_USDT", "order_id": "7", "size": 1, "price": "38026"}
    stamp = start.timestamp()
    rows = [{**row, "id": number, "create_time": stamp + number} for number in (3, 2, 1)]
    path = "GET /api/v4/futures/usdt/my_trades_timerange"
    async with opened("gate-swap", tmp_path) as (canned, _, orders, instrument):
        canned.answers[path] = Answer([*rows, {**row, "id": 0, "create_time": stamp - 0.5}])
        fills = await orders.fills(
            instrument, start=start, end=start + timedelta(seconds=2.5), limit=10
        )
        assert [fill.trade_id for fill in fills] == ["1", "2"]
        # Full pages without end: what was cut off is the oldest.
        canned.answers[path] = Answer(rows[:1] * 1000)
        with pytest.raises(UnreachableError):
            await orders.fills(instrument, start=start, end=None, limit=10)


@pytest.mark.parametrize(
    ("code", "query", "data", "cancel"),
    [
        (
            "bitget-spot",
            "GET /api/v2/spot/trade/orderInfo",
            [BITGET_ROW],
            "POST /api/v2/spot/trade/cancel-order",
        ),
        (
            "bitget-swap",
            "GET /api/v2/mix/order/detail",
            {**BITGET_ROW, "marginCoin": "USDT"},
            "POST /api/v2/mix/order/cancel-order",
        ),
    ],
)
async def test_bitget_asks_and_cancels_by_client_id(
    code: str, query: str, data: Any, cancel: str, tmp_path: Path
) -> None:
    """A cancel is acknowledged, which tells no state."""
    async with opened(code, tmp_path) as (canned, _, orders, instrument):
        canned.answers |= {
            query: Answer(bitget(data)),
            cancel: Answer(bitget({"orderId": "11", "clientOid": "trend-1"})),
        }
        found = await orders.query(OrderKey(instrument, "trend-1"))
        assert await orders.cancel(OrderKey(instrument, "trend-1")) is None
        # No row, or a refusal: the venue has none.
        canned.answers[query] = Answer(bitget([] if code == "bitget-spot" else None))
        assert await orders.query(OrderKey(instrument, "trend-1")) is None
        canned.answers[query] = Answer({"code": "43001", "msg": "The order does not exist"}, 400)
        assert await orders.query(OrderKey(instrument, "trend-1")) is None
    assert canned.names()[:2] == [query, cancel]
    assert canned.asked[0].query["clientOid"] == "trend-1"
    assert canned.asked[1].body["clientOid"] == "trend-1"
    assert found is not None
    assert (found.executed, found.status) == (Decimal("0.001"), OrderStatus.NEW)


async def test_bitget_live_orders_are_all_read_or_none(tmp_path: Path) -> None:
    """Where there is none the venue sends null."""
    async with opened("bitget-swap", tmp_path) as (canned, _, orders, instrument):
        path = "GET /api/v2/mix/order/orders-pending"
        canned.answers[path] = Answer(bitget({"entrustedList": None, "endId": None}))
        assert await orders.open_orders(instrument) == []
        rows = [{**BITGET_ROW, "marginCoin": "USDT"}]
        canned.answers[path] = Answer(bitget({"entrustedList": rows, "endId": "11"}))
        assert [row.client_order_id for row in await orders.open_orders(None)] == ["trend-1"]


async def test_bitget_fills_come_oldest_first(tmp_path: Path) -> None:
    """The venue gives the newest first."""
    row = {
        "tradeId": "2",
        "orderId": "11",
        "symbol": "BTCUSDT",
        "side": "buy",
        "priceAvg": "38025.5",
        "size": "0.001",
        "feeDetail": {"feeCoin": "BTC", "totalFee": "-0.000001"},
        "cTime": "1700000000200",
    }
    async with opened("bitget-spot", tmp_path) as (canned, _, orders, instrument):
        canned.answers["GET /api/v2/spot/trade/fills"] = Answer(
            bitget([row, {**row, "tradeId": "1", "cTime": "1700000000100"}])
        )
        fills = await orders.fills(instrument, start=None, end=None, limit=10)
        assert [fill.trade_id for fill in fills] == ["1", "2"]


async def test_hyperliquid_asks_and_cancels_by_client_id(tmp_path: Path) -> None:
    """Each cancel is signed over its end of validity, and nothing else is signed."""
    order = {"order": HYPERLIQUID_ORDER, "status": "open", "statusTimestamp": 1700000000456}
    done = {"status": "ok", "response": {"type": "cancel", "data": {"statuses": ["success"]}}}
    async with opened("hyperliquid", tmp_path) as (canned, _, orders, instrument):
        canned.answers |= {
            "POST /info orderStatus": Answer({"status": "order", "order": order}),
            "POST /exchange cancelByCloid": Answer(done),
            "POST /exchange cancel": Answer(done),
        }
        found = await orders.query(OrderKey(instrument, CLOID))
        assert await orders.cancel(OrderKey(instrument, CLOID)) is None
        assert await orders.cancel(OrderKey(instrument, CLOID, "91")) is None
        canned.answers["POST /info orderStatus"] = Answer({"status": "unknownOid"})
        assert await orders.query(OrderKey(instrument, CLOID)) is None
        gone = {"statuses": [{"error": "Order was never placed, already canceled, or filled."}]}
        body = {"status": "ok", "response": {"type": "cancel", "data": gone}}
        canned.answers["POST /exchange cancelByCloid"] = Answer(body)
        assert await orders.cancel(OrderKey(instrument, CLOID)) is None
    assert found is not None
    assert (found.executed, found.client_order_id) == (Decimal("0.001"), CLOID)
    assert canned.asked[0].body["oid"] == CLOID
    assert canned.asked[1].body["action"]["cancels"] == [{"asset": 0, "cloid": CLOID}]
    assert canned.asked[1].body["expiresAfter"] > canned.asked[1].body["nonce"]
    assert canned.asked[2].body["action"]["cancels"] == [{"a": 0, "o": 91}]


async def test_hyperliquid_cancels_all_of_one_coin(tmp_path: Path) -> None:
    """The live ones of that coin; with none nothing is signed."""
    done = {"status": "ok", "response": {"type": "cancel", "data": {"statuses": ["success"]}}}
    async with opened("hyperliquid", tmp_path) as (canned, _, orders, instrument):
        canned.answers |= {
            "POST /info frontendOpenOrders": Answer(
                [HYPERLIQUID_ORDER, {**HYPERLIQUID_ORDER, "coin": "kPEPE", "oid": 92}]
            ),
            "POST /exchange cancel": Answer(done),
        }
        await orders.cancel_all(instrument, use_margin=False)
        canned.answers["POST /info frontendOpenOrders"] = Answer([])
        await orders.cancel_all(instrument, use_margin=False)
    actions = [one.body["action"] for one in canned.asked if one.path == "/exchange"]
    assert actions == [{"type": "cancel", "cancels": [{"a": 0, "o": 91}]}]


@pytest.mark.parametrize(
    ("code", "answers", "ids"),
    [
        ("gate-swap", {"GET /api/v4/futures/usdt/orders": [GATE_ROW]}, {"trend-1"}),
        (
            "bitget-swap",
            {
                "GET /api/v2/mix/order/orders-pending": bitget(
                    {"entrustedList": [{**BITGET_ROW, "marginCoin": "USDT"}], "endId": "11"}
                ),
                "GET /api/v2/mix/order/orders-history": bitget(
                    {"entrustedList": None, "endId": None}
                ),
            },
            {"trend-1"},
        ),
        (
            "hyperliquid",
            {
                "POST /info frontendOpenOrders": [HYPERLIQUID_ORDER],
                "POST /info historicalOrders": [
                    {"order": {**HYPERLIQUID_ORDER, "cloid": None}, "status": "filled"},
                    {"order": {**HYPERLIQUID_ORDER, "coin": "kPEPE"}, "status": "filled"},
                ],
            },
            {CLOID, ""},
        ),
    ],
)
async def test_the_latest_orders_are_listed(
    code: str, answers: dict[str, Any], ids: set[str], tmp_path: Path
) -> None:
    """Live and closed, of one symbol; a short list is all the venue remembers."""
    async with opened(code, tmp_path) as (canned, _, orders, instrument):
        canned.answers |= {name: Answer(body) for name, body in answers.items()}
        rows, whole = await orders.recent_orders(instrument, use_margin=False)
    assert {row.client_order_id for row in rows} == ids
    assert whole


async def test_hyperliquid_names_and_multiples(tmp_path: Path) -> None:
    """Rows name coins, not numbers; the small k is a thousand, a K is a letter."""
    async with opened("hyperliquid", tmp_path) as (_, venue, _orders, _instrument):
        pepe = venue.instruments.get("PEPEUSDC")
        assert (pepe.exchange_symbol, pepe.base_multiplier) == ("kPEPE", Decimal(1000))
        assert venue.instruments.find_exchange_symbol("kPEPE") is pepe
        assert venue.instruments.get("KAITOUSDC").base_multiplier == 1
        assert venue.instruments.get("KAITOUSDC").status.value == "ENDED"
        assert pepe.min_notional == 10
    assert split_base("kPEPE") == ("PEPE", Decimal(1000))
    assert split_base("KAS") == ("KAS", Decimal(1))


async def test_gate_has_no_margin_here(tmp_path: Path) -> None:
    """A pair the venue lends on takes no margin order from us: refused at the edge, by name."""
    listed = MARKETS["gate-spot"]
    pair = {"id": "BTC_USDT", "base": "BTC", "quote": "USDT", "leverage": 10, "status": 1}
    async with open_canned(tmp_path) as (canned, session):
        canned.answers = {**listed, "GET /api/v4/margin/currency_pairs": Answer([pair])}
        async with open_venue("gate-spot", session) as venue:
            assert venue.trading.market("BTC/USDT")["margin"] is True
            assert not venue.instruments.get("BTCUSDT").margin_allowed


async def test_gate_contract_units(tmp_path: Path) -> None:
    """One contract is a ten-thousandth of a coin."""
    async with opened("gate-swap", tmp_path) as (_, _venue, _orders, instrument):
        assert (instrument.contract_size, instrument.lot_size) == (
            Decimal("0.0001"),
            Decimal("0.0001"),
        )
        assert instrument.to_venue_quantity(Decimal("0.002")) == 20


@pytest.mark.parametrize(
    ("price", "buys", "fitted"),
    [
        ("123456", True, "123456"),
        ("12345.6", True, "12345"),
        ("12345.6", False, "12346"),
        ("0.00123456", True, "0.0012345"),
        ("0.00123456", False, "0.0012346"),
        ("1234.5", True, "1234.5"),
        ("123456.5", False, "123457"),
    ],
)
def test_hyperliquid_price_grid(price: str, buys: bool, fitted: str) -> None:
    """Five significant digits, whole numbers always, never worse for the order."""
    assert fit_price(Decimal(price), buys=buys) == Decimal(fitted)


@pytest.mark.parametrize(
    ("code", "mine", "theirs"),
    [
        ("gate-spot", "trend-1", "trend-1"),
        ("gate-spot", "t-own", "t-own"),
        ("bitget-swap", "trend-1", "trend-1"),
        ("hyperliquid", CLOID, CLOID),
    ],
)
def test_client_ids_that_fit_go_as_they_are(code: str, mine: str, theirs: str) -> None:
    """The venue's prefix is put on beside the id, not into it."""
    assert to_venue_client_id(mine, find_profile(code)) == theirs


@pytest.mark.parametrize("code", ["gate-spot", "gate-swap", "bitget-spot", "hyperliquid"])
def test_client_ids_that_do_not_fit_are_derived(code: str) -> None:
    """The same each time, in the venue's own form."""
    profile = find_profile(code)
    found = to_venue_client_id("x" * 80, profile)
    assert found == to_venue_client_id("x" * 80, profile)
    assert profile.client_ids.pattern.fullmatch(found)


def test_fences() -> None:
    """Where the venue has no validity window there is none."""
    assert [
        find_profile(code).fence is None for code in ("gate-spot", "bitget-swap", "hyperliquid")
    ] == [False, True, False]
