"""Paper trading in tests: a "real venue" on loopback, its mirror, and connectors on that."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from services.connector.settings import ConnectorPart
from services.simulator.app import Application
from services.simulator.bootstrap import make_application
from services.simulator.gateway import Reply, Request
from services.simulator.settings import SimulatorSettings
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


@dataclass(slots=True)
class PaperVenue:
    """A mirror and the venue behind it, with the log of what reached that."""

    venue: Application
    paper: Application
    log: RequestLog

    @property
    def control(self) -> Control:
        """The paper venue's own books."""
        return Control(self.paper.address)

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
        "spot": {"USDT": Decimal(100_000)},
        "futures": {"USDT": Decimal(100_000)},
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
    venue_settings: SimulatorSettings | None = None, **changes: Any
) -> AsyncIterator[PaperVenue]:
    """Run a venue and its mirror in this process while the block lasts."""
    log = RequestLog()
    settings = venue_settings or simulator_settings()
    async with make_application(settings, witness=log.note) as venue:  # noqa: SIM117
        # the second needs the address that the first was given
        async with make_application(mirror_settings(venue.url, **changes)) as paper:
            yield PaperVenue(venue, paper, log)
