"""Which instruments may be a leg: trading, with enough volume and a book that is not too wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.scanner.endings import end_exclusion
from services.scanner.instruments import (
    Exclusion,
    ExclusionReason,
    SymbolRow,
    TickerRow,
    TradingStatus,
)

if TYPE_CHECKING:
    from services.scanner.instruments import InstrumentKey
    from services.scanner.market import VenueView
    from services.scanner.rules import CostRules, UniverseRules


def leg_exclusion(
    view: VenueView, symbol: str, rules: UniverseRules, costs: CostRules
) -> Exclusion | None:
    """Return why the venue's instrument of `symbol` cannot be a leg, or None when it can."""
    key = view.key(symbol)
    problem = view.malformed.get(symbol)
    if problem is not None:
        return Exclusion(key, ExclusionReason.DATA_MALFORMED, problem)
    row = view.symbols.get(symbol)
    if row is None:
        return Exclusion(key, ExclusionReason.NOT_TRADING, "the venue does not list it")
    return (
        _status_exclusion(key, row)
        # No position is held shorter than this, so nothing more need be read of it.
        or end_exclusion(view, symbol, costs.min_holding)
        or _market_exclusion(key, view.tickers.get(symbol), rules, costs)
    )


def tradable_symbols(
    view: VenueView, rules: UniverseRules, costs: CostRules
) -> tuple[frozenset[str], tuple[Exclusion, ...]]:
    """Return the symbols of a venue that may be legs, and the exclusions of all the others."""
    good: set[str] = set()
    excluded: list[Exclusion] = []
    for symbol in sorted(view.symbols.keys() | view.malformed.keys()):
        exclusion = leg_exclusion(view, symbol, rules, costs)
        if exclusion is None:
            good.add(symbol)
        else:
            excluded.append(exclusion)
    return frozenset(good), tuple(excluded)


def _status_exclusion(key: InstrumentKey, row: SymbolRow) -> Exclusion | None:
    # A status that the venue did not tell is not trading: an order would find out too late.
    if row.status is TradingStatus.TRADING:
        return None
    if row.status is TradingStatus.ENDED:
        return Exclusion(key, ExclusionReason.DELISTED, "the venue is ending it")
    return Exclusion(key, ExclusionReason.NOT_TRADING, f"trading status {row.status.value}")


def _market_exclusion(
    key: InstrumentKey, ticker: TickerRow | None, rules: UniverseRules, costs: CostRules
) -> Exclusion | None:
    volume = ticker.quote_volume if ticker is not None else None
    # An unknown volume is no volume: thin markets are where figures are missing.
    if ticker is None or volume is None:
        return Exclusion(key, ExclusionReason.ILLIQUID, "quote volume unknown")
    if volume < rules.min_quote_volume:
        detail = f"quote volume {volume:f} of 24 h under {rules.min_quote_volume:f}"
        return Exclusion(key, ExclusionReason.ILLIQUID, detail)
    half_spread = ticker.half_spread
    if half_spread is None:
        if costs.default_half_spread_ratio is None:
            return Exclusion(key, ExclusionReason.BOOK_MISSING, "no sound best bid and ask")
        return None
    if half_spread > rules.max_half_spread_ratio:
        detail = f"half-spread {half_spread:.6f} over {rules.max_half_spread_ratio:f}"
        return Exclusion(key, ExclusionReason.SPREAD_WIDE, detail)
    return None
