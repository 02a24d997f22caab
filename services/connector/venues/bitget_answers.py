"""Bitget's answers to an order request: which are definite, by code.

Source: Bitget API, "RestAPI Error Code". Codes that are not named here, "System is abnormal" and
"Request timed out" among them, leave the outcome unknown.
"""

from __future__ import annotations

from typing import Any, Final

from services.connector.outcome import AnswerClass, Refusal, answers_of

_REJECTED: Final = (
    # The request itself: parameters, scale, symbol.
    *("00171", "00172", "40017", "40019", "40020", "40034", "40102", "40108", "40302", "40304"),
    *("40305", "40309", "40402", "40403", "40500", "40706", "40708", "40774", "40808", "41103"),
    *("22004", "22005"),
    # The order: balance, size, price, position.
    *("40711", "40712", "40754", "40757", "40762", "43005", "43006", "43007", "43008", "43009"),
    *("43012", "45110", "45111", "45112", "45113", "45115", "41117", "22002", "40024"),
    *("50014", "50015", "50017", "50018", "50019", "50020", "50021"),
)
# Limits, and stamps outside the window that signing allows: judged before the order.
_RETRYABLE: Final = ("429", "30007", "40004", "40005", "40008")
RATE_CODES: Final = frozenset({"429", "30007"})
_FATAL: Final = (
    *("40001", "40002", "40003", "40006", "40009", "40011", "40012", "40014", "40016", "40018"),
    *("40031", "40036", "40037", "40038", "40085"),
)
_GONE: Final = ("22001", "40109", "40768", "43001", "43004", "43026")
_DUPLICATE: Final = ("40786", "43118", "45034")
_UNKNOWN: Final = ("40010", "40015", "40200", "40604", "40725", "45001")

ANSWERS: Final = answers_of(
    {
        AnswerClass.DEFINITE_REJECT: _REJECTED,
        AnswerClass.NOT_EXECUTED_RETRYABLE: _RETRYABLE,
        AnswerClass.AUTH_OR_CONFIG_FATAL: _FATAL,
        AnswerClass.CANCEL_RACE_CHECK_FILL: _GONE,
        AnswerClass.DUPLICATE_ID_QUERY_EXISTING: _DUPLICATE,
        AnswerClass.UNKNOWN_OUTCOME: _UNKNOWN,
    }
)
_DONE: Final = ("00000", "0")


def read_refusal(body: Any) -> Refusal | None:
    """Find a refusal in a parsed body: a code that is not the one of success, whatever the HTTP."""
    raw = body.get("code") if isinstance(body, dict) else None
    if not isinstance(raw, (int, str)) or isinstance(raw, bool) or str(raw) in ("", *_DONE):
        return None
    return Refusal(str(raw), str(body.get("msg") or body.get("message") or ""))
