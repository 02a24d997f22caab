"""Ids as a dependency, so that tests and replays choose them."""

from __future__ import annotations

import secrets
import uuid
from typing import Protocol

ID_LENGTH = 20
"""Characters of a random id: 20 of base 36 carry 103 bits."""

_FIRST = "abcdefghijklmnopqrsuvwxyz"
_REST = "abcdefghijklmnopqrstuvwxyz0123456789"


class Ids(Protocol):
    """A source of ids that nobody used before."""

    def new_id(self) -> str:
        """Return a fresh client order id: `[a-z0-9]`, at most 26, not starting with `t`."""
        ...

    def new_uuid(self) -> str:
        """Return a fresh UUID in text form, for a `request_id`."""
        ...


class RandomIds:
    """Ids from the operating system's random source."""

    def new_id(self) -> str:
        """Return 20 random characters of `[a-z0-9]`.

        The first is a letter other than `t`: ccxt's Binance class treats ids starting with `t` as
        its own.
        """
        return secrets.choice(_FIRST) + "".join(secrets.choice(_REST) for _ in range(ID_LENGTH - 1))

    def new_uuid(self) -> str:
        """Return a random (version 4) UUID."""
        return str(uuid.uuid4())
