"""Commissions: spot takes them from what is received, perpetuals from the settle asset."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from services.simulator.core.money import up8
from services.simulator.core.orders import Product, Side
from services.simulator.market.source import InstrumentSpec


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Commission rates as fractions of what is traded."""

    spot_maker: Decimal = Decimal("0.001")
    spot_taker: Decimal = Decimal("0.001")
    perpetual_maker: Decimal = Decimal("0.0002")
    perpetual_taker: Decimal = Decimal("0.0005")

    def rate(self, product: Product, *, is_maker: bool) -> Decimal:
        """Return the rate of one fill."""
        if product is Product.PERPETUAL:
            return self.perpetual_maker if is_maker else self.perpetual_taker
        return self.spot_maker if is_maker else self.spot_taker


@dataclass(frozen=True, slots=True)
class Fee:
    """An amount and the asset it is taken in."""

    amount: Decimal
    asset: str


def commission(
    schedule: FeeSchedule,
    spec: InstrumentSpec,
    product: Product,
    side: Side,
    price: Decimal,
    quantity: Decimal,
    *,
    is_maker: bool,
) -> Fee:
    """Return the commission of one fill: base coin on a spot buy, quote on a spot sell."""
    rate = schedule.rate(product, is_maker=is_maker)
    if product is Product.PERPETUAL:
        # rounded up: the venue never gives away a fraction of a fee
        return Fee(up8(price * quantity * rate), spec.settle_asset or spec.quote_asset)
    # why a hedge must be sized to the net quantity and not to the executed one
    if side is Side.BUY:
        return Fee(up8(quantity * rate), spec.base_asset)
    return Fee(up8(price * quantity * rate), spec.quote_asset)
