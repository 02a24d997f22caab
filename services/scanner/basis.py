"""How far apart the prices of a pair's legs stand, and when they cannot be of one coin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from services.scanner.market import VenueView
    from services.scanner.pairs import PairOfLegs


def basis_ratio(pair: PairOfLegs, views: Mapping[str, VenueView]) -> Decimal | None:
    """Return the mid of the short leg over that of the long leg, less one; None without both."""
    long_mid = views[pair.long_leg.venue].tickers[pair.symbol].mid
    short_mid = views[pair.short_leg.venue].tickers[pair.symbol].mid
    if long_mid is None or short_mid is None:
        return None
    return short_mid / long_mid - 1


def basis_problem(basis: Decimal | None, most: Decimal) -> str | None:
    """Return why legs with such a basis are no hedge of each other, in words, or None.

    Venues give one name to different coins, or to another number of coins a unit; a factor of the
    score would let such a pair pass. The dearer leg is held against the cheaper, so that both
    directions of a pair are judged alike.
    """
    if basis is None:
        return None
    ratio = 1 + basis
    # Two positive prices can be so far apart that the ratio less one is exactly minus one.
    apart = max(ratio, 1 / ratio) - 1 if ratio > 0 else None
    if apart is not None and apart <= most:
        return None
    told = "beyond measure" if apart is None else f"by {apart:.4g}"
    return f"prices of the legs are apart {told}, over {most:f}: hardly the same coin"
