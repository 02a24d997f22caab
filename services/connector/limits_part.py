"""The limits of one connector, put together for the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.connector.limits_guard import LimitsGuard
from services.connector.limits_prices import ReferencePrices, read_reference_prices
from services.connector.trading_halt import TradingHalt

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from services.common.clock import Clock
    from services.connector.data_part import DataPart
    from services.connector.ledger import Ledger
    from services.connector.limits_guard import RefusalCounter
    from services.connector.limits_settings import LimitsPart


@dataclass(frozen=True, slots=True)
class Limits:
    """The guard, and the prices it judges by."""

    guard: LimitsGuard
    prices: ReferencePrices
    needs_prices: bool

    def errands(self, data: DataPart) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Return what must run beside the orders: the reading of prices, where a limit needs it."""
        if not self.needs_prices:
            return []

        async def keep_prices() -> None:
            await self.prices.keep(lambda: read_reference_prices(data))

        return [keep_prices]


def halt_path(ledger_path: Path) -> Path:
    """Return where the halt file of a ledger is: beside it."""
    return ledger_path.with_name(f"{ledger_path.name}.halt")


def build_limits(
    settings: LimitsPart,
    ledger_path: Path,
    ledger: Ledger,
    clock: Clock,
    counter: RefusalCounter,
) -> Limits:
    """Compose the guard of an open ledger, and make the halt file of one that is new."""
    halt = TradingHalt(halt_path(ledger_path), clock)
    # Never beside an older or a replaced ledger: there a missing file is somebody's doing.
    if ledger.is_first:
        halt.create()
    limits = settings.order_limits()
    prices = ReferencePrices(clock, settings.reference_max_age_seconds)
    guard = LimitsGuard(limits, settings.guard_options(), halt, prices, clock, counter)
    return Limits(guard, prices, limits.needs_reference)
