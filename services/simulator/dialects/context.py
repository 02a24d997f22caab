"""What an endpoint gets and what describes an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from services.simulator.core.accounts import Account
from services.simulator.core.errors import VenueError
from services.simulator.core.limits import Family
from services.simulator.dialects.params import Params
from services.simulator.simulation import Simulation

SPOT_VENUE = "binance"
USDM_VENUE = "binanceusdm"


class Security(StrEnum):
    """What an endpoint asks of the caller."""

    NONE = "NONE"
    KEY = "KEY"
    SIGNED = "SIGNED"


@dataclass(frozen=True, slots=True)
class Context:
    """One authenticated call."""

    simulation: Simulation
    params: Params
    caller: Account | None

    @property
    def account(self) -> Account:
        """Return who calls; raises VenueError -2014 on an endpoint without authentication."""
        if self.caller is None:
            raise VenueError(-2014, "API-key format invalid.", 401)
        return self.caller


Handler = Callable[[Context], object]
# some endpoints cost more without a symbol or with a larger limit
Weight = int | Callable[[Params], int]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One REST endpoint. A handler answers with JSON-able values, or with bytes made beforehand."""

    handler: Handler
    operation: str
    weight: Weight = 1
    security: Security = Security.NONE
    # counted against the account, apart from the weight, which is the address's
    orders: int = 0
    family: Family = Family.SPOT
    venue: str = SPOT_VENUE

    def weight_of(self, params: Params) -> int:
        """Return the request weight of one call."""
        return self.weight if isinstance(self.weight, int) else self.weight(params)


Routes = dict[tuple[str, str], Endpoint]
