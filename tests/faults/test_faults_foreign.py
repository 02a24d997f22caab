"""Rows 23, 24, 27 and 42: rows that are another's, clocks that differ, connections that fail."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.common.call_errors import translated
from services.common.errors import InvalidFieldError, RejectedError, UnreachableError
from services.connector.exchange_factory import rewrite_urls
from tests.support.certificates import CertificateAuthority
from tests.support.connector import connector_part, decimal, order, running_connector
from tests.support.fault_bench import (
    FENCE_SECONDS,
    QUANTITY,
    VENUES,
    Cell,
    FaultBench,
    executed_of,
)
from tests.support.simulator import Control, running_simulator
from tests.support.venue_bodies import order_reply

BAD_NUMBERS = ["NaN", "Infinity", "-1", "1e5", "0x10", "", "1_000", "\u0661", "9" * 60]
"""What venues have sent in the place of an executed quantity, and what they might."""


@pytest.mark.fault(23, "another order's row answers the question")
async def test_row_23(bench: FaultBench, cell: Cell) -> None:
    """It is no evidence: the order that was lost is proven not to have arrived."""
    await bench.silence_events()
    await bench.fault({"type": "drop_before"}, "place_order", times=1)
    body = order_reply(bench.venue, "somebodyelses")
    await bench.fault({"type": "http_status", "status": 200, "body": body}, "get_order", times=3)
    with pytest.raises(RejectedError) as lost:
        await bench.place("mine1")
    assert lost.value.reason == "ORDER_NOT_ARRIVED"
    await cell.settle(bench, orders=0, filled=0, arrived=1)


@pytest.mark.fault(23, "another order's row answers the placing")
async def test_row_23_reply(bench: FaultBench, cell: Cell) -> None:
    """Its fill is not taken for ours; the order's own is found."""
    body = order_reply(bench.venue, "somebodyelses", executed="0.005", status="CANCELED")
    await bench.fault(
        {"type": "http_status", "status": 200, "body": body, "when": "after"}, "place_order"
    )
    assert executed_of(await bench.place("mine2")) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


class ShiftedClock:
    """The machine's clock, so much ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        """Return the shifted time."""
        return datetime.now(UTC) + self._ahead


@pytest.mark.fault(24, "venue's clock a minute ahead or behind")
@pytest.mark.parametrize("seconds", [-60, 60])
@pytest.mark.parametrize("venue", VENUES)
async def test_row_24_skew(venue: str, seconds: int, tmp_path: Path, cell: Cell) -> None:
    """Requests are stamped by the venue's clock; the fence runs on ours."""
    async with running_simulator(wire=ShiftedClock(timedelta(seconds=seconds))) as simulator:
        part = connector_part(venue, simulator.address, tmp_path)
        async with running_connector(part) as connector:
            bench = FaultBench(venue, simulator.address, connector.stub, Control(simulator.address))
            assert executed_of(await bench.place("skew1")) == QUANTITY
            await bench.fault({"type": "drop_before"}, "place_order", times=1)
            started = asyncio.get_running_loop().time()
            with pytest.raises(RejectedError) as lost:
                await bench.place("skew2")
            assert lost.value.reason == "ORDER_NOT_ARRIVED"
            assert asyncio.get_running_loop().time() - started >= FENCE_SECONDS
            cell.venue = venue
            await cell.settle(bench, orders=1, filled=QUANTITY, arrived=2)


@asynccontextmanager
async def stranger(folder: Path) -> AsyncIterator[int]:
    """Serve TLS with a certificate nobody trusts; yields the port."""
    files = CertificateAuthority(folder, "stranger").issue("venue")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def refuse_names(*_names: object, **_options: object) -> Any:
    """Fail as a resolver does that finds no address."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.fault(27, "no address, no connection, wrong certificate")
@pytest.mark.parametrize("kind", ["name", "port", "certificate"])
@pytest.mark.parametrize("venue", VENUES)
async def test_row_27(
    venue: str, kind: str, tmp_path: Path, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a connection nothing was sent: definite, and the id stays free."""
    async with running_simulator() as simulator, stranger(tmp_path) as strange_port:
        part = connector_part(venue, simulator.address, tmp_path)
        async with running_connector(part) as connector:
            bench = FaultBench(venue, simulator.address, connector.stub, Control(simulator.address))
            assert connector.servicer is not None
            trading = connector.servicer._orders.venue.trading
            kept = trading.urls["api"]
            wrong = {
                "name": "http://venue.invalid",
                "port": "http://127.0.0.1:1",
                "certificate": f"https://127.0.0.1:{strange_port}",
            }
            trading.urls["api"] = rewrite_urls(kept, wrong[kind])
            with monkeypatch.context() as patched:
                if kind == "name":
                    patched.setattr(asyncio.get_running_loop(), "getaddrinfo", refuse_names)
                with pytest.raises(UnreachableError) as refused:
                    await bench.place("nowhere1")
            assert refused.value.reason == "VENUE_UNREACHABLE"
            trading.urls["api"] = kept
            assert executed_of(await bench.place("nowhere1")) == QUANTITY
            cell.venue = venue
            await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(42, "no plain number in the venue's answer")
async def test_row_42_venue(bench: FaultBench, cell: Cell) -> None:
    """A row that cannot be read is no evidence; the next one is."""
    # The first order reads the venue's own list, which is not the question meant here.
    await bench.place("first1")
    await bench.silence_events()
    for count, text in enumerate(BAD_NUMBERS, start=1):
        name = f"odd{count}"
        body = order_reply(bench.venue, name, executed=text)
        await bench.fault({"type": "drop_after"}, "place_order", times=1)
        await bench.fault(
            {"type": "http_status", "status": 200, "body": body}, "get_order", times=1
        )
        assert executed_of(await bench.place(name)) == QUANTITY, text
    sent = 1 + len(BAD_NUMBERS)
    await cell.settle(bench, orders=sent, filled=sent * QUANTITY, arrived=sent)


@pytest.mark.fault(42, "no plain number in the request")
async def test_row_42_request(bench: FaultBench, cell: Cell) -> None:
    """Refused by the name of the field; nothing is sent and no id is spent."""
    for text in ["NaN", "Infinity", "-1", "0", "-0", "1e999999", "1_000", "+1", " 1", "\u0661", ""]:
        for field in ("quantity", "price", "worst_price", "slippage_bound_ratio"):
            request = order(client_order_id="bad1")
            getattr(request, field).CopyFrom(decimal(text))
            with pytest.raises(InvalidFieldError) as refused, translated():
                await bench.stub.PlaceOrder(request, timeout=8)
            assert refused.value.field == field, text
    await cell.settle(bench, orders=0, filled=0, arrived=0)
