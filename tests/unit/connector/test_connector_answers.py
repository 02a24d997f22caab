"""Binance's answers: each documented row by its class, and everything else unknown."""

from __future__ import annotations

import csv
from pathlib import Path

import aiohttp
import pytest

from services.common.errors import (
    AuthError,
    NotFoundError,
    RejectedError,
    RetryableError,
    UnreachableError,
)
from services.connector.ccxt_lean import errors as ccxt_errors
from services.connector.outcome import AnswerClass, classify_answer
from services.connector.send_judgement import Verdict, judge_send_error
from services.connector.venue_errors import VenueAnswerError, to_read_error
from services.connector.venue_http import read_answer
from services.connector.venues import find_profile
from services.connector.venues.binance_answers import read_refusal

TABLE = Path(__file__).parents[4] / "shared/data/errors/error_classification.csv"
VENUES = {"binance_spot": "binance", "binance_usdm": "binanceusdm"}
REJECT = AnswerClass.DEFINITE_REJECT
RETRY = AnswerClass.NOT_EXECUTED_RETRYABLE
UNKNOWN = AnswerClass.UNKNOWN_OUTCOME
RACE = AnswerClass.CANCEL_RACE_CHECK_FILL
DUPLICATE = AnswerClass.DUPLICATE_ID_QUERY_EXISTING
FATAL = AnswerClass.AUTH_OR_CONFIG_FATAL
NOOP = AnswerClass.IDEMPOTENT_NOOP

OWN_TABLE = [
    # status, code, message, class
    (429, "-1003", "Too many requests.", RETRY),
    (418, "-1003", "Way too many requests; IP banned", RETRY),
    (429, None, "", RETRY),
    (418, None, "", RETRY),
    (400, "-1015", "Too many new orders", RETRY),
    (400, "-1021", "Timestamp for this request is outside of the recvWindow.", RETRY),
    (408, "-1007", "Timeout waiting for response from backend server.", UNKNOWN),
    (504, "-1007", "Timeout waiting for response from backend server.", UNKNOWN),
    (400, "-1006", "An unexpected response was received", UNKNOWN),
    (500, "-1000", "An unknown error occured", UNKNOWN),
    (500, "-1001", "Internal error", UNKNOWN),
    (503, "-1008", "Server is currently overloaded", UNKNOWN),
    (503, "-2010", "a definite word behind a server error", UNKNOWN),
    (500, None, "", UNKNOWN),
    (502, None, "<html>", UNKNOWN),
    (524, None, "", UNKNOWN),
    (403, None, "<html>WAF</html>", UNKNOWN),
    (404, None, "x", UNKNOWN),
    (400, None, "x", UNKNOWN),
    (413, None, "", UNKNOWN),
    (200, None, "", UNKNOWN),
    (400, "-4500", "undocumented code", UNKNOWN),
    (400, "-1013", "Filter failure: LOT_SIZE", REJECT),
    (400, "-1111", "Precision is over the maximum", REJECT),
    (400, "-1121", "Invalid symbol.", REJECT),
    (400, "-2010", "Account has insufficient balance for requested action.", REJECT),
    (400, "-2010", "Order would immediately match and take.", REJECT),
    (400, "-2010", "Duplicate order sent.", DUPLICATE),
    (400, "-4116", "ClientOrderId is duplicated.", DUPLICATE),
    (400, "-2019", "Margin is insufficient.", REJECT),
    (400, "-2022", "ReduceOnly Order is rejected.", REJECT),
    (400, "-4164", "Order's notional must be no smaller than 100", REJECT),
    (400, "-5021", "could not be filled immediately", REJECT),
    (400, "-5022", "could not be executed as maker", REJECT),
    (400, "-2011", "Unknown order sent.", RACE),
    (400, "-2013", "Order does not exist.", RACE),
    (401, "-2015", "Invalid API-key, IP, or permissions for action.", FATAL),
    (400, "-2014", "API-key format invalid.", FATAL),
    (400, "-1022", "Signature for this request is not valid.", FATAL),
    (400, "-4046", "No need to change margin type.", NOOP),
]


@pytest.mark.parametrize("code", VENUES.values())
@pytest.mark.parametrize(("status", "number", "message", "wanted"), OWN_TABLE)
def test_answer_is_classified_by_status_and_code(
    code: str, status: int, number: str | None, message: str, wanted: AnswerClass
) -> None:
    """The table decides by HTTP status and venue code; what it does not name is unknown."""
    profile = find_profile(code)
    found = classify_answer(status, number, message, profile.answers, profile.answer_messages)
    assert found is wanted


