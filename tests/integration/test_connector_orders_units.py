"""Units on the wire, and a seeded storm of faults: the simulator's books decide."""

from __future__ import annotations

import contextlib
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import exchange_pb2
from services.common.call_errors import translated
from services.common.errors import NotFoundError, OpensqtError
from tests.support.connector import (
    BUY,
    SELL,
    best_prices,
    by_id,
    connector_part,
    number,
    order,
    running_connector,
)
from tests.support.simulator import Control, running_simulator, simulator_settings

REPLIES: list[dict[str, Any] | None] = [
    None,
    {"type": "drop_before"},
    {"type": "drop_after"},
    {"type": "empty_body"},
    {"type": "truncate_body", "bytes": 30, "declared": True},
    {"type": "http_status", "status": 503, "body": "", "when": "after"},
    {"type": "http_status", "status": 500, "body": "", "when": "before"},
    {"type": "late_execution", "seconds": 0.3},
    {"type": "reject", "code": -2010, "msg": "no", "status": 400},
]
FILLS: list[dict[str, Any] | None] = [None, {"type": "partial", "ratio": "0.5"}]
EVENTS: list[dict[str, Any] | None] = [
    None,
    {"type": "event_late", "seconds": 0.4},
    {"type": "event_duplicate"},
    {"type": "event_reorder"},
    {"type": "stream_cut"},
]


async def test_a_thousand_coins_on_the_wire_are_single_coins_here(tmp_path: Path) -> None:
    """An order of coins goes out in thousands at a thousand times the price, and comes back."""
    settings = simulator_settings(market={"symbol_count": 40, "seed": 7})
    async with running_simulator(settings) as simulator:
        part = connector_part("binanceusdm", simulator.address, tmp_path)
        control = Control(simulator.address)
        async with running_connector(part) as connector:
            listed = await connector.stub.GetSymbols(exchange_pb2.GetSymbolsRequest())
            info = next(
                one for one in listed.symbol_infos if one.exchange_symbol.startswith("1000")
            )
            _, ask = await best_prices(connector.stub, info.symbol)
            lots = (Decimal(50) / ask / number(info.step_size)).to_integral_value() + 1
            coins = lots * number(info.step_size)
            placed = await connector.stub.PlaceOrder(
                order(BUY, str(coins), symbol=info.symbol, slippage_bound_ratio="0.02"), timeout=5
            )
        sent = (await control.get("requests"))[-1]["parameters"]
        assert sent["symbol"] == info.exchange_symbol
        assert Decimal(sent["quantity"]) == coins / 1000
        assert Decimal(sent["price"]) / 1000 <= ask * Decimal("1.021")
        assert number(placed.executed_qty) == coins
        assert abs(number(placed.avg_price) / ask - 1) < Decimal("0.02")
        paid = sum(
            Decimal(fill["price"]) * Decimal(fill["quantity"])
            for fill in await control.get("trades")
        )
        assert number(placed.cumulative_quote) == paid


@pytest.mark.parametrize(("code", "seed"), [("binance", 11), ("binanceusdm", 12)])
async def test_a_storm_of_faults_leaves_the_ledger_equal_to_the_books(
    code: str, seed: int, tmp_path: Path
) -> None:
    """After any mix of faults every order is there at most once, with the quantity it has there."""
    draw = random.Random(seed)
    async with running_simulator() as simulator:
        control = Control(simulator.address)
        part = connector_part(code, simulator.address, tmp_path, request_timeout_seconds=0.8)
        names = [f"storm{count}" for count in range(14)]
        async with running_connector(part) as connector:
            for name in names:
                await control.delete("faults")
                await control.post("faults", storm_rules(draw))
                wanted = order(draw.choice([BUY, SELL]), "0.02", client_order_id=name)
                with contextlib.suppress(OpensqtError), translated():
                    await connector.stub.PlaceOrder(wanted, timeout=draw.choice([0.3, 3.0]))
            await control.delete("faults")
            told = {name: await told_quantity(connector.stub, name) for name in names}
        books: dict[str, list[Decimal]] = {name: [] for name in names}
        for row in await control.get("orders"):
            books[row["client_order_id"]].append(Decimal(row["executed"]))
        assert all(len(rows) <= 1 for rows in books.values())
        assert told == {name: sum(rows, Decimal(0)) for name, rows in books.items()}


def storm_rules(draw: random.Random) -> list[dict[str, Any]]:
    """Draw a reply fault, a fill fault and an event fault, each of which may be none."""
    drawn = [
        ("place_order", draw.choice(REPLIES)),
        ("place_order", draw.choice(FILLS)),
        ("order_event", draw.choice(EVENTS)),
    ]
    return [
        {"id": f"storm{index}", "match": {"operation": operation}, "action": action}
        for index, (operation, action) in enumerate(drawn)
        if action is not None
    ]


async def told_quantity(stub: Any, name: str) -> Decimal:
    """Return what the connector says was executed; an order it does not know executed nothing."""
    try:
        with translated():
            return number((await stub.GetOrder(by_id(name), timeout=5)).executed_qty)
    except NotFoundError:
        return Decimal(0)
