"""The form of the client order ids the engine gives: what a line about an order tells of it."""

from __future__ import annotations

import re
from typing import Final

POSITION_ID_LENGTH: Final = 16
_FORM = re.compile(r"p[a-z0-9]{15}[ls][ehux][a-z0-9]{4}")


def position_of(client_order_id: str) -> str:
    """Return the position an order belongs to; empty for an id of somebody else's making."""
    if not _FORM.fullmatch(client_order_id):
        return ""
    return client_order_id[:POSITION_ID_LENGTH]
