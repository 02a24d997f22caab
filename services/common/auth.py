"""Who may call what: tokens and certificates prove a name, its roles open exact methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.common.errors import AuthError, Code
from services.common.principals import ANYBODY, LOCAL, Principal, PrincipalBook
from services.common.scopes import METHOD_RULES, MethodRule, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OPEN_METHODS: Final = frozenset(
    method for method, rule in METHOD_RULES.items() if rule.scope is Scope.OPEN
)
"""Full names of the methods that need no token: health; matched whole."""

_BEARER = "bearer "
_CREDENTIALS: Final = frozenset({"authorization", "x-api-key"})


class CallGuard:
    """Names the caller of each call and refuses what its roles do not open."""

    def __init__(self, book: PrincipalBook, rules: Mapping[str, MethodRule] = METHOD_RULES) -> None:
        self._book = book
        self._rules = rules

    @property
    def reads_certificates(self) -> bool:
        """Whether `identify` can use the names of a client certificate."""
        return self._book.reads_certificates

    def rule(self, method: str) -> MethodRule | None:
        """Return what a method needs; None when nobody may call it."""
        return self._rules.get(method)

    def identify(
        self,
        rule: MethodRule | None,
        metadata: Iterable[tuple[str, str | bytes]],
        certificate_names: Iterable[str] = (),
    ) -> Principal:
        """Return who calls; raise AuthError when that is not proven.

        Every credential shown must be right and of the same principal: one good token among bad
        ones is a misuse, or a probe.
        """
        if rule is not None and rule.scope is Scope.OPEN:
            return ANYBODY
        if self._book.is_open:
            return LOCAL
        found = [
            self._book.by_token(_credential(key, value))
            for key, value in metadata
            if key in _CREDENTIALS
        ]
        certified = self._book.by_subjects(certificate_names)
        if certified is not None:
            found.append(certified)
        if not found:
            raise AuthError(
                "a token is missing; send one as 'authorization' or 'x-api-key'",
                reason="TOKEN_MISSING",
            )
        first = found[0]
        if first is None or any(other is not first for other in found):
            raise AuthError("the token is not valid")
        return first

    def authorize(self, principal: Principal, rule: MethodRule | None) -> MethodRule:
        """Return the rule; raise AuthError (PERMISSION_DENIED) unless the caller's roles fit it.

        A method without a rule is open to nobody.
        """
        if rule is None or rule.scope not in principal.scopes:
            raise AuthError(
                "the caller's roles do not open this method",
                reason="SCOPE_MISSING",
                code=Code.PERMISSION_DENIED,
                metadata={
                    "principal": principal.name,
                    "scope": "none" if rule is None else rule.scope.value,
                },
            )
        return rule


def _credential(key: str, value: str | bytes) -> str:
    # Only keys ending in -bin may carry bytes; an empty credential matches no token.
    if isinstance(value, bytes):
        return ""
    if key == "x-api-key":
        return value
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else ""
