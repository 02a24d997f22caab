"""Who callers are: principals with their roles, their token files, their certificates' names.

Token files are read again when they change, while the service runs; a file that became unsound
leaves the tokens of before in force, so that a slip of the hand locks nobody out.
"""

from __future__ import annotations

import hashlib
import hmac
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.common.logs import get_logger
from services.common.scopes import Role, Scope, scopes_of
from services.common.server_settings import LOCAL_PRINCIPAL, SHARED_PRINCIPAL, read_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from services.common.clock import Clock
    from services.common.server_settings import ServerSettings

_log = get_logger(__name__)
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that proved itself: its name, for logs and quotas, and what it may ask for."""

    name: str
    scopes: frozenset[Scope]


LOCAL = Principal(LOCAL_PRINCIPAL, scopes_of(tuple(Role)))
"""Everybody, on a server without tokens and certificates."""

ANYBODY = Principal("anybody", frozenset({Scope.OPEN}))
"""Callers of health, who need no name; they share one quota."""

CALLER: Final[ContextVar[str]] = ContextVar("caller", default=LOCAL_PRINCIPAL)
"""Name of the principal whose call is served; everybody's where no interceptor asks."""


class TokenSource:
    """The tokens of one file, as digests, with the state of the file they were read from."""

    def __init__(self, principal: Principal, path: Path) -> None:
        """Read the file; raise ValueError, free of its text, when it is unsound."""
        self.principal = principal
        self._path = path
        self._stamp = _stamp(path)
        self.digests = _digests(path)

    def refresh(self) -> bool:
        """Read the file again when it changed; return whether other tokens are in force now."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            digests = _digests(self._path)
        except ValueError as error:
            _log.error("tokens_kept", principal=self.principal.name, problem=str(error))
            return False
        changed = digests != self.digests
        self.digests = digests
        _log.info("tokens_read", principal=self.principal.name, count=len(digests))
        return changed


class PrincipalBook:
    """Finds principals by token and by certificate; `keep_fresh` follows the token files."""

    def __init__(self, sources: Sequence[TokenSource], by_subject: dict[str, Principal]) -> None:
        self._sources = tuple(sources)
        self._by_subject = by_subject
        self._known = self._gather()

    @classmethod
    def of_settings(cls, settings: ServerSettings) -> PrincipalBook:
        """Return the book of a server's settings; ValueError when a token file went bad since."""
        sources: list[TokenSource] = []
        by_subject: dict[str, Principal] = {}
        if settings.token_file is not None:
            shared = Principal(SHARED_PRINCIPAL, LOCAL.scopes)
            sources.append(TokenSource(shared, settings.token_file))
        for one in settings.principals:
            principal = Principal(one.name, scopes_of(one.roles))
            if one.token_file is not None:
                sources.append(TokenSource(principal, one.token_file))
            by_subject.update(dict.fromkeys(one.certificate_names, principal))
        return cls(sources, by_subject)

    @property
    def is_open(self) -> bool:
        """Whether callers need not say who they are: there is nobody to be."""
        return not self._sources and not self._by_subject

    @property
    def reads_certificates(self) -> bool:
        """Whether a client certificate can make a caller known."""
        return bool(self._by_subject)

    def by_token(self, token: str) -> Principal | None:
        """Return whose token it is; every known one is compared, whichever fits."""
        digest = digest_of(token)
        found = None
        for known, principal in self._known:
            if hmac.compare_digest(digest, known):
                found = principal
        return found

    def by_subjects(self, names: Iterable[str]) -> Principal | None:
        """Return the principal of the first alternative name of a certificate that is known."""
        return next((self._by_subject[name] for name in names if name in self._by_subject), None)

    def refresh(self) -> None:
        """Look at every token file once.

        When a file came to hold another principal's token, whoever held it first keeps it.
        """
        changes = [source.refresh() for source in self._sources]
        if any(changes):
            self._known = self._gather()

    async def keep_fresh(self, clock: Clock, seconds: float) -> None:
        """Look at the token files every so often, until cancelled."""
        while True:
            await clock.sleep(seconds)
            self.refresh()

    def _gather(self) -> tuple[tuple[bytes, Principal], ...]:
        owners: dict[bytes, Principal] = {}
        for source in self._sources:
            for digest in source.digests:
                if owners.setdefault(digest, source.principal) is not source.principal:
                    _log.error("token_of_two_principals", principal=source.principal.name)
        return tuple(owners.items())


def digest_of(token: str) -> bytes:
    """Return the SHA-256 of a token; equal lengths keep a comparison from telling the token's."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _digests(path: Path) -> tuple[bytes, ...]:
    return tuple(digest_of(token.get_secret_value()) for token in read_tokens(path))


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # Size and inode too: a copy may keep the time, and mounted secrets are swapped as links.
    return status.st_mtime_ns, status.st_size, status.st_ino
