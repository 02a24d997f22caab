"""Tasks, readings and errors as bytes: exact both ways, and strict about everything else."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import get_args

import pytest

from services.common.errors import (
    FatalError,
    InvalidFieldError,
    RetryableError,
    UnimplementedError,
    UnreachableError,
)
from services.scanner import task_wire
from services.scanner.books import Book, Level
from services.scanner.instruments import RateRow, SymbolRow, TickerRow, TradingStatus
from services.scanner.spans import Span
from services.scanner.task_wire import (
    READINGS,
    decode_error,
    decode_reading,
    decode_task,
    encode_error,
    encode_reading,
    encode_task,
)
from services.scanner.tasks import (
    ReadBook,
    ReadBorrowRates,
    ReadDetail,
    ReadFees,
    ReadHistory,
    ReadRates,
    ReadSymbols,
    ReadTickers,
    VenueTask,
)
from services.scanner.venue_codec import Detail, HistoryRead, Read, Reading

NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)
CASES: tuple[tuple[VenueTask, Reading], ...] = (
    (
        ReadSymbols("spotty"),
        Read(
            {
                "AUSDT": SymbolRow("AUSDT", "A", "USDT", TradingStatus.TRADING, True, None),
                "B:Ü": SymbolRow(
                    "B:Ü", "B", "", TradingStatus.UNKNOWN, False, timedelta(hours=4, microseconds=1)
                ),
            },
            {"CUSDT": "bad"},
        ),
    ),
    (
        ReadTickers("spotty"),
        Read({"A": TickerRow("A", Decimal("1E+3"), Decimal("0.10"), None)}),
    ),
    (
        ReadRates("perpy"),
        Read({"A": RateRow("A", Decimal("-0.00010000"), NOW, None, timedelta(hours=8))}),
    ),
    (ReadFees("perpy", "A"), Read({"": Decimal("0.0005")})),
    (ReadBorrowRates("spotty", ("A", "B")), Read({})),
    (
        ReadHistory("perpy", "", Span(1_700_000_000_000, 1_700_003_600_000)),
        HistoryRead({"A": ([1_700_000_000_000, 2], [0.1, -1e-300]), "B": ([], [])}, {"C": "odd"}),
    ),
    (ReadDetail("perpy", "A"), Detail(0.1 + 0.2, None, Decimal(7))),
    (
        ReadBook("perpy", "A", 20),
        Book((Level(Decimal(9), Decimal(1)),), (), NOW, NOW - timedelta(seconds=3)),
    ),
)
IDS = [type(task).__name__ for task, _ in CASES]


def altered(**changes: object) -> bytes:
    """Return a task's bytes with other fields in the document."""
    document = json.loads(encode_task(ReadFees("perpy", "A")))
    return json.dumps({**document, **changes}).encode()


def test_every_kind_of_task_is_covered() -> None:
    """A task that is added has its answer named, and a case here."""
    kinds = set(get_args(VenueTask))
    assert set(READINGS) == kinds
    assert {type(task) for task, _ in CASES} == kinds


@pytest.mark.parametrize(("task", "reading"), CASES, ids=IDS)
def test_tasks_and_readings_come_back_as_they_were(task: VenueTask, reading: Reading) -> None:
    """Nothing is lost on the way: digits, microseconds, absent figures."""
    assert decode_task(encode_task(task)) == task
    back = decode_reading(task, encode_reading(task, reading))
    assert back == reading
    assert repr(back) == repr(reading)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        altered(version=2),
        altered(version="1"),
        altered(kind="ReadMinds"),
        altered(kind=["ReadFees"]),
        altered(extra=1),
        altered(value=None),
        altered(value={"venue": "perpy"}),
        altered(value={"venue": "perpy", "symbol": 1}),
        altered(value={"venue": "perpy", "symbol": "A", "more": ""}),
    ],
)
def test_anything_but_a_task_is_refused(data: bytes) -> None:
    """A task of another version or another program is never guessed at."""
    with pytest.raises(InvalidFieldError):
        decode_task(data)


@pytest.mark.parametrize(
    "value",
    [
        {"price_volatility": True, "open_interest": None, "open_interest_notional": None},
        {"price_volatility": "0.1", "open_interest": None, "open_interest_notional": None},
        {"price_volatility": None, "open_interest": "NaN", "open_interest_notional": None},
        {"price_volatility": None, "open_interest": 1.5, "open_interest_notional": None},
        {"price_volatility": None, "open_interest": "one", "open_interest_notional": None},
    ],
)
def test_wrong_figures_are_refused(value: object) -> None:
    """No wrong type and no number that is none gets into statistics."""
    document = json.dumps({"version": 1, "kind": "ReadDetail", "value": value}).encode()
    with pytest.raises(InvalidFieldError):
        decode_reading(ReadDetail("perpy", "A"), zlib.compress(document))


@pytest.mark.parametrize("packed", ["AAA", "!", "AAAAAAAA8H8=", "AAAAAAAA+H8="])
def test_packed_numbers_are_whole_and_finite(packed: str) -> None:
    """Torn bytes, infinity and NaN are refused in histories too."""
    value = {"rows": {"A": ["", packed]}, "malformed": {}}
    document = json.dumps({"version": 1, "kind": "ReadHistory", "value": value}).encode()
    with pytest.raises(InvalidFieldError):
        decode_reading(ReadHistory("perpy", "", Span(0, 1)), zlib.compress(document))


def test_answers_to_other_tasks_are_refused() -> None:
    """A reading says what it answers."""
    data = encode_reading(ReadFees("perpy"), Read({}))
    with pytest.raises(InvalidFieldError, match="another task"):
        decode_reading(ReadBorrowRates("perpy", ()), data)


def test_readings_are_bounded_when_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small message cannot become all of the memory, and a torn one is no reading."""
    data = encode_reading(ReadFees("perpy"), Read({"A": Decimal(1)}))
    for torn in (data[:-3], b"no zlib"):
        with pytest.raises(InvalidFieldError):
            decode_reading(ReadFees("perpy"), torn)
    monkeypatch.setattr(task_wire, "MAX_READING_BYTES", 10)
    with pytest.raises(InvalidFieldError, match="too large"):
        decode_reading(ReadFees("perpy"), data)


def test_errors_keep_what_callers_branch_on() -> None:
    """The kind, the reason and the wait of an error survive; of a bug only its name goes out."""
    limited = RetryableError("slow down", retry_after=timedelta(seconds=7))
    back = decode_error(encode_error(limited))
    assert isinstance(back, RetryableError)
    assert (back.retry_after, back.reason) == (timedelta(seconds=7), limited.reason)
    for error in (
        UnreachableError("gone"),
        UnimplementedError("cannot"),
        InvalidFieldError("symbol", "is odd"),
    ):
        again = decode_error(encode_error(error))
        assert (type(again), str(again)) == (type(error), str(error))
    late = decode_error(encode_error(TimeoutError("took longer than 2 s")))
    assert str(late) == "took longer than 2 s"
    bug = decode_error(encode_error(KeyError("secret")))
    assert isinstance(bug, FatalError)
    assert str(bug) == "a worker failed: KeyError"
    assert isinstance(decode_error(b"\xff\xff"), FatalError)
