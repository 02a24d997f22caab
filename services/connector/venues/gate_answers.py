"""Gate's answers to an order request: which are definite, by label.

Sources: Gate API v4, "Label list" and the `label` of each error there. Labels that are not named
here, SERVER_ERROR, INTERNAL and TOO_BUSY among them, leave the outcome unknown.
"""

from __future__ import annotations

from typing import Any, Final

from services.connector.outcome import AnswerClass, Refusal, answers_of

_REJECTED: Final = (
    # The request itself.
    *("INVALID_PARAM_VALUE", "INVALID_PROTOCOL", "INVALID_ARGUMENT", "INVALID_REQUEST_BODY"),
    *("MISSING_REQUIRED_PARAM", "BAD_REQUEST", "INVALID_CONTENT_TYPE", "NOT_ACCEPTABLE"),
    *("METHOD_NOT_ALLOWED", "INVALID_PRECISION", "INVALID_CURRENCY", "INVALID_CURRENCY_PAIR"),
    *("INVALID_CLIENT_ORDER_ID", "CONTRACT_NOT_FOUND", "MIXED_ACCOUNT_TYPE"),
    # The order: balance, size, price, position.
    *("BALANCE_NOT_ENOUGH", "MARGIN_BALANCE_NOT_ENOUGH", "FUTURES_BALANCE_NOT_ENOUGH"),
    *("INSUFFICIENT_AVAILABLE", "QUANTITY_NOT_ENOUGH", "AMOUNT_TOO_LITTLE", "AMOUNT_TOO_MUCH"),
    *("SIZE_TOO_LARGE", "SIZE_TOO_SMALL", "TOO_MANY_ORDERS", "TOO_MANY_CURRENCY_PAIRS"),
    *("PRICE_TOO_DEVIATED", "PRICE_THRESHOLD_EXCEEDED", "PRICE_OVER_LIQUIDATION"),
    *("PRICE_OVER_BANKRUPT", "LIQUIDATE_IMMEDIATELY", "RISK_LIMIT_EXCEEDED", "CONTRACT_NO_COUNTER"),
    *("POSITION_EMPTY", "POSITION_IN_LIQUIDATION", "POSITION_IN_CLOSE", "INCREASE_POSITION"),
    *("REDUCE_EXCEEDED", "CONTRACT_IN_DELISTING", "TRADE_RESTRICTED", "MARGIN_NOT_SUPPORTED"),
    *("POC_FILL_IMMEDIATELY", "ORDER_POC_IMMEDIATE", "FOK_NOT_FILL"),
)
# Refused before it was looked at: too many requests, or a stamp outside the window.
_RETRYABLE: Final = ("TOO_MANY_REQUESTS", "TOO_FAST", "REQUEST_EXPIRED")
RATE_CODES: Final = frozenset({"TOO_MANY_REQUESTS", "TOO_FAST"})
_FATAL: Final = (
    *("AUTHENTICATION_FAILED", "INVALID_CREDENTIALS", "INVALID_KEY", "IP_FORBIDDEN", "READ_ONLY"),
    *("INVALID_SIGNATURE", "MISSING_REQUIRED_HEADER", "ACCOUNT_LOCKED", "FORBIDDEN"),
    *("SUB_ACCOUNT_LOCKED", "SUB_ACCOUNT_NOT_FOUND", "USER_NOT_FOUND"),
)
_GONE: Final = (
    *("ORDER_NOT_FOUND", "CLIENT_ID_NOT_FOUND", "ORDER_CLOSED", "ORDER_CANCELLED"),
    "ORDER_FINISHED",
)
_DUPLICATE: Final = ("REPEATED_CREATION",)
_UNKNOWN: Final = ("SERVER_ERROR", "INTERNAL", "TOO_BUSY")

ANSWERS: Final = answers_of(
    {
        AnswerClass.DEFINITE_REJECT: _REJECTED,
        AnswerClass.NOT_EXECUTED_RETRYABLE: _RETRYABLE,
        AnswerClass.AUTH_OR_CONFIG_FATAL: _FATAL,
        AnswerClass.CANCEL_RACE_CHECK_FILL: _GONE,
        AnswerClass.DUPLICATE_ID_QUERY_EXISTING: _DUPLICATE,
        AnswerClass.IDEMPOTENT_NOOP: ("NO_CHANGE",),
        AnswerClass.UNKNOWN_OUTCOME: _UNKNOWN,
    }
)


def read_refusal(body: Any) -> Refusal | None:
    """Find a refusal in a parsed body: a label; in a row of a batch an empty one is a success."""
    label = body.get("label") if isinstance(body, dict) else None
    if not isinstance(label, str) or not label:
        return None
    return Refusal(label, str(body.get("message") or body.get("detail") or ""))
