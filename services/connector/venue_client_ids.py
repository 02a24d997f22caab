"""The client order id the venue gets: the caller's own where it fits, else one derived from it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.connector.profile import VenueProfile

LENGTH = 26
"""Characters of a derived id: lowercase letters and digits, as every venue takes them."""


def to_venue_client_id(client_order_id: str, profile: VenueProfile) -> str:
    """Return the id to send for a caller's id, the same each time it is asked.

    Prefixes that the venue keeps for orders of its own (forced closes) are replaced too.
    """
    form = profile.client_ids
    fits = form.pattern.fullmatch(client_order_id) is not None
    if fits and not client_order_id.startswith(form.reserved_prefixes):
        return client_order_id
    return form.derive(hashlib.sha256(client_order_id.encode()).hexdigest())


def derive_plain(digest: str) -> str:
    """Return an id of lowercase letters and digits, as most venues take them."""
    # A letter that no venue reserves first: Gate's ids begin with t.
    return f"x{digest[: LENGTH - 1]}"
