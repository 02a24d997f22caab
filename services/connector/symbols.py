"""Names and units of a venue's markets, from ccxt's market structures to instruments. Pure.

The canonical symbol is base + quote without the base's multiplier: the venue's `1000PEPEUSDT` and
ccxt's `1000PEPE/USDT:USDT` are `PEPEUSDT` here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import from_millis
from services.connector.instruments import Instrument
from services.connector.venue_numbers import optional_venue_decimal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from services.connector.profile import VenueProfile

ONE: Final = Decimal(1)
# Binance writes Christmas 2100 for a contract that is never delivered.
_NEVER_MS: Final = 4_000_000_000_000
# Four digits of zeros and more never begin a coin's own name (1INCH, 0G and 2Z do not match); the
# letter form exists once, so it asks for a long name behind it.
_DIGITS: Final = re.compile(r"(10000000|1000000|100000|10000|1000)([A-Z][A-Z0-9]*)", re.ASCII)
_LETTER: Final = re.compile(r"1M([A-Z]{4,})", re.ASCII)
# Hyperliquid's thousands. The small letter tells them from coins that begin with a K (KAITO, KAS).
_SMALL_K: Final = re.compile(r"k([A-Z][A-Z0-9]+)", re.ASCII)


def split_base(base: str) -> tuple[str, Decimal]:
    """Return the coin and the number of coins that one unit of the venue's base stands for."""
    found = _DIGITS.fullmatch(base)
    if found is not None and len(found[2]) > 1:
        return found[2], Decimal(found[1])
    found = _LETTER.fullmatch(base)
    if found is not None:
        return found[1], Decimal(1_000_000)
    found = _SMALL_K.fullmatch(base)
    if found is not None:
        return found[1], Decimal(1_000)
    return base, ONE


def build_instruments(
    markets: Iterable[Mapping[str, Any]],
    profile: VenueProfile,
    allowed: frozenset[str] | None = None,
) -> list[Instrument]:
    """Turn ccxt's markets into instruments, leaving out what the profile does not list.

    Where a venue lists a coin both singly and by the thousand, the single one keeps the canonical
    name and the other is known by the venue's own (still per single coin). A market with broken
    numbers is left out: one bad row must not take the rest away. `allowed` restricts to these
    canonical symbols.
    """
    singles: dict[str, Instrument] = {}
    multiples: list[Instrument] = []
    for market in markets:
        # Deliveries, options and inverse contracts are not ours to trade.
        if not profile.is_listed(market):
            continue
        try:
            instrument = build_instrument(market, profile)
        except (ValueError, KeyError, TypeError, ArithmeticError):
            continue
        if instrument.base_multiplier == ONE:
            singles[instrument.symbol] = instrument
        else:
            multiples.append(instrument)
    chosen = dict(singles)
    for instrument in multiples:
        name = instrument.exchange_symbol if instrument.symbol in singles else instrument.symbol
        chosen.setdefault(name, replace(instrument, symbol=name))
    return [one for one in chosen.values() if allowed is None or one.symbol in allowed]


def build_instrument(market: Mapping[str, Any], profile: VenueProfile) -> Instrument:
    """Turn one ccxt market (numbers as text) into an instrument; ValueError if it is broken."""
    exchange_symbol, venue_base = profile.market_names(market)
    base, multiplier = split_base(venue_base)
    quote = str(market["quote"])
    size = optional_venue_decimal(market.get("contractSize"), "contractSize") or ONE
    unit = size * multiplier
    lot = _positive(market["precision"].get("amount"), "lot") * unit
    # A coin costs a thousandth of a lot of a thousand, so its tick is as much finer.
    tick = _positive(market["precision"].get("price"), "tick") / multiplier
    limits = market.get("limits") or {}
    settle = market.get("settle")
    return Instrument(
        symbol=f"{base}{quote}",
        exchange_symbol=exchange_symbol,
        unified=str(market["symbol"]),
        kind=profile.kind,
        base_asset=base,
        quote_asset=quote,
        settle_asset=None if settle is None else str(settle),
        contract_size=size,
        base_multiplier=multiplier,
        lot_size=lot,
        tick_size=tick,
        min_quantity=_limit(limits, "amount", "min", unit),
        max_quantity=_limit(limits, "amount", "max", unit),
        max_market_quantity=_limit(limits, "market", "max", unit),
        min_notional=_limit(limits, "cost", "min", ONE),
        status=profile.trading_status(market),
        margin_allowed=market.get("margin") is True and profile.margin_supported,
        price_precision=count_decimals(tick),
        quantity_precision=count_decimals(lot),
        venue_base_asset=venue_base,
        end_time=_announced_end(market.get("info") or {}, profile.end_fields),
    )


def count_decimals(step: Decimal) -> int:
    """Return the fraction digits of a step, 0 for whole numbers."""
    exponent = step.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0


def _announced_end(information: Mapping[str, Any], names: Iterable[str]) -> datetime | None:
    """Return the earliest announced end; empty, zero, -1 and the far future are none."""
    texts = [str(information.get(name) or "") for name in names]
    times = [int(text) for text in texts if text.isascii() and text.isdigit()]
    told = [time for time in times if 0 < time < _NEVER_MS]
    return from_millis(min(told)) if told else None


def _positive(value: object, name: str) -> Decimal:
    number = optional_venue_decimal(value, name)
    if number is None or number <= 0:
        raise ValueError(f"{name} must be positive")
    return number


def _limit(limits: Mapping[str, Any], group: str, end: str, unit: Decimal) -> Decimal | None:
    # A zero limit is the venue's way of saying there is none.
    number = optional_venue_decimal((limits.get(group) or {}).get(end), group)
    return None if number is None or number <= 0 else number * unit
