"""The whole venue without a server: sync, the same history for the same inputs, no aiohttp."""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from services.simulator.bootstrap import make_simulation
from services.simulator.core.clock import millis
from services.simulator.core.events import Event, WalletEvent
from services.simulator.core.faults import FaultRule
from services.simulator.core.orders import PositionSide
from services.simulator.core.positions import apply
from services.simulator.gateway import Gateway, Reply, Request
from services.simulator.simulation import Simulation
from tests.support.simulator import API_KEY, API_SECRET, simulator_settings
from tests.support.tiny_market import HandClock

CORE = Path(sys.modules[Simulation.__module__].__file__ or "").parent / "core"


class Desk:
    """Sends signed requests to a gateway on a clock moved by hand."""

    def __init__(self) -> None:
        self.clock = HandClock(datetime(2026, 3, 1, 7, 59, 50, tzinfo=UTC))
        # The market's clock starts where the hand-moved one stands: ten seconds before funding.
        settings = simulator_settings(market={"symbol_count": 12, "seed": 7})
        self.simulation = make_simulation(settings, wire=self.clock)
        self.gateway = Gateway(self.simulation)

    def send(self, method: str, path: str, **parameters: object) -> Reply:
        """Sign and send one request."""
        query = urlencode({**parameters, "timestamp": millis(self.clock.now())})
        signature = hmac.new(API_SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
        signed = f"{query}&signature={signature}"
        request = Request(method, path, signed, "", API_KEY, "127.0.0.1")
        return self.gateway.handle(self.gateway.receive(request))


def history() -> list[bytes]:
    """Trade both venues over a settlement and return every answer."""
    desk, answers = Desk(), []
    for number in range(12):
        side = "BUY" if number % 3 else "SELL"
        order: Mapping[str, Any] = {
            "symbol": "BTCUSDT",
            "side": side,
            "type": "MARKET",
            "quantity": "0.05",
            "newClientOrderId": f"c{number}",
        }
        for path in ("/api/v3/order", "/fapi/v1/order"):
            answers.append(desk.send("POST", path, **order).body)
            desk.clock.move(1)
    reads = ("/fapi/v1/income", "/fapi/v3/account", "/fapi/v1/premiumIndex")
    return answers + [desk.send("GET", path).body for path in reads]


def test_the_same_inputs_give_the_same_history() -> None:
    """Byte for byte, funding at the settlement included."""
    first = history()
    assert first == history()
    kinds = {row["incomeType"] for row in json.loads(first[-3])}
    assert kinds == {"COMMISSION", "REALIZED_PNL", "FUNDING_FEE"}


def test_a_dropped_request_never_reaches_the_venue() -> None:
    """The plan says so before anything is done."""
    desk = Desk()
    rule = {"id": "d", "action": {"type": "drop_before"}}
    desk.simulation.faults.add([FaultRule.model_validate(rule)])
    plan = desk.gateway.receive(Request("GET", "/api/v3/time", "", "", None, "127.0.0.1"))
    assert plan.drops_before
    assert not plan.drops_after


def test_only_realized_money_leaves_the_futures_wallet() -> None:
    """Unrealized profit frees margin, but more than the wallet holds cannot be transferred."""
    desk = Desk()
    account = desk.simulation.exchange.accounts.all()[0]
    wallet = account.futures.balance("USDT")
    mark = desk.simulation.market.mark("BTCUSDT")
    now = desk.simulation.market.now()
    apply(account.futures.position("BTCUSDT", PositionSide.BOTH), Decimal(1), mark / 2, now)
    over = {"type": "UMFUTURE_MAIN", "asset": "USDT"}
    reply = desk.send("POST", "/sapi/v1/asset/transfer", **over, amount=wallet + 1)
    assert json.loads(reply.body)["code"] == -5013
    told: list[Event] = []
    desk.simulation.exchange.listeners.append(told.append)
    assert desk.send("POST", "/sapi/v1/asset/transfer", **over, amount=wallet).status == 200
    changes = [event.change for event in told if isinstance(event, WalletEvent)]
    assert changes == [-wallet, wallet]
    assert account.futures.balance("USDT") == 0


def test_the_gateway_runs_without_aiohttp() -> None:
    """A fresh interpreter loads the venue and not the web framework."""
    code = "import sys, services.simulator.gateway as g; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_core_imports_neither_asyncio_nor_a_clock() -> None:
    """Decisions take time and chance from outside."""
    for file in CORE.glob("*.py"):
        names: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").partition(".")[0])
        assert not names & {"asyncio", "aiohttp", "time", "logging", "uuid"}, file.name
