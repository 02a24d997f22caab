"""One principal floods the engine with good and bad calls while exits and halts pass."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cli.demo.stack import LocalStack
from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc
from services.common.channels import open_channel
from tests.support.engine_flood import end_of_flood, flooding
from tests.support.fault_row import Tell, fault_options, tell_row
from tests.support.lab_stack import driving
from tests.support.stack import CLOSED, StackDriver
from tests.support.stack_cases import Position
from tests.support.wire_stage import Latencies

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
FLOODER = "token-of-the-flooder-0123456789"
AT_ONCE, CALLS = 48, 100
AT_MOST_SECONDS = 90.0
"""The flood goes on until the calls beside it are made, however slow the machine is."""


def _halt(stub: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: stub.Halt(engine_pb2.HaltRequest(request_id=str(uuid.uuid4()), reason="flood"))


def _exit(stub: Any, position: Position) -> Callable[[], Awaitable[Any]]:
    return lambda: stub.CloseHedgedPosition(
        engine_pb2.CloseHedgedPositionRequest(
            request_id=str(uuid.uuid4()), position_id=position.position_id
        )
    )


async def lanes(stub: Any, position: Position, prefix: str) -> dict[str, Latencies]:
    """Make exits and halts in turn; return how long each took to be answered, durably."""
    found = {f"{prefix} exit": Latencies(), f"{prefix} halt": Latencies()}
    for _ in range(CALLS):
        await found[f"{prefix} exit"].measure(_exit(stub, position))
        await found[f"{prefix} halt"].measure(_halt(stub))
        await asyncio.sleep(0.01)
    return found


def told(found: dict[str, Latencies]) -> str:
    """Return the p99 of each lane in ms, and that none failed."""
    assert not any(latencies.failed for latencies in found.values()), found
    return ", ".join(f"{name} {one.percentile(0.99):.0f} ms" for name, one in found.items())


async def leave_in_time(stack: StackDriver, positions: list[Position]) -> float:
    """Close positions while halts are on; return after how many seconds all were closed."""
    began = asyncio.get_running_loop().time()
    for position in await asyncio.gather(*map(stack.leave, positions)):
        assert position.state == CLOSED, position
    return asyncio.get_running_loop().time() - began


@asynccontextmanager
async def flooder_stub(stack: StackDriver) -> Any:
    """Yield a stub of the principal that floods, on a connection of its own."""
    address = stack.stack.addresses["engine"]
    async with open_channel(address, token=SecretStr(FLOODER)) as channel:
        yield engine_pb2_grpc.EngineServiceStub(channel)


async def test_exits_and_halts_pass_a_flood(tmp_path: Path, record_property: Tell) -> None:
    """Thousands of calls a second by one principal; its own exits and halts pass as well."""
    token = tmp_path / "flooder"
    token.write_text(FLOODER + "\n", encoding="ascii")
    flooder = {"name": "flooder", "roles": ["operator"], "token_file": token}
    options = fault_options()
    engine = {**options.tables["engine"], "grpc": {"principals": [flooder]}}
    options = replace(options, tables={**options.tables, "engine": engine})
    async with driving(LocalStack(tmp_path, options)) as stack:
        done = await stack.leave(await stack.enter("BNBUSDT"))
        open_ones = [await stack.enter(symbol) for symbol in ("ADAUSDT", "BTCUSDT", "ETHUSDT")]
        quiet = await lanes(stack.engine, done, "quiet")
        plan = {
            "address": stack.stack.addresses["engine"],
            "token": FLOODER,
            "at_once": AT_ONCE,
            "seconds": AT_MOST_SECONDS,
        }
        async with flooding(plan) as flood:
            took = await leave_in_time(stack, open_ones)
            async with flooder_stub(stack) as own:
                others, its_own = await asyncio.gather(
                    lanes(stack.engine, done, "others'"), lanes(own, done, "its own")
                )
            counts, seconds = await end_of_flood(flood)
        books = await stack.books()
        assert books.positions == {}
        assert books.duplicate_ids == ()
    codes = Counter[str]()
    for name, count in counts.items():
        codes[name.rpartition(" ")[2]] += count
    assert not {"UNKNOWN", "INTERNAL"} & set(codes), counts
    rate = sum(codes.values()) / seconds
    tell_row(
        record_property,
        "flood",
        f"{rate:.0f} calls a second by one principal, {seconds:.0f} s",
        f"3 exits closed in {took:.1f} s; p99 of {CALLS}: {told({**quiet, **others, **its_own})}; "
        + ", ".join(f"{name} {count}" for name, count in sorted(codes.items())),
    )
