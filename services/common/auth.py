"""Who may call: bearer tokens, compared in constant time; only health is open."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from services.common.errors import AuthError

if TYPE_CHECKING:
    from pydantic import SecretStr

OPEN_METHODS: Final = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
    }
)
"""Full method names that need no token; matched whole, so that look-alikes stay closed."""

_BEARER = "bearer "


class TokenGuard:
    """Checks the token of each call; made without tokens (loopback only) it lets everybody in."""

    def __init__(self, tokens: Sequence[SecretStr]) -> None:
        self._digests = tuple(_digest(token.get_secret_value()) for token in tokens)

    @property
    def is_open(self) -> bool:
        """Whether calls need no token at all."""
        return not self._digests

    def check(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Raise AuthError unless the call may go on.

        Every credential shown must be right: one good token among bad ones is a misuse, or a probe.
        """
        if self.is_open or method in OPEN_METHODS:
            return
        shown = [
            _credential(key, value)
            for key, value in metadata
            if key in ("authorization", "x-api-key")
        ]
        if not shown:
            raise AuthError(
                "no token: send it as 'authorization: Bearer ...'", reason="TOKEN_MISSING"
            )
        # Sums, not any() and all(): every comparison runs, whichever fails.
        if sum(self._matches(token) for token in shown) != len(shown):
            raise AuthError("the token is not valid")

    def _matches(self, token: str) -> bool:
        digest = _digest(token)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def _credential(key: str, value: str | bytes) -> str:
    # Only keys ending in -bin may carry bytes; an empty credential matches no token.
    if isinstance(value, bytes):
        return ""
    if key == "x-api-key":
        return value
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else ""


def _digest(token: str) -> bytes:
    # Equal-length digests keep compare_digest from telling the token's length.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
