"""Limits at the last hop, over the wire: nothing is sent that passes them, and exits go on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from cli.session import Session
from cli.settings import ArbSettings
from cli.venue_halt import halt_venue, resume_venue
from opensqt.market_maker.v1 import trading_state_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import InvalidFieldError, OpensqtError
from services.common.settings import VenueSettings
from services.connector.limits_settings import LimitsPart
from tests.support.connector import (
    BUY,
    LIMIT,
    SELL,
    best_prices,
    eventually,
    order,
    patient_part,
    running_connector,
)
from tests.support.simulator import Control, running_simulator

FILLED = types_pb2.ORDER_STATUS_FILLED
ENTRY, EXIT = types_pb2.ORDER_CLASS_ENTRY, types_pb2.ORDER_CLASS_EXIT
HEDGE = types_pb2.ORDER_CLASS_HEDGE


@dataclass(frozen=True, slots=True)
class Bench:
    """A running connector and the venue's books."""

    stub: Any
    control: Control
    halt_file: Path
    registry: CollectorRegistry

    async def place(self, side: Any = BUY, quantity: str = "0.01", **fields: Any) -> str:
        """Place an order, an entry unless told; return its status or the reason of the refusal."""
        wanted = order(side, quantity, **{"order_class": ENTRY, **fields})
        try:
            with translated():
                placed = await self.stub.PlaceOrder(wanted, timeout=5)
        except OpensqtError as error:
            return error.reason
        return types_pb2.OrderStatus.Name(placed.status).removeprefix("ORDER_STATUS_")

    async def sent(self) -> int:
        """Return how many order requests reached the venue."""
        return len(await self.control.get("requests"))

    async def state(self) -> trading_state_pb2.TradingState:
        """Return the connector's own word."""
        request = trading_state_pb2.GetTradingStateRequest()
        found: trading_state_pb2.TradingState = (await self.stub.GetTradingState(request)).state
        return found

    def shown(self) -> float | None:
        """Return what a scrape is told of the halt, 1 for halted."""
        return self.registry.get_sample_value("opensqt_connector_trading_halted")

    async def change(self, *, halt: bool, reason: str = "a test") -> None:
        """Halt or resume."""
        if halt:
            await self.stub.HaltTrading(trading_state_pb2.HaltTradingRequest(reason=reason))
        else:
            request = trading_state_pb2.ResumeTradingRequest(reason=reason, changed_by="anna")
            await self.stub.ResumeTrading(request)


def bench_on(
    simulator: str, folder: Path, code: str, **limits: Any
) -> AbstractAsyncContextManager[Bench]:
    """Run a connector with limits on a simulator."""

    @asynccontextmanager
    async def run() -> AsyncIterator[Bench]:
        part = patient_part(code, simulator, folder, limits=LimitsPart(**limits))
        async with running_connector(part) as connector:
            halt_file = folder / f"{code}.ledger.halt"
            assert connector.registry is not None
            yield Bench(connector.stub, Control(simulator), halt_file, connector.registry)

    return run()


@pytest.fixture
async def simulator() -> AsyncIterator[str]:
    """Run a simulator; return its address."""
    async with running_simulator() as running:
        yield running.address


async def test_a_halt_outlives_the_connector_and_lets_exits_through(
    simulator: str, tmp_path: Path
) -> None:
    """Nothing is sent for an entry and its id stays free; sales of what is held are filled."""
    async with bench_on(simulator, tmp_path, "binance") as bench:
        assert await bench.place() == "FILLED"
        await bench.change(halt=True, reason="odd fills")
        assert await bench.place(client_order_id="later1") == "TRADING_HALTED"
        assert await bench.place(SELL, order_class=EXIT) == "FILLED"
        assert await bench.sent() == 2
    async with bench_on(simulator, tmp_path, "binance", completing_seconds=0) as bench:
        state = await bench.state()
        assert (state.halted, state.reason, state.changed_by) == (True, "odd fills", "caller")
        assert await bench.place() == "TRADING_HALTED"
        # The class is a word, and its time is over: what is bought is exposure.
        assert await bench.place(order_class=EXIT) == "TRADING_HALTED"
        assert await bench.place(SELL, order_class=EXIT) == "FILLED"
        assert await bench.sent() == 3
        await bench.change(halt=False)
        assert await bench.place(client_order_id="later1") == "FILLED"
        assert (await bench.state()).changed_by == "anna"


async def test_the_word_does_not_open_the_way_but_the_ledger_does(
    simulator: str, tmp_path: Path
) -> None:
    """Halted for long, a perpetual sale without reduce-only takes back what was bought, no more."""
    async with bench_on(simulator, tmp_path, "binanceusdm", completing_seconds=0) as bench:
        assert await bench.place(quantity="0.02") == "FILLED"
        await bench.change(halt=True)
        for name in (HEDGE, EXIT):
            assert await bench.place(SELL, "0.03", order_class=name) == "TRADING_HALTED"
            assert await bench.place(SELL, "0.01", order_class=name) == "FILLED"
            assert await bench.place(BUY, "0.01", order_class=name) == "TRADING_HALTED"
        assert await bench.place(SELL, "0.01", order_class=EXIT) == "TRADING_HALTED"
        assert await bench.sent() == 3


