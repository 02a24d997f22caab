"""One declarative profile per venue; `find_profile` imports the one asked for and no other."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from services.connector.profile import VenueProfile

KNOWN_VENUES: Final = ("binance", "binanceusdm")
"""ccxt ids that have a profile."""


def find_profile(code: str) -> VenueProfile:
    """Return the profile of a venue by its ccxt id; raise ValueError when there is none."""
    if code not in KNOWN_VENUES:
        raise ValueError(f"no profile for venue {code!r}; known: {', '.join(KNOWN_VENUES)}")
    profile: VenueProfile = importlib.import_module(f"{__name__}.{code}").PROFILE
    return profile
