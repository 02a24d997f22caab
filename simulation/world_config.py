"""What a world is made of, by name, and what worlds differ in beside their seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.engine.instruments import InstrumentKind
from services.engine.policy import EngineLimits, EnginePolicy
from simulation.transport_network import LinkFaults

SPOT: Final = "binance"
PERPETUAL: Final = "binanceusdm"
ENGINE: Final = "engine"
KINDS: Final[Mapping[str, InstrumentKind]] = {
    SPOT: InstrumentKind.SPOT,
    PERPETUAL: InstrumentKind.PERPETUAL,
}
"""The venues, each with a connector of its name."""

# Ten levels are more than these positions take; to read fifty is a tenth of a life.
_POLICY: Final = EnginePolicy(funding_read_interval=timedelta(seconds=60), book_depth=10)
_LIMITS: Final = EngineLimits()
_VENUE_LINK: Final = LinkFaults(0.001, 0.02)
_ENGINE_LINK: Final = LinkFaults(0.0001, 0.001)


class DiedError(Exception):
    """The process that was to answer has died."""


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """What worlds may differ in; times in seconds, the fence is the sum of three.

    With `orders_by_stream` the engine keeps an order-entry call open, as its process does.
    `symbol_count` and `market_seed` make the market: the same in all worlds that share them.
    """

    symbol_count: int = 12
    market_seed: int = 7
    recv_window: float = 1.0
    processing: float = 0.5
    clock_bound: float = 0.1
    policy: EnginePolicy = _POLICY
    limits: EngineLimits = _LIMITS
    venue_link: LinkFaults = _VENUE_LINK
    engine_link: LinkFaults = _ENGINE_LINK
    longest_seconds: float = 900.0
    orders_by_stream: bool = True

    @property
    def fence(self) -> float:
        """Return after how many seconds "not found" is proof."""
        return self.recv_window + self.processing + self.clock_bound


def link_to(venue: str) -> str:
    """Return the name of the engine's link to a connector."""
    return f"{ENGINE}-{venue}"
