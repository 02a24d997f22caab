"""The pool's size over the wire and by `arb workers`."""

from __future__ import annotations

import io
import json
from typing import Any

import grpc.aio
import pytest
from rich.console import Console

from cli import commands
from cli.session import Session
from cli.settings import ArbSettings
from opensqt.market_maker.v1 import scanner_pb2
from services.common.call_errors import from_call_error
from services.common.errors import InvalidFieldError
from services.common.metrics import ServiceMetrics
from services.common.settings import EndpointSettings, VenueSettings
from services.scanner.bootstrap import scanner
from services.scanner.history_store import MemoryHistoryStore
from services.scanner.settings import ScannerSettings
from tests.support.scanner_rig import SUCCEEDED, markets, scanned, scanning


async def resized(stub: Any, count: int) -> tuple[int, int]:
    """Set the number of workers; return those before and now."""
    answer = await stub.ResizePool(scanner_pb2.ResizePoolRequest(worker_count=count))
    return answer.previous_worker_count, answer.worker_count


async def test_pool_is_resized_between_scans_and_refuses_what_it_cannot_be() -> None:
    """Scans go on with any number of workers; none and too many are told with the field."""
    async with scanning(*markets()) as stub:
        assert await resized(stub, 12) == (3, 12)
        assert (await scanned(stub)).state == SUCCEEDED
        assert await resized(stub, 1) == (12, 1)
        assert (await scanned(stub)).state == SUCCEEDED
        for count in (0, -1, 257):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await resized(stub, count)
            error = from_call_error(caught.value)
            assert isinstance(error, InvalidFieldError)
            assert error.field == "worker_count"
        assert await resized(stub, 256) == (1, 256)


async def test_arb_sets_the_number_of_workers() -> None:
    """People read both numbers in a line, programs in JSON."""
    # Nothing is read of the venue, so nobody needs to answer there.
    venue = VenueSettings(name="perpy", kind="perpetual", address="127.0.0.1:1")
    settings = ScannerSettings(venues=(venue,), workers=3)
    store = MemoryHistoryStore()
    async with scanner(settings, ServiceMetrics("scanner"), store=store) as server, server:
        arb = ArbSettings(scanner=EndpointSettings(address=server.address))
        told, plain = io.StringIO(), io.StringIO()
        person = Session(arb, json=False, console=Console(file=told))
        program = Session(arb, json=True, console=Console(file=plain))
        assert await commands.workers(person, 20) == 0
        assert await commands.workers(program, 5) == 0
    assert told.getvalue() == "workers of the scanner: 20 (before: 3)\n"
    assert json.loads(plain.getvalue()) == {"previous_worker_count": 20, "worker_count": 5}