async def test_a_halt_file_that_goes_or_breaks_is_a_halt_until_it_is_resumed(
    simulator: str, tmp_path: Path
) -> None:
    """While it runs and at the start; a repeat of an order that was sent is answered all along."""
    async with bench_on(simulator, tmp_path, "binanceusdm") as bench:
        assert await bench.place(client_order_id="kept1") == "FILLED"
        assert bench.shown() == 0
        bench.halt_file.unlink()
        # Before any order is refused for it: the alert does not wait for one.
        assert bench.shown() == 1
        assert await bench.place() == "TRADING_HALTED"
        assert "missing" in (await bench.state()).reason
        await bench.change(halt=False)
        assert bench.shown() == 0
        assert await bench.place() == "FILLED"
    bench.halt_file.write_text("{")
    async with bench_on(simulator, tmp_path, "binanceusdm") as bench:
        assert await bench.place() == "TRADING_HALTED"
        assert await bench.place(SELL, reduce_only=True) == "FILLED"
        assert await bench.place(client_order_id="kept1") == "FILLED"
        assert await bench.sent() == 3


async def test_size_band_symbol_and_rate_are_kept_at_the_last_hop(
    simulator: str, tmp_path: Path
) -> None:
    """What passes a limit is not sent; the price that judges is the venue's own mark."""
    limits = {
        "symbols": ("BTCUSDT",),
        "max_quantity": {"BTCUSDT": Decimal("0.02")},
        "price_band_ratio": Decimal("0.05"),
        "opening_orders_per_second": 1,
    }
    async with bench_on(simulator, tmp_path, "binanceusdm", **limits) as bench:
        _, ask = await best_prices(bench.stub)
        near, far = (str(round(ask * share, 1)) for share in (Decimal("1.01"), Decimal("1.06")))
        bounded: dict[str, Any] = {"type": LIMIT, "time_in_force": types_pb2.TIME_IN_FORCE_IOC}

        async def judged() -> bool:
            return await bench.place(price=near, **bounded) == "FILLED"

        await eventually(judged)
        assert await bench.place(price=near, **bounded) == "OPENING_RATE_EXCEEDED"
        assert await bench.place(price=far, **bounded) == "PRICE_OUTSIDE_BAND"
        assert await bench.place() == "PRICE_OUTSIDE_BAND"
        assert await bench.place(price=near, quantity="0.021", **bounded) == "ORDER_TOO_LARGE"
        assert await bench.place(symbol="ETHUSDT", quantity="0.1") == "SYMBOL_NOT_ALLOWED"
        assert await bench.place(SELL, reduce_only=True) == "FILLED"
        assert await bench.sent() == 2


@pytest.mark.parametrize("code", ["binance", "binanceusdm"])
async def test_without_fresh_prices_nothing_opens_and_exits_go_on(
    simulator: str, tmp_path: Path, code: str
) -> None:
    """The venue stops telling prices: after a second entries are refused, an exit is filled."""
    limits = {"max_notional": Decimal(1_000_000), "reference_max_age_seconds": 1}
    async with bench_on(simulator, tmp_path, code, **limits) as bench:

        async def opens() -> bool:
            return await bench.place() == "FILLED"

        async def stale() -> bool:
            return await bench.place() == "REFERENCE_PRICE_STALE"

        await eventually(opens)
        for path in ("/fapi/v1/premiumIndex", "/api/v3/ticker/24hr"):
            await bench.control.post(
                "faults",
                [
                    {
                        "id": path,
                        "match": {"path": path},
                        "action": {"type": "http_status", "status": 500},
                    }
                ],
            )
        await eventually(stale)
        reduce: dict[str, Any] = (
            {"reduce_only": True} if code == "binanceusdm" else {"order_class": EXIT}
        )
        assert await bench.place(SELL, **reduce) == "FILLED"


async def test_an_operator_halts_and_resumes_one_venue(
    simulator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `arb halt --venue` and `arb resume --venue` do, and what they print."""
    part = patient_part("binance", simulator, tmp_path)
    async with running_connector(part) as connector:
        venue = VenueSettings(name="binance", kind="spot", address=connector.address)
        session = Session(ArbSettings(connectors=(venue,)), json=True)
        assert await halt_venue(session, "binance", "odd fills") == 0
        halted = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert connector.registry is not None
        bench = Bench(connector.stub, Control(simulator), tmp_path, connector.registry)
        assert await bench.place() == "TRADING_HALTED"
        assert await resume_venue(session, "binance", "explained") == 0
        resumed = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert await bench.place() == "FILLED"
        with pytest.raises(InvalidFieldError, match="known: binance"):
            await halt_venue(session, "okx-swap", "odd fills")
    assert halted["venue"] == resumed["venue"] == "binance"
    assert (halted["trading"]["halted"], halted["trading"]["reason"]) == (True, "odd fills")
    assert (resumed["trading"].get("halted", False), resumed["trading"]["reason"]) == (
        False,
        "explained",
    )
