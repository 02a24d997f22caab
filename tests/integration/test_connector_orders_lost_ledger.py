"""A ledger file that is gone: on no venue is an id of before sent again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import types_pb2
from services.common.call_errors import translated
from services.common.errors import AlreadyExistsError
from tests.support.connector import BUY, SELL, connector_part, number, order, running_connector
from tests.support.simulator import Control, running_simulator


def lose_ledger(path: Path) -> None:
    """Delete a ledger with its write-ahead log; what else lies beside it stays."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


@pytest.mark.parametrize("code", ["binance", "binanceusdm", "okx-swap", "bybit-linear"])
async def test_ids_of_a_lost_ledger_are_not_sent_again(code: str, tmp_path: Path) -> None:
    """Entry and exit of before are returned as they were, under any class; a new id goes out."""
    entry: dict[str, Any] = {"client_order_id": "entry1"}
    way_out: dict[str, Any] = {
        "client_order_id": "exit1",
        "order_class": types_pb2.ORDER_CLASS_EXIT,
    }
    async with running_simulator() as simulator:
        part, control = (
            connector_part(code, simulator.address, tmp_path),
            Control(simulator.address),
        )
        async with running_connector(part) as connector:
            first = await connector.stub.PlaceOrder(order(BUY, "0.02", **entry), timeout=5)
            closed = await connector.stub.PlaceOrder(order(SELL, "0.01", **way_out), timeout=5)
        lose_ledger(part.ledger_path)
        async with running_connector(part) as connector:
            again = await connector.stub.PlaceOrder(order(SELL, "0.01", **way_out), timeout=5)
            with pytest.raises(AlreadyExistsError), translated():
                await connector.stub.PlaceOrder(order(BUY, "0.03", **entry), timeout=5)
            repeated = await connector.stub.PlaceOrder(order(BUY, "0.02", **entry), timeout=5)
            sent = len(await control.get("requests"))
            await connector.stub.PlaceOrder(order(BUY, "0.01", client_order_id="new1"), timeout=5)
        assert again.exchange_order_id == closed.exchange_order_id
        assert repeated.exchange_order_id == first.exchange_order_id
        assert number(repeated.executed_qty) == number(first.executed_qty)
        assert sent == 2
        assert len(await control.get("requests")) == 3
