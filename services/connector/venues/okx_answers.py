"""OKX's answers to an order request: which are definite, by (status, code).

OKX refuses with HTTP 200 and a code in the envelope, or in `sCode` of the one row that was refused.
Sources: OKX API v5, "Error Code" (REST, 50000-59999). Codes not named here, and every 5xx but the
documented maintenance, leave the outcome unknown: among them 50004 ("does not mean that the request
was successful or failed"), 50026 (system error) and 51149 (order timed out).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.connector.outcome import AnswerClass, Refusal, answers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_REJECTED: Final = (
    # The request: body, parameters, content type.
    *(50000, 50002, 50006, 50014, 50015, 50016, 50024, 50025, 50115),
    # The account, currency or instrument is blocked, frozen or restricted.
    *(50007, 50009, 50012, *range(50017, 50024), *range(50027, 50031), 50032, 50033, 50041),
    *(50046, 50051, 50052, 50059, 50060, 50062),
    # The order: instrument, size, price, balance, margin, position, mode.
    *range(51000, 51011),
    *(51012, 51014, 51015, *range(51017, 51032), 51046, 51047, 51051, *range(51072, 51075)),
    *range(51100, 51112),
    *(51112, *range(51115, 51140), 51155, 51156, 51159, 51162, 51163, 51166, 51169, 51170),
    *(51174, 51185, *range(51201, 51206), *range(51321, 51331)),
    *(51732, 51733, 51734, 51735, 51736, 54000, 54001, 54008, 54009, 54011, 54051, 54072, 54073),
    *(54074, 54094),
)
# Judged before the order: rate limits, a stamp out of its 30 s, an expTime that has passed.
_RETRYABLE: Final = (50011, 50036, 50037, 50040, 50061, 50102, 51113)
_FATAL: Final = (50008, 50010, 50035, 50100, 50101, *range(50103, 50115), 50119)
_GONE: Final = (51400, 51401, 51402, 51405, 51410, 51503, 51509, 51510, 51603)
_DUPLICATE: Final = (51011, 51016)
_UNKNOWN: Final = (50001, 50004, 50005, 50013, 50026, 50042, 51149)
RATE_CODES: Final = frozenset({"50011", "50040", "50061", "51113"})
GONE_CODES: Final = frozenset(str(code) for code in _GONE)

ANSWERS: Final[dict[tuple[int | None, str], AnswerClass]] = {
    **answers_of(
        {
            AnswerClass.DEFINITE_REJECT: _REJECTED,
            AnswerClass.NOT_EXECUTED_RETRYABLE: _RETRYABLE,
            AnswerClass.AUTH_OR_CONFIG_FATAL: _FATAL,
            AnswerClass.CANCEL_RACE_CHECK_FILL: _GONE,
            AnswerClass.DUPLICATE_ID_QUERY_EXISTING: _DUPLICATE,
            AnswerClass.UNKNOWN_OUTCOME: _UNKNOWN,
        }
    ),
    # With these statuses only: the same words elsewhere are not documented as "not executed".
    (503, "50001"): AnswerClass.NOT_EXECUTED_RETRYABLE,
    (429, "50013"): AnswerClass.NOT_EXECUTED_RETRYABLE,
}

_DONE: Final = ("0", "2")


def read_refusal(body: Any) -> Refusal | None:
    """Find a refusal in a parsed body; one without OKX's envelope is a refusal with no code.

    Of several refused rows, one that says more than "gone already" goes first: a batch of cancels
    is done when all its orders are gone.
    """
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(code, (str, int)) or isinstance(code, bool):
        # An envelope that is none must not read as an empty list of orders.
        return Refusal("", "the reply is not in the venue's envelope")
    refused = [row for row in _rows(body) if str(row.get("sCode") or "0") != "0"]
    if refused:
        told = [row for row in refused if str(row["sCode"]) not in GONE_CODES] or refused
        return Refusal(str(told[0]["sCode"]), str(told[0].get("sMsg") or ""))
    if str(code) in _DONE:
        return None
    return Refusal(str(code), str(body.get("msg") or ""))


def _rows(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = body.get("data")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
