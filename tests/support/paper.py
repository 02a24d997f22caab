"""Paper trading in tests: a "real venue" on loopback, its mirror, and connectors on that."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from cli.demo.control import SimulatorControl
from cli.demo.stack import LocalStack, StackOptions
from services.connector.settings import ConnectorPart
from services.simulator.app import Application
from services.simulator.bootstrap import make_application
from services.simulator.core.clock import WireClock
from services.simulator.gateway import Reply, Request
from services.simulator.market.source import Kind
from services.simulator.settings import SimulatorSettings
from tests.support.connector import eventually
from tests.support.simulator import Control, simulator_settings

SIGNED = ("signature", "timestamp", "listenkey")


# Not frozen: the log grows.
@dataclass(slots=True)
class RequestLog:
    """What reached the real venue."""

    requests: list[Request] = field(default_factory=list)

    def note(self, request: Request, reply: Reply) -> None:
        """Keep a request."""
        del reply
        self.requests.append(request)

    def forbidden(self) -> list[Request]:
        """Return what a reader of public data never sends: keys, signatures, bodies, orders."""
        return [
            one
            for one in self.requests
            if one.method != "GET"
            or one.api_key is not None
            or one.body
            or any(word in one.query.lower() for word in SIGNED)
            or "order" in one.path.lower()
        ]


@dataclass(frozen=True, slots=True)
class PaperVenue:
    """A mirror and the venue behind it, with the log of what reached that."""

    venue: Application
    paper: Application
    log: RequestLog

    @property
    def control(self) -> Control:
        """The paper venue's own books."""
        return Control(self.paper.address)

    @property
    def control_of_venue(self) -> Control:
        """The real venue's switches, which only a test has."""
        return Control(self.venue.address)

    def part(self, code: str, folder: Path, **changes: Any) -> ConnectorPart:
        """Return the settings of a connector on paper, with a short fence; no keys."""
        values: dict[str, Any] = {
            "exchange": code,
            "paper_url": self.paper.url,
            "ledger_path": folder / f"{code}-paper.ledger",
            "recv_window_ms": 800,
            "venue_processing_seconds": 0.3,
            "clock_bound_seconds": 0.1,
            "request_timeout_seconds": 5.0,
        }
        return ConnectorPart(**{**values, **changes})


def mirror_settings(base_url: str, **changes: Any) -> SimulatorSettings:
    """Return settings of a mirror that is up to date within tenths of a second."""
    mirror: dict[str, Any] = {
        "base_url": base_url,
        "spot": {"USDT": Decimal(50_000_000)},
        "futures": {"USDT": Decimal(50_000_000)},
        "latency_seconds": 0.0,
        "stale_seconds": 1.0,
        "follow_seconds": 0.05,
        "price_seconds": 0.1,
        "request_timeout_seconds": 1.0,
    }
    values: dict[str, Any] = {
        "mirror": {**mirror, **changes},
        "rules": {"tick_seconds": 0.02, "processing_bound_seconds": 1.0},
    }
    return SimulatorSettings(**values)


@contextlib.asynccontextmanager
async def paper_venue(
    venue_settings: SimulatorSettings | None = None, wire: WireClock | None = None, **changes: Any
) -> AsyncIterator[PaperVenue]:
    """Run a venue and its mirror in this process, on one clock, while the block lasts."""
    log = RequestLog()
    settings = venue_settings or simulator_settings()
    async with make_application(settings, wire=wire, witness=log.note) as venue:  # noqa: SIM117
        # the second needs the address that the first was given
        async with make_application(mirror_settings(venue.url, **changes), wire=wire) as paper:
            market = paper.simulation.market

            async def is_read() -> bool:
                return all(market.instruments(kind) for kind in Kind)

            await eventually(is_read)
            yield PaperVenue(venue, paper, log)


class PaperStack(LocalStack):
    """The whole system on paper: its simulator mirrors a venue that runs elsewhere."""

    def __init__(self, directory: Path, options: StackOptions, venue_url: str) -> None:
        super().__init__(directory, options)
        self._venue_url = venue_url

    def simulator_table(self) -> dict[str, Any]:
        """Return the tables of the mirror: no account, no key, no market of its own."""
        options = self.options
        return {
            "mirror": {
                "base_url": self._venue_url,
                "spot": options.spot_balances,
                "futures": options.futures_balances,
                # a faster pace would use up the weight that the mirror allows itself
                "price_seconds": 1.0,
                "follow_seconds": 0.5,
                "stale_seconds": 3.0,
            },
            "rules": {"processing_bound_seconds": options.processing_bound_seconds},
        }

    def connector_table(self, venue: str) -> dict[str, Any]:
        """Return the tables of a connector: the paper venue in place of address and keys."""
        table = super().connector_table(venue)["connector"]
        kept = {name: table[name] for name in table if not name.startswith(("api_", "base_url"))}
        return {"connector": {**kept, "paper_url": f"http://{self.addresses['simulator']}"}}


async def paper_holdings(control: SimulatorControl) -> dict[str, Decimal]:
    """Return what the paper account holds of coins and perpetuals, by the paper venue's books."""
    held: dict[str, Decimal] = {}
    for account in await control.get("balances"):
        held |= {name: Decimal(amount) for name, amount in account["spot"].items()}
    for row in await control.get("positions"):
        held[f"{row['symbol']} perpetual"] = Decimal(row["quantity"])
    return {name: amount for name, amount in held.items() if amount and name != "USDT"}