def recorded_rows() -> list[dict[str, str]]:
    """Return the Binance rows of the recorded table, none where it is absent."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["venue"] in VENUES]


@pytest.mark.recorded
def test_every_recorded_row_has_its_class() -> None:
    """Each Binance row of error_classification.csv is classified as its class column says."""
    rows = recorded_rows()
    if not rows:
        pytest.skip("the recorded error table is not beside the repository")
    for row in rows:
        profile = find_profile(VENUES[row["venue"]])
        message = row["documented_text"].partition(": ")[2]
        for status in row["typical_http"].split("/"):
            found = classify_answer(
                int(status), row["code"], message, profile.answers, profile.answer_messages
            )
            assert found == row["class"], row
    assert len(rows) >= 20


def caused(error: Exception, cause: Exception) -> Exception:
    """Return `error` as raised from `cause`."""
    error.__cause__ = cause
    return error


REFUSED = aiohttp.ClientConnectorError(
    None,  # type: ignore[arg-type]  # the text of the error is not looked at
    OSError("refused"),
)
SENT_AND_LOST = [
    ccxt_errors.RequestTimeout("timeout"),
    caused(ccxt_errors.ExchangeNotAvailable("closed"), aiohttp.ServerDisconnectedError()),
    caused(ccxt_errors.ExchangeError("truncated"), aiohttp.ClientPayloadError()),
    ccxt_errors.NullResponse("empty"),
    ccxt_errors.InvalidOrder("a local class after sending"),
    KeyError("info"),
    TypeError("a reply of another shape"),
    ValueError("the venue's row has no orderId"),
]


@pytest.mark.parametrize("error", SENT_AND_LOST, ids=lambda e: type(e).__name__)
def test_any_exception_after_sending_is_unknown(error: Exception) -> None:
    """Whatever class an exception has, once the request left it proves nothing."""
    result = judge_send_error(error, left=True, profile=find_profile("binance"))
    assert result.verdict is Verdict.UNKNOWN


def test_exception_before_sending_is_not_sent() -> None:
    """What went wrong before the request left is definite."""
    profile = find_profile("binance")
    local = judge_send_error(ccxt_errors.InvalidOrder("x"), left=False, profile=profile)
    assert local.verdict is Verdict.NOT_SENT
    assert isinstance(local.error, RejectedError)
    limited = judge_send_error(RetryableError("wait"), left=False, profile=profile)
    assert isinstance(limited.error, RetryableError)
    refused = caused(ccxt_errors.ExchangeNotAvailable("refused"), REFUSED)
    unreachable = judge_send_error(refused, left=True, profile=profile)
    assert unreachable.verdict is Verdict.NOT_SENT
    assert isinstance(unreachable.error, UnreachableError)


def test_answers_of_the_venue_become_the_callers_errors() -> None:
    """Reject, fatal, retryable and duplicate each lead to their own verdict."""
    profile = find_profile("binanceusdm")

    def judge(status: int, code: str | None) -> tuple[Verdict, type | None]:
        answer = VenueAnswerError(status, code, "message")
        result = judge_send_error(answer, left=True, profile=profile)
        return result.verdict, None if result.error is None else type(result.error)

    assert judge(400, "-2019") == (Verdict.REJECTED, RejectedError)
    assert judge(401, "-2015") == (Verdict.REJECTED, AuthError)
    assert judge(429, "-1003") == (Verdict.NOT_SENT, RetryableError)
    assert judge(400, "-4116") == (Verdict.UNKNOWN, None)
    assert judge(503, None) == (Verdict.UNKNOWN, None)


@pytest.mark.parametrize(
    ("status", "body", "broken"),
    [
        (200, {"orderId": 1}, False),
        (200, [], False),
        (200, {"code": 200, "msg": "done"}, False),
        (200, {}, False),
        (200, None, True),
        (200, "text", True),
        (200, {"code": -2022, "msg": "ReduceOnly Order is rejected."}, True),
        (204, None, True),
        (400, {"code": -1121, "msg": "Invalid symbol."}, True),
        (500, {"orderId": 1}, True),
    ],
)
def test_only_a_json_success_is_a_success(status: int, body: object, *, broken: bool) -> None:
    """Empty, text, negative codes and bad statuses are errors with what is known of them."""
    assert (read_answer(status, {}, body, read_refusal) is not None) is broken


def test_retry_after_is_read_from_any_spelling() -> None:
    """The header's case does not matter; a date form is left out."""
    answer = read_answer(429, {"retry-after": "7"}, None, read_refusal)
    assert answer is not None
    assert answer.retry_after is not None
    assert answer.retry_after.total_seconds() == 7
    dated = read_answer(429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None, read_refusal)
    assert dated is not None
    assert dated.retry_after is None


def test_failed_reads_tell_what_may_be_done() -> None:
    """A read that failed is retryable, refused or unreachable; a bug of ours stays itself."""
    profile = find_profile("binance")
    limited = to_read_error(VenueAnswerError(429, "-1003", "slow down"), profile)
    assert isinstance(limited, RetryableError)
    assert isinstance(to_read_error(VenueAnswerError(502, None, ""), profile), UnreachableError)
    gone = to_read_error(VenueAnswerError(400, "-2013", "none"), profile)
    assert isinstance(gone, NotFoundError)
    assert gone.reason == "ORDER_NOT_FOUND"
    assert isinstance(to_read_error(KeyError("x"), profile), UnreachableError)
    assert isinstance(to_read_error(AssertionError("bug"), profile), AssertionError)
