"""A whole connector on Gate, Bitget and Hyperliquid: an order through gRPC, its fills and its ends.

The venue is a responder with canned answers; what it is asked is what the venue would be.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pydantic import SecretStr

from opensqt.market_maker.v1 import types_pb2
from services.common.errors import NotFoundError
from services.connector.venue_client_ids import to_venue_client_id
from services.connector.venues import find_profile
from services.engine.connector_gateway import ConnectorGateway
from services.engine.instruments import InstrumentKind
from services.engine.ports import NEVER_SENT_REASON
from tests.support.canned_markets import MARKETS, bitget
from tests.support.canned_venue import KEY, WALLET, Answer, CannedVenue, open_responder
from tests.support.connector import IOC, LIMIT, by_id, order, patient_part, running_connector
from tests.support.error_rows import ORDER_PATHS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ID = "trend-1"
CLOID = to_venue_client_id(ID, find_profile("hyperliquid"))
NOW = round(time.time() * 1000)
_REPLY = {"orderId": "7", "clientOid": ID}


def _gate_row(**own: Any) -> dict[str, Any]:
    stamps = {"create_time_ms": NOW, "update_time_ms": NOW}
    return {"id": "7", "text": f"t-{ID}", "left": "0", "finish_as": "filled", **stamps, **own}


GATE_SPOT = _gate_row(
    currency_pair="BTC_USDT",
    type="limit",
    side="buy",
    status="closed",
    amount="0.002",
    price="38026",
    filled_total="76.051",
    time_in_force="ioc",
)
GATE_SWAP = _gate_row(
    contract="BTC_USDT",
    size="20",
    price="38026",
    fill_price="38025.5",
    status="finished",
    tif="ioc",
)
BITGET_ROW = {
    **_REPLY,
    "symbol": "BTCUSDT",
    "size": "0.002",
    "baseVolume": "0.002",
    "priceAvg": "38025.5",
    "price": "38026",
    "status": "filled",
    "side": "buy",
    "force": "ioc",
    "orderType": "limit",
    "cTime": str(NOW),
    "uTime": str(NOW),
}
BITGET_FILL = {
    "tradeId": "5",
    "orderId": "7",
    "symbol": "BTCUSDT",
    "side": "buy",
    "tradeScope": "taker",
    "cTime": str(NOW),
}
HYPERLIQUID_ROW = {
    "order": {
        "coin": "BTC",
        "side": "B",
        "limitPx": "38026.0",
        "sz": "0.0",
        "origSz": "0.002",
        "oid": 7,
        "timestamp": NOW,
        "tif": "Ioc",
        "cloid": CLOID,
    },
    "status": "filled",
    "statusTimestamp": NOW,
}


@dataclass(frozen=True, slots=True)
class Script:
    """What a venue answers before an order, to it, and from it on; `fee` is what it cost."""

    before: dict[str, Any]
    reply: Any
    after: dict[str, Any]
    refusal: Answer
    fee: tuple[str, str]


def _fill(**own: Any) -> dict[str, Any]:
    return {"id": "5", "order_id": "7", "create_time_ms": NOW, "role": "taker", **own}


_GATE_REFUSAL = Answer({"label": "BALANCE_NOT_ENOUGH", "message": "Balance is not enough"}, 400)
_BITGET_REFUSAL = Answer({"code": "43012", "msg": "Insufficient balance"}, 400)
SCRIPTS = {
    "gate-spot": Script(
        before={
            "GET /api/v4/spot/time": {"server_time": NOW},
            "GET /api/v4/account/detail": {"ip_whitelist": []},
            "GET /api/v4/spot/open_orders": [],
            "GET /api/v4/spot/orders": [],
        },
        reply=GATE_SPOT,
        after={
            f"GET /api/v4/spot/orders/t-{ID}": GATE_SPOT,
            "GET /api/v4/spot/orders/7": GATE_SPOT,
            "GET /api/v4/spot/my_trades": [
                _fill(
                    currency_pair="BTC_USDT",
                    side="buy",
                    amount="0.002",
                    price="38025.5",
                    fee="0.000004",
                    fee_currency="BTC",
                )
            ],
        },
        refusal=_GATE_REFUSAL,
        fee=("0.000004", "BTC"),
    ),
    "gate-swap": Script(
        before={
            "GET /api/v4/spot/time": {"server_time": NOW},
            "GET /api/v4/account/detail": {"ip_whitelist": []},
            "GET /api/v4/futures/usdt/orders": [],
        },
        reply=GATE_SWAP,
        after={
            f"GET /api/v4/futures/usdt/orders/t-{ID}": GATE_SWAP,
            "GET /api/v4/futures/usdt/orders/7": GATE_SWAP,
            "GET /api/v4/futures/usdt/my_trades": [
                _fill(contract="BTC_USDT", size="20", price="38025.5", fee="0.038")
            ],
        },
        refusal=_GATE_REFUSAL,
        fee=("0.038", "USDT"),
    ),
    "bitget-spot": Script(
        before={
            "GET /api/v2/public/time": bitget({"serverTime": str(NOW)}),
            "GET /api/v2/spot/account/info": bitget({"authorities": ["stow"], "ips": ""}),
            "GET /api/v2/spot/trade/unfilled-orders": bitget([]),
            "GET /api/v2/spot/trade/history-orders": bitget([]),
        },
        reply=bitget(_REPLY),
        after={
            "GET /api/v2/spot/trade/orderInfo": bitget([BITGET_ROW]),
            "GET /api/v2/spot/trade/fills": bitget(
                [
                    {
                        **BITGET_FILL,
                        "priceAvg": "38025.5",
                        "size": "0.002",
                        "feeDetail": {"feeCoin": "BTC", "totalFee": "-0.000002"},
                    }
                ]
            ),
        },
        refusal=_BITGET_REFUSAL,
        fee=("0.000002", "BTC"),
    ),
    "bitget-swap": Script(
        before={
            "GET /api/v2/public/time": bitget({"serverTime": str(NOW)}),
            "GET /api/v2/spot/account/info": bitget({"authorities": ["coow"], "ips": ""}),
            "GET /api/v2/mix/order/orders-pending": bitget({"entrustedList": None}),
            "GET /api/v2/mix/order/orders-history": bitget({"entrustedList": None}),
        },
        reply=bitget(_REPLY),
        after={
            "GET /api/v2/mix/order/detail": bitget({**BITGET_ROW, "marginCoin": "USDT"}),
            "GET /api/v2/mix/order/fills": bitget(
                {
                    "fillList": [
                        {
                            **BITGET_FILL,
                            "price": "38025.5",
                            "baseVolume": "0.002",
                            "feeDetail": [{"feeCoin": "USDT", "totalFee": "-0.045"}],
                        }
                    ]
                }
            ),
        },
        refusal=_BITGET_REFUSAL,
        fee=("0.045", "USDT"),
    ),
    "hyperliquid": Script(
        before={
            "POST /info exchangeStatus": {"specialStatuses": None, "time": NOW},
            "POST /info frontendOpenOrders": [],
            "POST /info historicalOrders": [],
            "POST /info orderStatus": {"status": "unknownOid"},
        },
        reply={
            "status": "ok",
            "response": {
                "type": "order",
                "data": {
                    "statuses": [{"filled": {"totalSz": "0.002", "avgPx": "38025.5", "oid": 7}}]
                },
            },
        },
        after={
            "POST /info orderStatus": {"status": "order", "order": HYPERLIQUID_ROW},
            "POST /info userFills": [
                {
                    "coin": "BTC",
                    "px": "38025.5",
                    "sz": "0.002",
                    "side": "B",
                    "time": NOW,
                    "oid": 7,
                    "tid": 5,
                    "fee": "0.026",
                    "feeToken": "USDC",
                    "crossed": True,
                }
            ],
        },
        refusal=Answer(
            {
                "status": "ok",
                "response": {
                    "type": "order",
                    "data": {"statuses": [{"error": "Insufficient margin to place order."}]},
                },
            }
        ),
        fee=("0.026", "USDC"),
    ),
}


def _subscribed(message: Any) -> list[Any]:
    if message.get("op") == "login":
        return [{"event": "login", "code": 0}]
    if message.get("op") == "subscribe":
        return [{"event": "subscribe", "arg": message["args"][0]}]
    if "subscription" in message:
        return [{"channel": "subscriptionResponse", "data": message}]
    if message.get("event") == "subscribe":
        done = {"channel": message["channel"], "result": {"status": "success"}}
        return [{"id": message["id"], "event": "subscribe", **done}]
    return []


def script_venue(code: str) -> CannedVenue:
    """Return a venue that has no order yet and refuses all."""
    script = SCRIPTS[code]
    # Asked before the order, it is not there.
    unknown = Answer({"label": "ORDER_NOT_FOUND", "code": "43001", "msg": "none"}, 404)
    before = {name: Answer(body) for name, body in script.before.items()}
    answers = {**dict.fromkeys(script.after, unknown), **MARKETS[code], **before}
    return CannedVenue({**answers, ORDER_PATHS[code]: script.refusal}, tell=_subscribed)


def take_orders(venue: CannedVenue, code: str, reply: Answer) -> None:
    """Have the venue answer an order so, and know it from then on."""
    venue.answers[ORDER_PATHS[code]] = reply
    after = {name: Answer(body) for name, body in SCRIPTS[code].after.items()}
    venue.after = {ORDER_PATHS[code]: after}


@asynccontextmanager
async def opened(code: str, venue: CannedVenue, folder: Path) -> AsyncIterator[Any]:
    """Serve a connector of the venue and yield its stub."""
    hyperliquid = code == "hyperliquid"
    async with open_responder(venue) as port:
        part = patient_part(
            code,
            f"127.0.0.1:{port}/fx",
            folder,
            api_key=SecretStr(WALLET if hyperliquid else "key"),
            api_secret=SecretStr(KEY if hyperliquid else "secret"),
            api_passphrase=SecretStr("12345"),
        )
        async with running_connector(part) as connector:
            yield connector.stub


def request(code: str, client_order_id: str = ID) -> Any:
    """Return a limit IOC order to buy 0.002 at 38026 at the most."""
    symbol = "BTCUSDC" if code == "hyperliquid" else "BTCUSDT"
    return order(
        quantity="0.002",
        type=LIMIT,
        price="38026",
        time_in_force=IOC,
        client_order_id=client_order_id,
        symbol=symbol,
    )


async def check_confirmed(code: str, venue: CannedVenue, stub: Any) -> None:
    """Place the order and hold what the caller gets to its own id, base units and fees."""
    venue.asked.clear()
    placed = await stub.PlaceOrder(request(code))
    again = await stub.GetOrder(by_id(ID, request(code).symbol))
    assert venue.names().count(ORDER_PATHS[code]) == 1
    for found in (placed, again):
        assert found.client_order_id == ID
        assert found.status == types_pb2.ORDER_STATUS_FILLED
        assert (found.executed_qty.value, found.avg_price.value) == ("0.002", "38025.5")
        assert [(fee.amount.value, fee.asset) for fee in found.fees] == [SCRIPTS[code].fee]


@pytest.mark.parametrize("code", sorted(SCRIPTS))
async def test_a_refusal_and_an_order_are_told_apart(code: str, tmp_path: Path) -> None:
    """The venue's no is passed on at once, its yes with the fees of what was filled."""
    venue = script_venue(code)
    async with opened(code, venue, tmp_path) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.PlaceOrder(request(code, "refused-1"))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert venue.names().count(ORDER_PATHS[code]) == 1
        take_orders(venue, code, Answer(SCRIPTS[code].reply))
        await check_confirmed(code, venue, stub)


