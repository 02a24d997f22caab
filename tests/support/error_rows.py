"""Answers to an order request with what they prove, and the bodies venues put them in."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from services.connector.outcome import AnswerClass
from services.connector.send_judgement import Verdict
from tests.support.canned_venue import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("OPENSQT_DATA", _ROOT.parent / "shared" / "data"))

VERDICTS = {
    AnswerClass.DEFINITE_REJECT: Verdict.REJECTED,
    AnswerClass.AUTH_OR_CONFIG_FATAL: Verdict.REJECTED,
    AnswerClass.NOT_EXECUTED_RETRYABLE: Verdict.NOT_SENT,
    AnswerClass.UNKNOWN_OUTCOME: Verdict.UNKNOWN,
    AnswerClass.CANCEL_RACE_CHECK_FILL: Verdict.UNKNOWN,
    AnswerClass.DUPLICATE_ID_QUERY_EXISTING: Verdict.UNKNOWN,
}
ORDER_PATHS = {
    "binance": "POST /api/v3/order",
    "binanceusdm": "POST /fapi/v1/order",
    "okx-spot": "POST /api/v5/trade/order",
    "okx-swap": "POST /api/v5/trade/order",
    "bybit-linear": "POST /v5/order/create",
    "bybit-spot": "POST /v5/order/create",
    "gate-spot": "POST /api/v4/spot/orders",
    "gate-swap": "POST /api/v4/futures/usdt/orders",
    "bitget-spot": "POST /api/v2/spot/trade/place-order",
    "bitget-swap": "POST /api/v2/mix/order/place-order",
    "hyperliquid": "POST /exchange order",
}


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One documented answer: where, HTTP status, the venue's code and words, and its class."""

    venue: str
    status: int
    code: str
    message: str
    answer: AnswerClass

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the venues under which the answer is tried."""
        if self.venue == "bybit":
            return ("bybit-spot",) if self.code.startswith("170") else ("bybit-linear",)
        return {
            "binance_spot": ("binance",),
            "binance_usdm": ("binanceusdm",),
            "okx": ("okx-spot", "okx-swap"),
            "gate": ("gate-spot", "gate-swap"),
            "bitget": ("bitget-spot", "bitget-swap"),
        }[self.venue]

    def reply(self) -> Answer:
        """Return the answer as the venue words it."""
        return Answer(self._body(), self.status)

    def _body(self) -> dict[str, Any]:
        if self.venue.startswith("binance"):
            return {"code": int(self.code), "msg": self.message}
        if self.venue == "okx" and self.status == 200:
            # A refusal of the order itself stands in its row.
            row = {"sCode": self.code, "sMsg": self.message, "ordId": "", "clOrdId": "trend1"}
            return {"code": "1", "msg": "All operations failed", "data": [row]}
        if self.venue == "okx":
            return {"code": self.code, "msg": self.message, "data": []}
        if self.venue == "bybit":
            return {"retCode": int(self.code), "retMsg": self.message, "result": {}, "time": 1}
        if self.venue == "gate":
            return {"label": self.code, "message": self.message}
        return {"code": self.code, "msg": self.message, "requestTime": 1, "data": None}


def _row(venue: str, status: str, code: str, text: str, answer: str) -> Iterable[ErrorRow]:
    words = text.partition(": ")[2] if venue.startswith("binance") else text
    for one in status.split("/"):
        yield ErrorRow(venue, int(one), code, words, AnswerClass(answer))


def recorded_rows() -> tuple[int, list[ErrorRow]]:
    """Return how many rows the recorded table has, and one answer for each status of each.

    Skips where the table is absent.
    """
    table = DATA / "errors" / "error_classification.csv"
    if not table.is_file():
        pytest.skip(f"no recorded data at {DATA}; set OPENSQT_DATA")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return len(rows), [
        one
        for row in rows
        for one in _row(
            row["venue"], row["typical_http"], row["code"], row["documented_text"], row["class"]
        )
    ]


def own_rows() -> list[ErrorRow]:
    """Return a few answers of each venue, and of each class."""
    rows = (
        ("binance_spot", "400", "-2010", "REJECTED: Account has insufficient balance", _REJECT),
        ("binance_usdm", "400", "-2019", "MARGIN: Margin is insufficient.", _REJECT),
        ("binance_usdm", "408", "-1007", "TIMEOUT: Timeout waiting for response", _UNKNOWN),
        ("okx", "200", "51008", "Order failed. Insufficient USDT balance in account", _REJECT),
        ("okx", "429", "50011", "Rate limit reached", _RETRY),
        ("bybit", "200", "110007", "Available balance is insufficient", _REJECT),
        ("bybit", "200", "170007", "Timeout waiting for response from backend", _UNKNOWN),
        ("gate", "400", "BALANCE_NOT_ENOUGH", "Balance is not enough", _REJECT),
        ("gate", "500", "SERVER_ERROR", "Internal server error", _UNKNOWN),
        ("gate", "500", "BALANCE_NOT_ENOUGH", "behind a server error", _UNKNOWN),
        ("gate", "403", "REQUEST_EXPIRED", "Timestamp is far from the server time", _RETRY),
        ("gate", "400", "REPEATED_CREATION", "text used before", _DUPLICATE),
        ("gate", "401", "INVALID_KEY", "Invalid key provided", _FATAL),
        ("gate", "400", "ADDED_TOMORROW", "a label that nobody knows", _UNKNOWN),
        ("bitget", "400", "43012", "Insufficient balance", _REJECT),
        ("bitget", "400", "40015", "System is abnormal, please try again later", _UNKNOWN),
        ("bitget", "400", "45034", "clientOid duplicate", _DUPLICATE),
        ("bitget", "200", "43001", "The order does not exist", _RACE),
        ("bitget", "429", "429", "Too many requests", _RETRY),
        ("bitget", "400", "40009", "sign signature error", _FATAL),
    )
    return [one for row in rows for one in _row(*row)]


_REJECT = AnswerClass.DEFINITE_REJECT
_RETRY = AnswerClass.NOT_EXECUTED_RETRYABLE
_UNKNOWN = AnswerClass.UNKNOWN_OUTCOME
_RACE = AnswerClass.CANCEL_RACE_CHECK_FILL
_DUPLICATE = AnswerClass.DUPLICATE_ID_QUERY_EXISTING
_FATAL = AnswerClass.AUTH_OR_CONFIG_FATAL
