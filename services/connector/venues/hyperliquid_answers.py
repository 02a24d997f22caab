"""Hyperliquid's answers to an order request. It has no codes: its sentences get a name here.

Source: API, "Error responses"; the names are the document's "error type". Refusals come with HTTP
200, of one order inside `statuses`, of the whole request as `{"status": "err"}`. A sentence that is
not named here leaves the outcome unknown.
"""

from __future__ import annotations

from typing import Any, Final

from services.connector.outcome import AnswerClass, Refusal

UNNAMED: Final = "Unnamed"
_REJECTED: Final = {
    "Price must be divisible by tick size": "Tick",
    "Order must have minimum value of": "MinTradeNtl",
    "Insufficient margin to place order": "PerpMargin",
    "Reduce only order would increase position": "ReduceOnly",
    "Post only order would have immediately matched": "BadAloPx",
    # Nothing was matched: had a part been, the answer would be "filled".
    "Order could not immediately match against any resting orders": "IocCancel",
    "Invalid TP/SL price": "BadTriggerPx",
    "No liquidity available for market order": "MarketOrderNoLiquidity",
    "Order would increase open interest while open interest is capped": "OpenInterestCap",
    "Order rejected due to price more aggressive than oracle": "TooAggressiveAtCap",
    "Order would increase open interest too quickly": "OpenInterestIncrease",
    "Order has insufficient spot balance to trade": "InsufficientSpotBalance",
    "Order price too far from oracle": "Oracle",
    "Order would cause position to exceed margin tier limit": "PerpMaxPosition",
    "Order has zero size": "ZeroSize",
    "Order has invalid size": "InvalidSize",
    "Order has invalid price": "InvalidPrice",
}
_GONE: Final = {"Order was never placed, already canceled, or filled": "MissingOrder"}
_RETRYABLE: Final = {"Too many cumulative requests sent": "TooManyRequests"}
_FATAL: Final = {
    "User or API Wallet": "UnknownWallet",
    "Must deposit before performing actions": "NoDeposit",
}
RATE_CODES: Final = frozenset(_RETRYABLE.values())
_GROUPS: Final = (
    (_REJECTED, AnswerClass.DEFINITE_REJECT),
    (_GONE, AnswerClass.CANCEL_RACE_CHECK_FILL),
    (_RETRYABLE, AnswerClass.NOT_EXECUTED_RETRYABLE),
    (_FATAL, AnswerClass.AUTH_OR_CONFIG_FATAL),
)
_NAMES: Final = {start: name for group, _ in _GROUPS for start, name in group.items()}

ANSWERS: Final[dict[tuple[int | None, str], AnswerClass]] = {
    **{(None, name): answer for group, answer in _GROUPS for name in group.values()},
    (None, "unknownOid"): AnswerClass.CANCEL_RACE_CHECK_FILL,
}


def read_refusal(body: Any) -> Refusal | None:
    """Find a refusal in a parsed body: of the request, of its one order, or of a question."""
    if not isinstance(body, dict):
        return None
    status, response = body.get("status"), body.get("response")
    if status == "unknownOid":
        return Refusal("unknownOid", "the venue has no such order")
    if status == "err":
        return _named(str(response))
    if body.get("error"):
        return _named(str(body["error"]))
    data = response.get("data") if isinstance(response, dict) else None
    if not isinstance(data, dict):
        return None
    statuses = data.get("statuses")
    rows = statuses if isinstance(statuses, list) else [data.get("status")]
    # Orders go one by one, so the first refusal is the refusal.
    errors = (row["error"] for row in rows if isinstance(row, dict) and "error" in row)
    error = next(errors, None)
    return None if error is None else _named(str(error))


def _named(sentence: str) -> Refusal:
    name = next((name for start, name in _NAMES.items() if sentence.startswith(start)), UNNAMED)
    return Refusal(name, sentence)
