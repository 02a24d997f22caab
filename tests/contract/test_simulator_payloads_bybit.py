"""The simulator's Bybit answers have the fields, and the kinds of values, of the venue's own."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from services.simulator.bootstrap import make_simulation
from services.simulator.bybit_gateway import BybitGateway
from services.simulator.core.clock import millis
from services.simulator.core.events import Event
from services.simulator.dialects.bybit_events import write_event
from services.simulator.gateway import Request
from tests.support.payloads import folder, read_rows
from tests.support.simulator import API_KEY, API_SECRET, simulator_settings
from tests.support.tiny_market import HandClock

# Fields of conditional orders, of options, of the other market unit, and of test files themselves.
NOT_OURS = frozenset(
    {
        *("_request", "_stream", "id", "topic", "orderIv", "takeProfit", "stopLoss", "tpTriggerBy"),
        *("slTriggerBy", "tpslMode", "tpLimitPrice", "slLimitPrice", "placeType", "triggerBy"),
        *("triggerDirection", "lastPriceOnCreated", "extraFees", "rpiTakerAccess", "rpiMatchedQty"),
        *("slippageToleranceType", "slippageTolerance", "feeCurrency", "closedPnl", "tradeIv"),
        *("markIv", "indexPrice", "underlyingPrice", "blockTradeId", "trailingStop", "symbolType"),
        *("mmrSysUpdateTime", "mmrSysUpdatedTime", "leverageSysUpdatedTime", "sessionAvgPrice"),
        *("predictedDeliveryPrice", "basisRate", "basis", "deliveryFeeRate", "usdIndexPrice"),
        *("MNT", "preOpenPrice", "preQty", "curPreListingPhase", "basisRateYear", "totalPerpUpl"),
        *("singleOpenInterest", "positionIMByMp", "positionMMByMp"),
        *("riskParameters", "postOnlyMaxOrderQty", "spotHedgingQty", "symbolId", "openTime"),
    }
)


class Desk:
    """A simulation that has traded on both categories, with its stream messages written down."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.simulation = make_simulation(simulator_settings(), wire=self.clock)
        self.gateway = BybitGateway(self.simulation)
        self.messages: dict[str, dict[str, Any]] = {}
        self.simulation.exchange.listeners.append(self._hear)
        for category in ("spot", "linear"):
            order = {"category": category, "symbol": "BTCUSDT", "side": "Buy", "qty": "0.01"}
            kind = {"orderType": "Market", "marketUnit": "baseCoin", "orderLinkId": "mine"}
            assert self.ask("POST", "/v5/order/create", {**order, **kind})["retCode"] == 0

    def _hear(self, event: Event) -> None:
        for message in write_event(self.simulation.exchange, event):
            self.messages[str(message["topic"])] = message

    def ask(self, method: str, path: str, params: dict[str, str]) -> Any:
        """Return the parsed answer to a signed request."""
        stamp = str(millis(self.clock.now()))
        query = "&".join(f"{name}={value}" for name, value in params.items())
        body = json.dumps(params)
        sent = body if method == "POST" else query
        signed = f"{stamp}{API_KEY}5000{sent}".encode()
        headers = {
            "x-bapi-api-key": API_KEY,
            "x-bapi-timestamp": stamp,
            "x-bapi-recv-window": "5000",
            "x-bapi-sign": hmac.new(API_SECRET.encode(), signed, hashlib.sha256).hexdigest(),
        }
        given = ("", body) if method == "POST" else (query, "")
        request = Request(method, path, *given, None, "127.0.0.1", headers)
        return json.loads(self.gateway.handle(self.gateway.receive(request)).body)


@pytest.fixture(scope="module")
def desk() -> Desk:
    """One desk for all comparisons."""
    return Desk()


def differences(ours: Any, recorded: Any, path: str = "") -> list[str]:
    """Return what the recorded value has and ours lacks or has as another kind of value."""
    if isinstance(recorded, dict) and isinstance(ours, dict):
        lacking = [f"{path}.{key}" for key in recorded if key not in ours and key not in NOT_OURS]
        both = [key for key in recorded if key in ours and key not in NOT_OURS]
        deeper = [differences(ours[key], recorded[key], f"{path}.{key}") for key in both]
        return lacking + [one for found in deeper for one in found]
    if isinstance(recorded, list) and isinstance(ours, list):
        return differences(ours[0], recorded[0], f"{path}[]") if ours and recorded else []
    if recorded is None or ours is None or isinstance(ours, type(recorded)):
        return []
    return [f"{path} is {type(ours).__name__}, recorded as {type(recorded).__name__}"]


LINEAR = {"category": "linear", "symbol": "BTCUSDT"}
ANSWERS: list[tuple[str, dict[str, str], str]] = [
    ("/v5/order/realtime", {**LINEAR, "openOnly": "1"}, "docs_order_open-order_1.json"),
    ("/v5/order/history", LINEAR, "docs_order_order-list_1.json"),
    ("/v5/execution/list", LINEAR, "docs_order_execution_1.json"),
    ("/v5/position/list", LINEAR, "http_get_positions.json"),
    ("/v5/account/wallet-balance", {"accountType": "UNIFIED"}, "http_get_wallet_balance.json"),
    ("/v5/account/info", {}, "http_get_account_info.json"),
    ("/v5/account/fee-rate", LINEAR, "docs_account_fee-rate_1.json"),
    ("/v5/market/tickers", LINEAR, "docs_market_tickers_1.json"),
    ("/v5/market/instruments-info", LINEAR, "http_get_instruments_linear.json"),
    (
        "/v5/market/instruments-info",
        {"category": "spot", "symbol": "BTCUSDT"},
        "http_get_instruments_spot.json",
    ),
    ("/v5/market/funding/history", LINEAR, "docs_market_history-fund-rate_1.json"),
    (
        "/v5/market/open-interest",
        {**LINEAR, "intervalTime": "1h"},
        "docs_market_open-interest_1.json",
    ),
]


@pytest.mark.recorded
@pytest.mark.parametrize(("path", "params", "name"), ANSWERS)
def test_answers_have_the_venues_fields(
    desk: Desk, path: str, params: dict[str, str], name: str
) -> None:
    """What the documents show of a row our row has, as the same kind of value."""
    recorded = read_rows(folder("bybit") / name)[""]
    assert differences(desk.ask("GET", path, params), recorded) == []


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("order", "ws_account_order_filled.json"),
        ("execution", "ws_account_execution.json"),
        ("position", "ws_account_position.json"),
        ("wallet", "ws_account_wallet.json"),
    ],
)
def test_messages_have_the_venues_fields(desk: Desk, topic: str, name: str) -> None:
    """So do the messages of the private stream."""
    recorded = read_rows(folder("bybit") / name)[""]
    assert differences(desk.messages[topic], recorded) == []


def test_a_refusal_comes_with_the_envelope_and_http_200(desk: Desk) -> None:
    """A wrong signature, a late stamp and a bad order are all told by retCode."""
    order = {**LINEAR, "side": "Buy", "orderType": "Limit", "qty": "0.01"}
    answer = desk.ask("POST", "/v5/order/create", order)
    assert (answer["retCode"], answer["result"]) == (10001, {})
    assert set(answer) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