@pytest.mark.parametrize("code", sorted(SCRIPTS))
async def test_an_order_whose_reply_is_lost_is_found_by_its_id(code: str, tmp_path: Path) -> None:
    """It is sent once, and what it did is asked for."""
    venue = script_venue(code)
    take_orders(venue, code, Answer("", 502))
    async with opened(code, venue, tmp_path) as stub:
        await check_confirmed(code, venue, stub)


async def test_the_engine_takes_a_connector_without_a_fence(tmp_path: Path) -> None:
    """Bitget's connector names no fence, and says of an id that its whole ledger has not so much.

    An order that was refused by the venue for good is known as that, and never as unknown.
    """
    code = "bitget-spot"
    async with opened(code, script_venue(code), tmp_path) as stub:
        venue = ConnectorGateway(
            code, InstrumentKind.SPOT, stub, call_seconds=5.0, place_seconds=5.0
        )
        assert (await venue.profile()).fence is None
        with pytest.raises(NotFoundError) as absent:
            await venue.get_order("BTCUSDT", "never-1", use_margin=False)
        assert absent.value.reason == NEVER_SENT_REASON
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.PlaceOrder(request(code, "refused-1"))
        refused = await venue.get_order("BTCUSDT", "refused-1", use_margin=False)
        assert refused is not None
        assert refused.closed
        assert refused.executed == 0
