"""Instruments from recorded exchange information, or from recorded prices where there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from services.simulator.market.filters import QUOTE_ASSET, leverage_limits, make_spec
from services.simulator.market.instants import instant
from services.simulator.market.listing import TRADING
from services.simulator.market.recordings import decimal_of
from services.simulator.market.rounding import fraction_digits, power_of_ten
from services.simulator.market.source import InstrumentSpec, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

DEFAULT_FUNDING_CAP: Final = Decimal("0.02")

# Binance writes this delivery date (2100-12-25) for a perpetual without one.
_NO_DELIVERY_MS: Final = 4_133_404_800_000
_COARSEST_TICK_RATIO: Final = 0.01


@dataclass(frozen=True, slots=True)
class SpotTraces:
    """What was recorded of one spot instrument: full filters, or only numbers in its steps."""

    info: Mapping[str, Any] | None
    prices: tuple[str, ...]
    quantities: tuple[str, ...]
    is_quoted: bool
    margin_allowed: bool


def perpetual_spec(
    symbol: str,
    info: Mapping[str, Any] | None,
    price: float,
    day_turnover: float,
    key: int,
    listed_since: datetime,
    funding_cap: Decimal,
) -> InstrumentSpec:
    """Return the filters of a perpetual; those that suit its price where none were recorded.

    Raises RecordingsError when a recorded filter is not a number.
    """
    if info is None:
        base = symbol.removesuffix(QUOTE_ASSET)
        return make_spec(
            Kind.PERPETUAL,
            base,
            price,
            1,
            day_turnover,
            key,
            onboard_time=listed_since,
            delivery_time=None,
            funding_cap=funding_cap,
        )
    filters = {one["filterType"]: one for one in info["filters"]}
    lot, market = filters["LOT_SIZE"], filters.get("MARKET_LOT_SIZE", filters["LOT_SIZE"])
    leverage, maintenance = leverage_limits(day_turnover)
    delivery = int(info.get("deliveryDate", _NO_DELIVERY_MS))
    return InstrumentSpec(
        symbol=symbol,
        kind=Kind.PERPETUAL,
        base_asset=info["baseAsset"],
        quote_asset=info["quoteAsset"],
        settle_asset=info["marginAsset"],
        status=TRADING,
        tick_size=decimal_of(filters["PRICE_FILTER"]["tickSize"]),
        lot_size=decimal_of(lot["stepSize"]),
        min_quantity=decimal_of(lot["minQty"]),
        max_quantity=decimal_of(lot["maxQty"]),
        market_max_quantity=decimal_of(market["maxQty"]),
        min_notional=decimal_of(filters["MIN_NOTIONAL"]["notional"]),
        price_precision=int(info["pricePrecision"]),
        quantity_precision=int(info["quantityPrecision"]),
        base_precision=int(info["baseAssetPrecision"]),
        onboard_time=instant(int(info["onboardDate"])),
        delivery_time=None if delivery >= _NO_DELIVERY_MS else instant(delivery),
        margin_allowed=False,
        max_leverage=leverage,
        maintenance_margin_ratio=maintenance,
        funding_cap=funding_cap,
    )


def spot_spec(
    symbol: str, traces: SpotTraces, price: float, key: int, listed_since: datetime
) -> InstrumentSpec:
    """Return the filters of a spot instrument, tick and lot from recorded numbers if need be.

    Raises RecordingsError when a recorded filter is not a number.
    """
    derived = make_spec(
        Kind.SPOT,
        symbol.removesuffix(QUOTE_ASSET),
        price,
        1,
        1.0,
        key,
        onboard_time=listed_since,
        delivery_time=None,
        funding_cap=Decimal(0),
    )
    if traces.info is None:
        tick = _step_of(traces.prices) or derived.tick_size
        # A few round prices would suggest a tick of whole percents.
        tick = tick if tick <= price * _COARSEST_TICK_RATIO else derived.tick_size
        lot = _step_of(traces.quantities) or derived.lot_size
        return _with_steps(derived, tick, lot, lot, traces)
    filters = {one["filterType"]: one for one in traces.info["filters"]}
    lot_filter = filters["LOT_SIZE"]
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
    spec = _with_steps(
        derived,
        decimal_of(filters["PRICE_FILTER"]["tickSize"]).normalize(),
        decimal_of(lot_filter["stepSize"]).normalize(),
        decimal_of(lot_filter["minQty"]).normalize(),
        traces,
    )
    return replace(
        spec,
        min_notional=_plain(decimal_of(notional.get("minNotional", "5"))),
        base_precision=int(traces.info["baseAssetPrecision"]),
        max_quantity=_plain(decimal_of(lot_filter["maxQty"])),
    )


def _with_steps(
    spec: InstrumentSpec, tick: Decimal, lot: Decimal, smallest: Decimal, traces: SpotTraces
) -> InstrumentSpec:
    tick, lot = _plain(tick), _plain(lot)
    return replace(
        spec,
        tick_size=tick,
        lot_size=lot,
        min_quantity=_plain(smallest),
        max_quantity=spec.max_quantity // lot * lot,
        market_max_quantity=spec.market_max_quantity // lot * lot,
        price_precision=fraction_digits(tick),
        quantity_precision=fraction_digits(lot),
        margin_allowed=traces.margin_allowed,
    )


def _plain(step: Decimal) -> Decimal:
    # normalize() leaves 1E+1 for ten, which no venue would send.
    step = step.normalize()
    exponent = step.as_tuple().exponent
    return step if isinstance(exponent, int) and exponent <= 0 else step.quantize(Decimal(1))


def _step_of(texts: Iterable[str]) -> Decimal | None:
    """Return the coarsest power of ten, at most 1, that all the numbers are multiples of."""
    digits = [fraction_digits(number) for text in texts if (number := decimal_of(text)) > 0]
    return power_of_ten(-max(digits)) if digits else None
