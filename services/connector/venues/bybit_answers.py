"""Bybit's answers to an order request, spot and linear: which are definite, by (status, code).

Sources: Bybit V5 "Error Codes" (tables UTA, Spot Trade, HTTP) and "Place Order". Bybit refuses with
HTTP 200 and a `retCode`. Codes not named here, and every 5xx, leave the outcome unknown: so do
10000 (timeout), 10016 (server error), 170007 (backend timeout), 170032 (network error), 170146
(creation timeout) and 429 (high load), of which the venue does not say that nothing was done.
"""

from __future__ import annotations

from typing import Any, Final

from services.connector.outcome import AnswerClass, Refusal, answers_of

_REJECTED: Final = (
    # The request itself: parameters, route, symbol.
    *(10001, 10017, 10029, 110018, 110019, 110032, 110037, 110049, 110050, 110057),
    # Derivatives: price, funds, position, limits, reduce-only, state of the contract or account.
    *(110003, 110004, 110005, 110006, 110007, 110009, 110011, 110012, 110014, 110016, 110017),
    *(110020, 110021, 110022, 110023, 110034, 110039, 110040, 110041, 110042, 110044, 110045),
    *(110046, 110048, 110051, 110052, 110053, 110061, 110063, 110066, 110068, 110069, 110070),
    *(110074, 110080, 110085, 110086, 110087, 110088, 110089, 110090, 110092, 110093, 110094),
    *(110095, 110098, 110099, 110103, 30133, 30134, 30135, 30136, 30208),
    # Spot: parameters, filters, funds, state of the pair, borrowing refused before the order.
    *(170010, 170011, 170019, 170031, 170033, 170034, 170036, 170037, 170105, 170115, 170116),
    *(170117, 170121, 170124, 170130, 170131, 170132, 170133, 170134, 170135, 170136, 170137),
    *(170140, 170148, 170151, 170157, 170159, 170192, 170193, 170194, 170197, 170198, 170199),
    *(170200, 170202, 170203, 170204, 170206, 170209, 170210, 170217, 170218, 170221, 170223),
    *(170224, 170226, 170227, 170228, 170229, 170241, 170371, 170372),
)
_LIMITED: Final = (10006, 10018, 170005, 170222)
# -1 and 10002: the stamp lay outside the window, which is judged before the order.
_RETRYABLE: Final = (*_LIMITED, -1, 10002)
RATE_CODES: Final = frozenset(str(code) for code in _LIMITED)
_FATAL: Final = (
    *(10003, 10004, 10005, 10007, 10008, 10009, 10010, 10020, 10024, 10027, 10028, 33004),
    *(-2015, 100028, 110067, 170201),
)
_GONE: Final = (110001, 110008, 110010, 170139, 170142, 170143, 170190, 170213)
_DUPLICATE: Final = (110072, 170141, 10014)
_NOOP: Final = (110025, 110026, 110027, 110043)
_UNKNOWN: Final = (10000, 10016, 170001, 170007, 170032, 170146, 170149, 170234, 429)

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


def read_refusal(body: Any) -> Refusal | None:
    """Find a refusal in a parsed body: any `retCode` but zero, which comes as number or text."""
    raw = body.get("retCode") if isinstance(body, dict) else None
    if isinstance(raw, bool) or not isinstance(raw, (int, str)) or str(raw) in ("0", ""):
        return None
    return Refusal(str(raw)[:12], str(body.get("retMsg") or ""))
