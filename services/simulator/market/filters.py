"""Filters of a generated instrument: tick, lot and limits that suit its price and turnover."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from services.simulator.market.listing import TRADING
from services.simulator.market.noise import unit
from services.simulator.market.rounding import fraction_digits, nearest, power_of_ten
from services.simulator.market.source import InstrumentSpec, Kind

if TYPE_CHECKING:
    from datetime import datetime

QUOTE_ASSET: Final = "USDT"

# Tick and lot of the two largest markets, as Binance lists them: (perpetual, spot).
_KNOWN_STEPS: Final = {
    "BTC": ((Decimal("0.1"), Decimal("0.001")), (Decimal("0.01"), Decimal("0.00001"))),
    "ETH": ((Decimal("0.01"), Decimal("0.001")), (Decimal("0.01"), Decimal("0.0001"))),
}
_KNOWN_MIN_NOTIONAL: Final = {"BTC": Decimal(100), "ETH": Decimal(20)}
_SMALLEST_TICK_EXPONENT: Final = -8
_MAX_LIMIT_ORDER: Final = 3e6
_MAX_MARKET_ORDER: Final = 8e5


def leverage_limits(day_turnover: float) -> tuple[int, Decimal]:
    """Return the greatest leverage and the maintenance margin ratio of the lowest bracket."""
    if day_turnover >= 5e9:
        return 125, Decimal("0.004")
    if day_turnover >= 2e8:
        return 75, Decimal("0.0065")
    if day_turnover >= 2e7:
        return 50, Decimal("0.01")
    return 20, Decimal("0.025")


def steps(
    kind: Kind, base: str, price: float, multiplier: int, key: int
) -> tuple[Decimal, Decimal]:
    """Return tick and lot; spot and perpetual of one coin have steps of their own."""
    if base in _KNOWN_STEPS:
        return _KNOWN_STEPS[base][0 if kind is Kind.PERPETUAL else 1]
    magnitude = math.floor(math.log10(price))
    # Some differ from their spot twin, so that no client may take one leg's tick for both.
    coarser = 1 if kind is Kind.PERPETUAL and unit(key, 20) < 0.3 else 0
    # Four or five significant digits, as Binance lists; 1e-8 is the finest it writes.
    tick = power_of_ten(max(magnitude - 4 + coarser, _SMALLEST_TICK_EXPONENT))
    # A lot is worth less than ten in quote, so that small orders can still be sized.
    if kind is Kind.PERPETUAL:
        return tick, power_of_ten(-max(magnitude, 0)) if multiplier == 1 else Decimal(1)
    return tick, power_of_ten(-max(magnitude + 1, 0)) if price > 1e-3 else Decimal(1)


def make_spec(
    kind: Kind,
    base: str,
    price: float,
    multiplier: int,
    day_turnover: float,
    key: int,
    onboard_time: datetime,
    delivery_time: datetime | None,
    funding_cap: Decimal,
) -> InstrumentSpec:
    """Return the filters of one generated instrument; ``price`` is per unit of its symbol."""
    is_perpetual = kind is Kind.PERPETUAL
    tick, lot = steps(kind, base, price, multiplier, key)
    leverage, maintenance = leverage_limits(day_turnover)
    name = base if multiplier == 1 else f"{multiplier}{base}"
    return InstrumentSpec(
        symbol=f"{name}{QUOTE_ASSET}",
        kind=kind,
        # The multiplier stays in the name: undoing it is the connector's work, not the venue's.
        base_asset=name,
        quote_asset=QUOTE_ASSET,
        settle_asset=QUOTE_ASSET if is_perpetual else None,
        status=TRADING,
        tick_size=tick,
        lot_size=lot,
        min_quantity=lot,
        max_quantity=nearest(_MAX_LIMIT_ORDER / price, lot),
        market_max_quantity=nearest(_MAX_MARKET_ORDER / price, lot),
        min_notional=_min_notional(kind, base, key),
        price_precision=fraction_digits(tick),
        quantity_precision=fraction_digits(lot),
        base_precision=8,
        onboard_time=onboard_time,
        delivery_time=delivery_time,
        margin_allowed=not is_perpetual and (base in _KNOWN_STEPS or unit(key, 21) < 0.85),
        max_leverage=leverage if is_perpetual else 1,
        maintenance_margin_ratio=maintenance if is_perpetual else Decimal(0),
        funding_cap=funding_cap if is_perpetual else Decimal(0),
    )


def _min_notional(kind: Kind, base: str, key: int) -> Decimal:
    if kind is Kind.SPOT:
        return Decimal(5)
    if base in _KNOWN_MIN_NOTIONAL:
        return _KNOWN_MIN_NOTIONAL[base]
    return Decimal(10) if unit(key, 22) < 0.05 else Decimal(5)
