"""The simulator's answers have the fields, and the kinds of values, of recorded venue payloads."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from services.simulator.bootstrap import make_simulation
from services.simulator.core.clock import millis
from services.simulator.core.events import Event, OrderEvent
from services.simulator.core.orders import Product
from services.simulator.dialects import binance_spot_events, binance_usdm_events
from services.simulator.gateway import Gateway, Request
from tests.support.simulator import API_KEY, API_SECRET, simulator_settings
from tests.support.tiny_market import HandClock

ROOT = Path(__file__).resolve().parents[2]
# Fields of stop orders, of combined streams, or that the documents show and the venue has dropped.
NOT_OURS = frozenset(
    {
        "activatePrice",
        "priceRate",
        "_request",
        "_stream",
        "st",
        "AP",
        "cr",
        "gtd",
        "W",
        "goodTillDate",
    }
)


def payload(name: str) -> Any:
    """Return one recorded payload; skips with the reason where there is none."""
    place = Path(os.environ.get("OPENSQT_DATA", ROOT.parent / "shared" / "data"))
    file = place / "payloads" / f"{name}.json"
    if not file.is_file():
        pytest.skip(f"no recorded payloads at {place}; set OPENSQT_DATA")
    document = json.loads(file.read_text())
    if isinstance(document, dict):
        document = document.get("response", document.get("data", document))
    return document[0] if isinstance(document, list) else document


def differences(ours: Any, recorded: Any, path: str = "") -> list[str]:
    """Return what the recorded value has and ours lacks or has as another kind of value."""
    if isinstance(recorded, dict) and isinstance(ours, dict):
        found: list[str] = []
        for key, value in recorded.items():
            if key in NOT_OURS:
                continue
            if key not in ours:
                found.append(f"{path}.{key} missing")
            else:
                found += differences(ours[key], value, f"{path}.{key}")
        return found
    if isinstance(recorded, list) and isinstance(ours, list):
        return differences(ours[0], recorded[0], f"{path}[0]") if ours and recorded else []
    if recorded is None or ours is None or isinstance(ours, type(recorded)):
        return []
    return [f"{path} is {type(ours).__name__}, recorded as {type(recorded).__name__}"]


class Desk:
    """A simulation that has traded on both venues, with its events written down."""

    def __init__(self) -> None:
        clock = HandClock()
        self.simulation = make_simulation(simulator_settings(), wire=clock)
        self.gateway = Gateway(self.simulation)
        self.events: list[dict[str, Any]] = []
        self.simulation.exchange.listeners.append(self._write)
        self.clock = clock
        market = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.05"}
        self.spot_order = self.call("POST", "/api/v3/order", **market)
        self.usdm_order = self.call("POST", "/fapi/v1/order", **market, newOrderRespType="RESULT")
        price = str(int(self.simulation.market.mark("BTCUSDT") * 9 / 10))
        rest = {**market, "type": "LIMIT", "timeInForce": "GTC", "price": price}
        self.resting = {
            path: self.call("POST", path, **rest) for path in ("/api/v3/order", "/fapi/v1/order")
        }

    def _write(self, event: Event) -> None:
        product = event.order.request.product if isinstance(event, OrderEvent) else event.product
        dialect = binance_usdm_events if product is Product.PERPETUAL else binance_spot_events
        self.events.append(dialect.message(self.simulation.exchange, event))

    def call(self, method: str, path: str, **parameters: object) -> Any:
        """Return the JSON of one signed call."""
        query = urlencode({**parameters, "timestamp": millis(self.clock.now())})
        signature = hmac.new(API_SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
        signed = f"{query}&signature={signature}"
        request = Request(method, path, signed, "", API_KEY, "127.0.0.1")
        reply = self.gateway.handle(self.gateway.receive(request))
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def get(self, path: str, **parameters: object) -> Any:
        """Return the JSON of a GET, the first row where it is a list."""
        value = self.call("GET", path, **parameters)
        return value[0] if isinstance(value, list) else value

    def event(self, name: str, execution: str | None = None) -> Any:
        """Return the last event of a name, of one execution type where asked."""
        rows = [row for row in self.events if row["e"] == name]
        if execution is None:
            return rows[-1]
        return [row for row in rows if _execution(row) == execution][-1]


def _with_commission(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "o": {"N": "USDT", "n": "0", **row["o"]}}


def _execution(row: dict[str, Any]) -> Any:
    return row["o"]["x"] if row["e"] == "ORDER_TRADE_UPDATE" else row.get("x")


BTC = {"symbol": "BTCUSDT"}
CASES: dict[str, Callable[[Desk], Any]] = {
    "binance_spot/jk_rest_spot_PlaceOrder": lambda d: d.spot_order,
    "binance_spot/jk_rest_spot_GetOrder": lambda d: d.get(
        "/api/v3/order", **BTC, orderId=d.spot_order["orderId"]
    ),
    "binance_spot/jk_rest_spot_CancelOrder": lambda d: d.call(
        "DELETE", "/api/v3/order", **BTC, orderId=d.resting["/api/v3/order"]["orderId"]
    ),
    "binance_spot/jk_rest_spot_GetUserTrades": lambda d: d.get("/api/v3/myTrades", **BTC),
    "binance_spot/http_account_response": lambda d: d.get("/api/v3/account"),
    "binance_spot/http_ticker_24hr_response": lambda d: d.get("/api/v3/ticker/24hr", **BTC),
    "binance_spot/http_book_ticker_response": lambda d: d.get("/api/v3/ticker/bookTicker", **BTC),
    "binance_spot/ws_spot_execution_report_new": lambda d: d.event("executionReport", "NEW"),
    "binance_spot/ws_spot_execution_report_trade": lambda d: d.event("executionReport", "TRADE"),
    "binance_spot/docs_user-data-stream_001_outboundAccountPosition": lambda d: {
        "subscriptionId": 0,
        "event": d.event("outboundAccountPosition"),
    },
    "binance_usdm/docs_post_fapi_v1_order_1": lambda d: d.usdm_order,
    "binance_usdm/docs_get_fapi_v1_order_1": lambda d: d.get(
        "/fapi/v1/order", **BTC, orderId=d.usdm_order["orderId"]
    ),
    "binance_usdm/docs_delete_fapi_v1_order_1": lambda d: d.call(
        "DELETE", "/fapi/v1/order", **BTC, orderId=d.resting["/fapi/v1/order"]["orderId"]
    ),
    "binance_usdm/docs_get_fapi_v1_usertrades_1": lambda d: d.get("/fapi/v1/userTrades", **BTC),
    "binance_usdm/docs_get_fapi_v1_income_1": lambda d: d.get("/fapi/v1/income"),
    "binance_usdm/docs_get_fapi_v1_ticker_24hr_1": lambda d: d.get("/fapi/v1/ticker/24hr", **BTC),
    "binance_usdm/docs_get_fapi_v3_balance_1": lambda d: d.get("/fapi/v3/balance"),
    "binance_usdm/docs_get_fapi_v3_positionrisk_1": lambda d: d.get("/fapi/v3/positionRisk"),
    "binance_usdm/docs_get_fapi_v1_fundinginfo_1": lambda d: d.get("/fapi/v1/fundingInfo"),
    "binance_usdm/http_account_info_v2": lambda d: d.get("/fapi/v2/account"),
    "binance_usdm/http_futures_market_premium_index": lambda d: d.get(
        "/fapi/v1/premiumIndex", **BTC
    ),
    "binance_usdm/http_futures_market_funding_rate": lambda d: d.get("/fapi/v1/fundingRate"),
    "binance_usdm/http_futures_account_symbol_config": lambda d: d.get(
        "/fapi/v1/symbolConfig", **BTC
    ),
    # the venue does not push the commission (N, n) of an order without one
    "binance_usdm/ws_order_update_new": lambda d: _with_commission(
        d.event("ORDER_TRADE_UPDATE", "NEW")
    ),
    "binance_usdm/ws_order_update_trade": lambda d: d.event("ORDER_TRADE_UPDATE", "TRADE"),
}


@pytest.mark.recorded
@pytest.mark.parametrize("name", CASES)
def test_every_recorded_field_is_there(name: str) -> None:
    """Nothing a client may read from the real venue is missing or of another kind."""
    recorded = payload(name)
    assert differences(CASES[name](Desk()), recorded) == []


@pytest.mark.recorded
def test_instruments_have_every_recorded_field() -> None:
    """One row of exchangeInfo, filters by name, against the venue's own rows."""
    place = Path(os.environ.get("OPENSQT_DATA", ROOT.parent / "shared" / "data")) / "instruments"
    file = place / "binance_usdm_exchangeInfo_20260704.json"
    if not file.is_file():
        pytest.skip(f"no recorded instruments at {place}; set OPENSQT_DATA")
    desk = Desk()
    ours = desk.call("GET", "/fapi/v1/exchangeInfo")
    recorded = json.loads(file.read_text())
    assert differences({**ours, "symbols": []}, {**recorded, "symbols": []}) == []
    assert differences(ours["symbols"][0], recorded["symbols"][0]) == []
    ours_filters = {row["filterType"]: row for row in ours["symbols"][0]["filters"]}
    theirs = {row["filterType"]: row for row in recorded["symbols"][0]["filters"]}
    shared = theirs.keys() - {"POSITION_RISK_CONTROL"}
    assert [name for name in shared if differences(ours_filters.get(name, {}), theirs[name])] == []
