"""A simulator that acts after a fixed time and writes down when orders came and when it acted.

`read_moments` reads what was written when it ended; the matching and the books are the simulator's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.processes import write_address
from benchmarks.witnessed_venue import API_KEY, API_SECRET
from services.common.run import run_service
from services.simulator.bootstrap import make_application
from services.simulator.core.faults import Delay, FaultRule
from services.simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    from services.simulator.app import Application
    from services.simulator.gateway import Plan, Reply, Request

_ORDER_PATHS: Final = ("/api/v3/order", "/fapi/v1/order")
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Moment:
    """When a request for an order reached the venue and when the venue acted on it, seconds."""

    arrived: float
    acted: float


class _Moments:
    """Arrivals and acts by client order id, on the monotonic clock."""

    def __init__(self) -> None:
        self._arrived: dict[str, int] = {}
        self._acted: dict[str, int] = {}

    def watch(self, application: Application) -> None:
        """Note arrivals from now on: the gateway looks at a request as soon as it is read."""
        gateway: Any = application.gateway
        receive = gateway.receive

        def received(request: Request) -> Plan:
            at = time.perf_counter_ns()
            plan: Plan = receive(request)
            if _is_order(request):
                self._arrived[_order_id(request)] = at
            return plan

        gateway.receive = received

    def acted(self, request: Request, _reply: Reply) -> None:
        """Note that the venue has acted."""
        if _is_order(request):
            self._acted[_order_id(request)] = time.perf_counter_ns()

    def write(self, path: Path) -> None:
        """Write all of it as one JSON object."""
        rows = {key: [self._arrived[key] / 1e9, acted / 1e9] for key, acted in self._acted.items()}
        path.write_text(json.dumps(rows))


def _is_order(request: Request) -> bool:
    return request.method == "POST" and request.path in _ORDER_PATHS


def _order_id(request: Request) -> str:
    text = request.query + "&" + request.body
    return text.partition("newClientOrderId=")[2].partition("&")[0]


def read_moments(path: Path) -> dict[str, Moment]:
    """Return the moments of each order by its id."""
    return {key: Moment(*row) for key, row in json.loads(path.read_text()).items()}


def simulator_settings(symbol_count: int) -> SimulatorSettings:
    """Return a generated market with one rich account and books that fill up at once."""
    account: dict[str, Any] = {
        "name": "bench",
        "api_key": API_KEY,
        "api_secret": API_SECRET,
        "spot": {"USDT": 1_000_000},
        "margin": {"USDT": 1_000_000},
        "futures": {"USDT": 1_000_000},
    }
    return SimulatorSettings(
        accounts=(account,),
        market={
            "symbol_count": symbol_count,
            "seed": _SEED,
            # In mid-hour, so that nothing settles.
            "start": "2026-03-20T00:05:00Z",
        },
        rules={"limits": False, "replenish_seconds": 0.05, "processing_bound_seconds": 0.5},
    )


async def serve_venue(
    stop: asyncio.Event, ready: Path, record: Path, symbol_count: int, seconds: float
) -> None:
    """Serve until `stop` is set, acting after `seconds`; the address goes into `ready`."""
    moments = _Moments()
    application = make_application(simulator_settings(symbol_count), witness=moments.acted)
    delay = Delay(type="delay", seconds=seconds)
    application.simulation.faults.add([FaultRule(id="response-time", action=delay)])
    moments.watch(application)
    async with application:
        write_address(ready, application.address)
        await stop.wait()
    moments.write(record)


def main() -> int:
    """Run the venue until it is told to stop; return the exit code."""
    parser = argparse.ArgumentParser(description="A simulator that notes when orders came.")
    parser.add_argument("--ready", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--symbols", type=int, required=True)
    parser.add_argument("--response-seconds", type=float, required=True)
    chosen = parser.parse_args()
    return run_service(
        lambda stop: serve_venue(
            stop, chosen.ready, chosen.record, chosen.symbols, chosen.response_seconds
        )
    )


if __name__ == "__main__":
    sys.exit(main())
