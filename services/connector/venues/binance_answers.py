"""Binance's answers to an order request, spot and USD-M: which are definite, by (status, code).

Sources: binance-spot-api-docs errors.md; USD-M error_codes.md. Codes not named here, and every 5xx,
leave the outcome unknown. That holds for -1008 (overload, documented as not executed) too: asking
costs one fence, believing a wrong word costs a position.
"""

from __future__ import annotations

from typing import Any, Final

from services.connector.outcome import AnswerClass, Refusal, answers_of

_REJECTED: Final = (
    # The request itself: parameters, precision, filters. It did not reach the matching engine.
    *(-1013, -1014, -1020, -1023, -1099, -1100, -1101, -1102, -1103, -1104, -1105, -1106, -1108),
    *(-1109, -1110, -1111, -1112, -1113, -1114, -1115, -1116, -1117, -1118, -1119, -1120, -1121),
    *(-1122, -1125, -1126, -1127, -1128, -1130, -1131, -1134, -1135, -1136, -1139, -1145, -1151),
    # The order: balance, margin, position, price, reduce-only, position side.
    *(-2010, -2016, -2018, -2019, -2020, -2021, -2022, -2023, -2024, -2025, -2027, -2028),
    *range(-4033, -3999),
    *(-4044, -4045, -4047, -4048, -4054, -4055, -4060, -4061, -4062, -4067, -4068, -4069, -4082),
    *(-4083, -4084, -4085, -4086, -4087, -4088, -4109, -4110, -4112, -4113, -4114, -4115, -4117),
    *(-4118, -4131, -4135, -4136, -4137, -4138, -4139, -4140, -4141, -4142, -4144, -4161, -4164),
    *(-4167, -4168, -4183, -4184, -4192, -4400, -4401, -4402, -4403),
    *(-5021, -5022, -5024, -5025, -5026, -5027, -5028),
    # Spot margin: borrowing refused before the order.
    *(-3006, -3008, -3012, -3021, -3022, -3027, -3028, -3041, -3042, -3045, -3067, -11007),
)
# Limits, a stamp outside recvWindow and too many connections are judged before the order.
_RETRYABLE: Final = (-1003, -1015, -1021, -1034, -1035)
RATE_CODES: Final = frozenset({"-1003", "-1015"})
_FATAL: Final = (-1002, -1022, -2008, -2014, -2015, -2017)
# -2026: on spot an old order, ended without a fill and archived; on USD-M a refusal, which asking
# after the fence proves as well.
_GONE: Final = (-2011, -2013, -2026)
_DUPLICATE: Final = (-4116,)
_NOOP: Final = (-4046, -4059)
_UNKNOWN: Final = (-1000, -1001, -1006, -1007, -1008, -1016)

ANSWERS: Final = answers_of(
    {
        AnswerClass.DEFINITE_REJECT: _REJECTED,
        AnswerClass.NOT_EXECUTED_RETRYABLE: _RETRYABLE,
        AnswerClass.AUTH_OR_CONFIG_FATAL: _FATAL,
        AnswerClass.CANCEL_RACE_CHECK_FILL: _GONE,
        AnswerClass.DUPLICATE_ID_QUERY_EXISTING: _DUPLICATE,
        AnswerClass.IDEMPOTENT_NOOP: _NOOP,
        AnswerClass.UNKNOWN_OUTCOME: _UNKNOWN,
    }
)

ANSWER_MESSAGES: Final[dict[tuple[str, str], AnswerClass]] = {
    # The one -2010 that does not mean "nothing happened": an open order has this client id already.
    ("-2010", "Duplicate order sent"): AnswerClass.DUPLICATE_ID_QUERY_EXISTING,
    ("-2010", "Duplicate clientOrderId"): AnswerClass.DUPLICATE_ID_QUERY_EXISTING,
}


def read_refusal(body: Any) -> Refusal | None:
    """Find a refusal in a parsed body: Binance's codes are negative, a success has none or 200."""
    raw = body.get("code") if isinstance(body, dict) else None
    # Codes come as numbers and as text ("000000" is a success of some sapi endpoints).
    text = str(raw) if isinstance(raw, (int, str)) and not isinstance(raw, bool) else ""
    digits = text.removeprefix("-")
    if digits == text or not (digits.isascii() and digits.isdigit()):
        return None
    return Refusal(text[:12], str(body.get("msg") or ""))
