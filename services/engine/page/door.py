"""Who may see the page: the callers of `[grpc]`, by the same tokens, certificates and roles."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.common.auth import CallGuard
from services.common.principals import Principal, PrincipalBook
from services.common.scopes import MethodRule, Scope
from services.common.settings_part import is_loopback

_PAGE: Final = MethodRule(Scope.POSITIONS)
_BASIC: Final = "basic "
_CERTIFICATE_NAMES: Final = frozenset({"DNS", "IP Address", "URI"})
MAX_CREDENTIAL = 1_024
"""Characters of an Authorization header that are looked at; a longer one is no token of ours."""


class PageDoor:
    """Names the reader of a request and refuses who may not see positions."""

    def __init__(self, book: PrincipalBook) -> None:
        self._guard = CallGuard(book)
        self._book = book

    def admit(self, headers: Mapping[str, str], certificate: Mapping[str, Any] | None) -> Principal:
        """Return the reader; raises AuthError as a gRPC call of the same caller would.

        A browser's password is taken as the token, whatever the user name beside it.
        """
        names = tuple(_names(certificate)) if self._guard.reads_certificates else ()
        principal = self._guard.identify(_PAGE, tuple(_credentials(headers)), names)
        self._guard.authorize(principal, _PAGE)
        return principal

    def is_rebound(self, host: str) -> bool:
        """Tell whether a page without tokens is asked for by a name that is not this machine's.

        A stranger's web page may point a name of its own at 127.0.0.1 and read the answer.
        """
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return self._book.is_open and not is_loopback(name)


def _credentials(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    given = headers.get("Authorization", "")
    if given[: len(_BASIC)].lower() == _BASIC:
        yield "x-api-key", _password(given[len(_BASIC) : MAX_CREDENTIAL])
    elif given:
        yield "authorization", given[:MAX_CREDENTIAL]
    if "X-Api-Key" in headers:
        yield "x-api-key", headers["X-Api-Key"][:MAX_CREDENTIAL]


def _password(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text.partition(":")[2]


def _names(certificate: Mapping[str, Any] | None) -> Iterator[str]:
    for kind, value in (certificate or {}).get("subjectAltName", ()):
        if kind in _CERTIFICATE_NAMES:
            yield value
