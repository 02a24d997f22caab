"""Listen keys of the futures user stream: made, kept alive, expired on the wire clock."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.simulator.core.clock import WireClock
from services.simulator.core.errors import VenueError


# Not frozen: kept alive again and again.
@dataclass(slots=True)
class _Key:
    account: str
    expires: datetime


# Not frozen: keys are made and forgotten.
@dataclass(slots=True)
class ListenKeys:
    """Keys by text; one valid key per account, as on the venue."""

    wire: WireClock
    lifetime: timedelta = timedelta(minutes=60)
    _keys: dict[str, _Key] = field(default_factory=dict)
    _made: int = 0

    def create(self, account: str) -> str:
        """Return the account's key, extended when it has one."""
        for text, key in self._keys.items():
            # the venue gives the same key again and extends it
            if key.account == account and self.is_valid(text):
                key.expires = self.wire.now() + self.lifetime
                return text
        self._made += 1
        text = hashlib.sha256(f"{account}:{self._made}".encode()).hexdigest()
        self._keys[text] = _Key(account, self.wire.now() + self.lifetime)
        return text

    def keep_alive(self, account: str) -> str:
        """Extend the account's key; raises VenueError -1125 when it has none."""
        for text, key in self._keys.items():
            if key.account == account and self.is_valid(text):
                key.expires = self.wire.now() + self.lifetime
                return text
        raise VenueError(-1125, "This listenKey does not exist.")

    def close(self, account: str) -> None:
        """Forget the account's keys."""
        self._keys = {text: key for text, key in self._keys.items() if key.account != account}

    def account_of(self, text: str) -> str | None:
        """Return whose key it is, None when it is unknown or expired."""
        key = self._keys.get(text)
        return key.account if key is not None and self.is_valid(text) else None

    def is_valid(self, text: str) -> bool:
        """Tell whether a key exists and has not expired."""
        key = self._keys.get(text)
        return key is not None and self.wire.now() < key.expires
