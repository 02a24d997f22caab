"""The Bybit surface without HTTP: signatures, windows, limits, faults and envelopes."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

import pytest

from services.simulator.bootstrap import make_simulation
from services.simulator.bybit_gateway import BybitGateway
from services.simulator.core.clock import millis
from services.simulator.core.faults import FaultRule
from services.simulator.gateway import Plan, Reply, Request
from tests.support.simulator import API_KEY, API_SECRET, simulator_settings
from tests.support.tiny_market import HandClock

ORDER = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Market",
    "qty": "0.01",
}


@dataclass(frozen=True, slots=True)
class Desk:
    """A gateway with its clock."""

    clock: HandClock
    gateway: BybitGateway

    def plan(self, body: dict[str, Any], *, age: int = 0, secret: str = API_SECRET) -> Plan:
        """Receive a signed order."""
        stamp, text = str(millis(self.clock.now()) - age), json.dumps(body)
        signed = f"{stamp}{API_KEY}5000{text}".encode()
        headers = {
            "x-bapi-api-key": API_KEY,
            "x-bapi-timestamp": stamp,
            "x-bapi-recv-window": "5000",
            "x-bapi-sign": hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest(),
        }
        request = Request("POST", "/v5/order/create", "", text, None, "127.0.0.1", headers)
        return self.gateway.receive(request)

    def send(self, body: dict[str, Any], **how: Any) -> Reply:
        """Receive and handle a signed order."""
        return self.gateway.handle(self.plan(body, **how))

    def code(self, body: dict[str, Any], **how: Any) -> int:
        """Return the retCode of the answer to an order; every one comes with HTTP 200."""
        reply = self.send(body, **how)
        assert reply.status == 200
        return int(json.loads(reply.body)["retCode"])


@pytest.fixture
def desk() -> Desk:
    """A gateway on a fresh simulation."""
    clock = HandClock()
    return Desk(clock, BybitGateway(make_simulation(simulator_settings(), wire=clock)))


def arm(desk: Desk, action: dict[str, Any], **match: Any) -> None:
    """Arm one fault."""
    rule = FaultRule.model_validate({"id": "one", "match": match, "action": action})
    desk.gateway._simulation.faults.add([rule])


def books(desk: Desk) -> int:
    """Return how many orders the venue has."""
    return len(list(desk.gateway._simulation.exchange.store))


def test_signature_and_window_are_checked(desk: Desk) -> None:
    """A wrong secret, a stale stamp and one ahead are refused, and nothing is placed."""
    assert desk.code(ORDER, secret="other") == 10004
    assert desk.code(ORDER, age=5001) == 10002
    assert desk.code(ORDER, age=-1000) == 10002
    assert books(desk) == 0
    assert desk.code(ORDER, age=5000) == 0
    assert books(desk) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"category": "option"}, 10001),
        ({"symbol": "NOSUCHUSDT"}, 10001),
        ({"side": "buy"}, 10001),
        ({"qty": "0"}, 10001),
        ({"qty": "1e-2"}, 10001),
        ({"orderType": "Limit"}, 10001),
        ({"orderLinkId": "a.b"}, 10001),
        ({"positionIdx": 1}, 10001),
        ({"reduceOnly": True}, 110017),
        ({"qty": "0.0001"}, 10001),
        ({"category": "spot", "symbol": "NOSUCHUSDT"}, 170121),
        ({"category": "spot", "side": "Sell", "qty": "9"}, 170131),
        ({"category": "spot", "isLeverage": 1}, 170037),
    ],
)
def test_refusals_by_category(desk: Desk, changes: dict[str, Any], code: int) -> None:
    """Each rule has the code of its category, and nothing is placed."""
    assert desk.code({**ORDER, **changes}) == code
    assert books(desk) == 0


def test_a_client_id_of_an_open_order_is_refused_as_duplicate(desk: Desk) -> None:
    """110072 on linear."""
    resting = {**ORDER, "orderType": "Limit", "price": "60000", "orderLinkId": "twice"}
    assert desk.code(resting) == 0
    assert desk.code(resting) == 110072
    assert books(desk) == 1


def test_ten_orders_a_second_and_no_more(desk: Desk) -> None:
    """The eleventh is refused with 10006; headers count down; a second later it passes."""
    replies = [desk.send(ORDER) for _ in range(11)]
    assert [reply.headers["X-Bapi-Limit-Status"] for reply in replies[:2]] == ["9", "8"]
    assert json.loads(replies[10].body)["retCode"] == 10006
    assert books(desk) == 10
    desk.clock.move(1)
    assert desk.code(ORDER) == 0


def test_an_address_over_its_limit_is_shut_out(desk: Desk) -> None:
    """The 601st request of five seconds is answered 403, without an envelope."""
    request = Request("GET", "/v5/market/time", "", "", None, "10.0.0.9")
    replies = [desk.gateway.handle(desk.gateway.receive(request)) for _ in range(601)]
    assert {reply.status for reply in replies[:600]} == {200}
    assert replies[600].status == 403


def test_faults_reach_the_wire_as_for_every_venue(desk: Desk) -> None:
    """Refusals, statuses, cut and empty bodies; whether the order lives is as the fault says."""
    arm(desk, {"type": "reject", "code": 110007, "msg": "ab not enough"})
    assert desk.code(ORDER) == 110007
    arm(desk, {"type": "http_status", "status": 502, "body": "<html>"})
    assert desk.send(ORDER).status == 502
    arm(desk, {"type": "rate_limit", "status": 418})
    assert desk.send(ORDER).status == 403
    arm(desk, {"type": "drop_before"})
    assert desk.plan(ORDER).drops_before
    assert books(desk) == 0
    arm(desk, {"type": "empty_body"}, operation="place_order", venue="bybit-linear", side="BUY")
    assert desk.send(ORDER).body == b""
    arm(desk, {"type": "truncate_body", "bytes": 5})
    assert desk.send(ORDER).body == b'{"ret'
    assert books(desk) == 2


def test_a_late_execution_answers_a_timeout_and_fills_within_the_bound(desk: Desk) -> None:
    """10000 says nothing; the order comes to life when it is due."""
    arm(desk, {"type": "late_execution", "seconds": 0.5})
    assert desk.code(ORDER) == 10000
    assert books(desk) == 0
    desk.clock.move(1)
    desk.gateway._simulation.exchange.advance()
    assert books(desk) == 1
