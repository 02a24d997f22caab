"""A simulator that answers after a fixed time and writes down every answer it gave.

Limits, weights and bodies are the simulator's own. `read_answers` reads what was written down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from benchmarks.processes import write_address
from services.common.run import run_service
from services.simulator.bootstrap import make_application
from services.simulator.core.faults import Delay, FaultRule
from services.simulator.dialects.binance_usdm_funding import settlements_page
from services.simulator.gateway import Request
from services.simulator.market.source import Kind
from services.simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    from services.simulator.app import Application
    from services.simulator.core.market import Market
    from services.simulator.gateway import Reply
    from services.simulator.http import Witness
    from services.simulator.simulation import Simulation

API_KEY: Final = "bench-key"
API_SECRET: Final = "bench-secret"  # noqa: S105 - of a venue that lasts one run
_HISTORY: Final = timedelta(days=32)
_JUDGED: Final = timedelta(days=7)
_CANDLE_COUNT: Final = 200
# What the simulator keeps of finished candles, and a scan does not ask for more than twice twenty.
_PREPARED_COUNT: Final = 170
_BULK_PATHS: Final = ("/api/v3/ticker/24hr", "/fapi/v1/ticker/24hr", "/fapi/v1/premiumIndex")
# Kept alive and checked by connectors whether or not anybody scans.
_BESIDE_SCANS: Final = ("/ping", "/time", "/listenKey", "/userDataStream")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the venue answered once: the path asked, the HTTP status, the weight and the body."""

    path: str
    status: int
    body: bytes

    @property
    def is_of_scan(self) -> bool:
        """Whether a scan may have asked for it, not the upkeep of a connector."""
        return not self.path.endswith(_BESIDE_SCANS)


def _writing(file: BinaryIO) -> Witness:
    """Return what writes one line about an answer and its body behind it."""

    def write(request: Request, reply: Reply) -> None:
        head = {"path": request.path, "status": reply.status, "size": len(reply.body)}
        file.write(json.dumps(head).encode() + b"\n" + reply.body)

    return write


def read_answers(record: Path, start: int = 0) -> list[Answer]:
    """Return the answers written down from byte `start` of the record on."""
    answers = []
    with record.open("rb") as file:
        file.seek(start)
        while head := file.readline():
            told = json.loads(head)
            answers.append(Answer(told["path"], told["status"], file.read(told["size"])))
    return answers


def simulator_settings(symbol_count: int) -> SimulatorSettings:
    """Return a generated market with one account, of the hour before, so that none settles."""
    # Bybit stamps its rows with the wire's clock: a market of another day has no history there.
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    account: dict[str, Any] = {
        "name": "bench",
        "api_key": API_KEY,
        "api_secret": API_SECRET,
        "spot": {"USDT": 100_000},
        "margin": {"USDT": 100_000},
        "futures": {"USDT": 100_000},
    }
    return SimulatorSettings(
        accounts=(account,),
        market={
            "symbol_count": symbol_count,
            "start": hour - timedelta(minutes=55),
            # A venue's own work is not what is measured, yet it shares these cores: in a market
            # that stands still answers about all symbols are made once.
            "speed": 0,
        },
    )


def _make_histories(simulation: Simulation) -> None:
    """Make what a venue has had all along: settlements, ready to be sent, and a day of prices."""
    market = simulation.market
    now = market.now()
    market.source.settlements(None, now - _HISTORY, now, 1, now)
    settlements_page(simulation, now - _HISTORY, now, sys.maxsize)
    for kind in Kind:
        for symbol in market.instruments(kind):
            market.source.day_ticker(kind, symbol, now)
    for symbol in _best_paying(market, now):
        hour = timedelta(hours=1)
        market.source.candles(Kind.PERPETUAL, symbol, hour, None, None, _CANDLE_COUNT, now)


def _best_paying(market: Market, now: datetime) -> list[str]:
    """Return the perpetuals whose candles a scan is likely to ask for: those that paid most."""
    paid: dict[str, float] = defaultdict(float)
    for each in market.source.settlements_between(now - _JUDGED, now):
        paid[each.symbol] += abs(float(each.rate))
    return sorted(paid, key=paid.__getitem__, reverse=True)[:_PREPARED_COUNT]


def _make_bulk_answers(application: Application) -> None:
    """Make the answers about all symbols, which a venue has ready."""
    for path in _BULK_PATHS:
        request = Request("GET", path, "", "", None, "127.0.0.254")
        application.gateway.handle(application.gateway.receive(request))


async def serve_venue(
    stop: asyncio.Event, ready: Path, record: Path, symbol_count: int, seconds: float
) -> None:
    """Serve until `stop` is set, answering after `seconds`; the address goes into `ready`."""
    # Unbuffered: a reader finds whole answers, never the half of one.
    with record.open("wb", buffering=0) as file:
        application = make_application(simulator_settings(symbol_count), witness=_writing(file))
        delay = Delay(type="delay", seconds=seconds)
        _make_histories(application.simulation)
        _make_bulk_answers(application)
        application.simulation.faults.add([FaultRule(id="response-time", action=delay)])
        async with application:
            write_address(ready, application.address)
            await stop.wait()


def main() -> int:
    """Run the venue until it is told to stop; return the exit code."""
    parser = argparse.ArgumentParser(description="A simulator that writes down its answers.")
    parser.add_argument("--ready", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--symbols", type=int, required=True)
    parser.add_argument("--response-seconds", type=float, default=0.05)
    chosen = parser.parse_args()
    return run_service(
        lambda stop: serve_venue(
            stop, chosen.ready, chosen.record, chosen.symbols, chosen.response_seconds
        )
    )


if __name__ == "__main__":
    sys.exit(main())
