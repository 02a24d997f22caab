"""Settings of the limits at the last hop: the table `[connector.limits]`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from services.common.settings_part import SettingsPart
from services.connector.limits import OrderLimits
from services.connector.limits_guard import GuardOptions

Bound = Annotated[Decimal, Field(gt=0, max_digits=36)]


class LimitsPart(SettingsPart):
    """What the connector itself refuses, whoever asks; what is left out is not limited.

    Orders that can only reduce a position are never refused (`services/connector/limits.py` says
    which these are).
    """

    symbols: tuple[str, ...] = ()
    """Canonical symbols that may be opened; empty: all that are served."""
    max_quantity: dict[str, Bound] = Field(default_factory=dict)
    """Largest base quantity of one order, by canonical symbol."""
    max_notional: Bound | None = None
    """Largest value of one order in its quote currency."""
    price_band_ratio: Annotated[Decimal, Field(gt=0, le=1)] | None = None
    """Largest distance of an order's price from the mark price (spot: the last one)."""
    reference_max_age_seconds: float = Field(default=15.0, ge=1, le=3_600)
    """Older prices judge nothing; they are read three times as often."""
    opening_orders_per_second: int | None = Field(default=None, ge=1, le=100_000)
    reduce_only: bool = False
    """Refuse what opens, as a halt does, for as long as the settings say so."""
    completing_seconds: float = Field(default=300.0, ge=0, le=86_400)
    """How long after a halt orders pass that only their class (HEDGE, UNWIND, EXIT) excuses."""

    def order_limits(self) -> OrderLimits:
        """Return the bounds of one order."""
        return OrderLimits(
            symbols=frozenset(self.symbols),
            max_quantity=dict(self.max_quantity),
            max_notional=self.max_notional,
            price_band_ratio=self.price_band_ratio,
        )

    def guard_options(self) -> GuardOptions:
        """Return the bounds beside those of one order."""
        return GuardOptions(
            opening_orders_per_second=self.opening_orders_per_second,
            reduce_only=self.reduce_only,
            completing_seconds=self.completing_seconds,
        )
