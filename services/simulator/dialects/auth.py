"""Signed requests: API key, HMAC-SHA256 over the raw parameters, timestamp within recvWindow."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime

from services.simulator.core.accounts import Account, Accounts
from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError

DEFAULT_RECV_WINDOW = 5000
MAX_RECV_WINDOW = 60_000
AHEAD = 1000
_SIGNATURE = re.compile(r"(^|&)signature=([^&]*)")


def account_of_key(accounts: Accounts, api_key: str | None) -> Account:
    """Return the account of a key; raises VenueError -2014 or -2015."""
    if not api_key:
        raise VenueError(-2014, "API-key format invalid.", 401)
    account = accounts.by_key(api_key)
    if account is None:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return account


def check_signature(secret: str, query: str, body: str) -> None:
    """Raise VenueError -1022 unless the parameters carry the right signature.

    What is signed is the query followed by the body, byte for byte as sent, without the signature.
    """
    sent = ""
    signed = ""
    for part in (query, body):
        found = _SIGNATURE.search(part)
        if found:
            sent = found.group(2)
            signed += part[: found.start()] + part[found.end() :]
        else:
            signed += part
    if not sent:
        raise VenueError(
            -1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed."
        )
    check_payload(secret, signed, sent)


def check_ws_signature(secret: str, params: Mapping[str, object]) -> None:
    """Raise VenueError -1022 unless a WebSocket request's parameters are signed.

    What is signed is `name=value` of every parameter but the signature, sorted by name.
    """
    signed = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
    check_payload(secret, signed, str(params.get("signature", "")))


def check_payload(secret: str, signed: str, signature: str) -> None:
    """Raise VenueError -1022 unless `signature` is the HMAC-SHA256 of `signed`, in hex."""
    expected = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    # encoded, because compare_digest refuses text that is not ASCII
    if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
        raise VenueError(-1022, "Signature for this request is not valid.")


def check_timestamp(now: datetime, timestamp: int | None, recv_window: int | None) -> None:
    """Raise VenueError -1021 unless the request is fresh on the wire clock."""
    # without one the venue takes five seconds
    window = DEFAULT_RECV_WINDOW if recv_window is None else recv_window
    if window > MAX_RECV_WINDOW:
        raise VenueError(-1131, "recvWindow must be less than 60000")
    if timestamp is None:
        raise VenueError(
            -1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed."
        )
    server = millis(now)
    # a clock that runs ahead is refused sooner than one that lags
    if timestamp >= server + AHEAD:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if server - timestamp > window:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
