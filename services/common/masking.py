"""What must never be seen: registered secret values, fields with secret names, signed queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

MASK: Final = "********"
"""Stands for any secret; constant, so that neither length nor ending leaks."""

MIN_SECRET_LENGTH: Final = 6
"""Shorter values are not masked by value: they would blank ordinary words."""

MAX_TEXT_LENGTH: Final = 8_192
"""Characters kept of one text; the rest is cut, with a mark."""

_MAX_DEPTH = 8
_SECRET_KEY = re.compile(
    r"(api[_-]?key|access[_-]?key|secret|token|signature|\bsign\b|authorization|cookie|password"
    r"|passphrase|private[_-]?key|listen[_-]?key|credential)",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    # Headers of the venues end in these names: X-MBX-APIKEY, OK-ACCESS-SIGN, X-BAPI-API-KEY.
    r"(?P<kept>\b(?:[a-z0-9]+[_-])*(?:signature|sign|api[_-]?key|access[_-]?key|private[_-]?key"
    # Not the tokens of pages and streams: errors name those fields, and they open nothing.
    r"|secret|(?<!page_)(?<!resume_)token|passphrase|passw(?:or)?d|listen[_-]?key"
    r"|authorization|cookie)"
    r"[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)\s+)?|\bbearer\s+)[^\s&\"',;})\]]+",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(?P<kept>\b[a-z][a-z0-9+.-]*://)[^\s/@\"']+@", re.IGNORECASE)
"""What stands between scheme and host of an address: of a database a user and its password."""

_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Of the process, not of a logger: lines of libraries must be masked as well.
_registered: set[str] = set()


def register_secret(value: str) -> None:
    """Mask every later occurrence of `value` in log lines.

    Values under 6 characters are ignored.
    """
    if len(value) >= MIN_SECRET_LENGTH:
        _registered.add(value)


def mask_text(text: str) -> str:
    """Return `text` with registered values and what looks like a secret replaced by the mask.

    `signature=…`-like parts, headers of keys, PEM keys, user and password of an address.
    """
    # Longest first: a secret that begins with another must not leave its tail behind.
    for value in sorted(_registered, key=len, reverse=True):
        text = text.replace(value, MASK)
    if "://" in text:
        text = _USER_INFO.sub(lambda match: f"{match['kept']}{MASK}@", text)
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(lambda match: match[1] + MASK, text)
    return _SECRET_TEXT.sub(lambda match: match["kept"] + MASK, text)


def escape_control(text: str) -> str:
    """Return `text` on one line, its control and direction-changing characters as escapes."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def cap_text(text: str, limit: int = MAX_TEXT_LENGTH) -> str:
    """Return at most `limit` characters of `text`, saying how many were cut."""
    return (
        text if len(text) <= limit else f"{text[:limit]}... ({len(text) - limit} more characters)"
    )


def mask_value(value: object, *, key: str = "", depth: int = 0) -> object:
    """Return `value` fit for a log line, masked through mappings and sequences.

    Other objects become text.
    """
    # Flags such as has_token pass: they tell no secret and explain many a refusal.
    if key and _SECRET_KEY.search(key) and value is not None and not isinstance(value, bool):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {
            mask_text(str(name)): mask_value(item, key=str(name), depth=depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_value(item, depth=depth + 1) for item in value]
    return cap_text(mask_text(value if isinstance(value, str) else str(value)))
