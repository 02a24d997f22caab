"""One declarative file per venue; `find_profile` imports the one asked for and no other."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from services.connector.profile import VenueProfile

_MODULES: Final = {
    "binance": "binance",
    "binanceusdm": "binanceusdm",
    "okx-spot": "okx",
    "okx-swap": "okx",
    "bybit-spot": "bybit",
    "bybit-linear": "bybit",
    "gate-spot": "gate",
    "gate-swap": "gate",
    "bitget-spot": "bitget",
    "bitget-swap": "bitget",
    "hyperliquid": "hyperliquid",
}
KNOWN_VENUES: Final = tuple(_MODULES)
"""Codes of venue account and product that have a profile."""
PAPER_VENUES: Final = ("binance", "binanceusdm")
"""Those of which a paper venue can be had."""
PAPER_DOMAINS: Final = ("binance.com", "binance.vision", "binancefuture.com", "binance.us")
"""Where these venues are themselves: no paper venue is there."""


def find_profile(code: str) -> VenueProfile:
    """Return the profile of a venue by its code; raise ValueError when there is none."""
    module = _MODULES.get(code)
    if module is None:
        raise ValueError(f"no profile for venue {code!r}; known: {', '.join(KNOWN_VENUES)}")
    profiles: tuple[VenueProfile, ...] = importlib.import_module(f"{__name__}.{module}").PROFILES
    return next(profile for profile in profiles if profile.code == code)
