"""Pages of a history: no row lost, none repeated, whatever the venue's cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidFieldError, RejectedError
from services.connector.page_tokens import (
    Position,
    decode_token,
    encode_token,
    read_page_size,
)
from services.connector.venue_pages import Answer, HistoryRequest, read_history

START = datetime(2026, 1, 1, tzinfo=UTC)
START_MS = 1_767_225_600_000


def place(row: dict[str, Any]) -> tuple[int, str]:
    """Return a row's time and symbol."""
    return row["time"], row["symbol"]


class FakeVenue:
    """A history that answers as Binance does: from startTime, inclusive, at most `limit` rows."""

    def __init__(self, rows: list[dict[str, Any]], most: int) -> None:
        self.rows = sorted(rows, key=lambda row: row["time"])
        self.most = most
        self.calls = 0

    async def fetch(self, start: int | None, end: int | None, limit: int) -> Answer:
        """Return what the venue would."""
        self.calls += 1
        found = [
            row
            for row in self.rows
            if (start is None or row["time"] >= start) and (end is None or row["time"] <= end)
        ]
        size = min(limit, self.most)
        found = found[:size] if start is not None else found[-size:]
        return Answer(found, len(found))


async def read_all(venue: FakeVenue, page_size: int, **changes: Any) -> list[tuple[int, str]]:
    """Follow the tokens to the end."""
    found: list[tuple[int, str]] = []
    token = ""
    for _ in range(500):
        request = HistoryRequest(
            **{"symbol": None, "start": START, "end": None, **changes},
            page_size=page_size,
            page_token=token,
        )
        rows, token = await read_history(request, venue.fetch, place)
        assert len(rows) <= page_size
        found.extend(place(row) for row in rows)
        if not token:
            return found
    raise AssertionError("the pages have no end")


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), max_size=300, unique=True),
    st.integers(1, 70),
)
@settings(max_examples=60, deadline=None)
async def test_following_the_tokens_gives_every_row_once_in_order(
    pairs: list[tuple[int, int]], page_size: int
) -> None:
    """For any rows at any, also equal, times and any page size."""
    rows = [{"time": START_MS + time, "symbol": f"S{symbol:03d}"} for time, symbol in pairs]
    # With a symbol a call asks for 100 rows or so: the venue's cut falls inside the instants.
    venue = FakeVenue(rows, 1000)
    assert await read_all(venue, page_size, symbol="S") == sorted(place(row) for row in rows)


async def test_a_cut_inside_one_instant_loses_and_repeats_nothing() -> None:
    """300 symbols settle at one instant, and 1000 rows end within the fourth."""
    rows = [
        {"time": START_MS + hour * 3_600_000, "symbol": f"S{symbol:03d}"}
        for hour in range(8)
        for symbol in range(300)
    ]
    venue = FakeVenue(rows, 1000)
    assert await read_all(venue, 1000) == sorted(place(row) for row in rows)


async def test_one_symbol_pages_with_small_answers() -> None:
    """A page of three needs no thousand rows."""
    rows = [{"time": START_MS + hour, "symbol": "A"} for hour in range(500)]
    venue = FakeVenue(rows, 1000)
    found = await read_all(venue, 3, symbol="A")
    assert found == [place(row) for row in rows]


async def test_an_instant_with_more_rows_than_an_answer_is_refused_instead_of_cut() -> None:
    """Losing rows in silence is worse than an error that says what to do."""
    rows = [{"time": START_MS, "symbol": f"S{number:04d}"} for number in range(1200)]
    with pytest.raises(RejectedError) as caught:
        await read_all(FakeVenue(rows, 1000), 1000)
    assert caught.value.reason == "HISTORY_TOO_DENSE"


async def test_the_limit_bounds_all_pages_together() -> None:
    """Ten rows in pages of four are four, four and two."""
    rows = [{"time": START_MS + hour, "symbol": "A"} for hour in range(50)]
    found = await read_all(FakeVenue(rows, 1000), 4, symbol="A", limit=10)
    assert found == [place(row) for row in rows[:10]]


async def test_without_a_start_the_newest_rows_come_oldest_first() -> None:
    """The last page_size rows, and no token."""
    rows = [{"time": START_MS + hour, "symbol": "A"} for hour in range(50)]
    request = HistoryRequest(symbol="A", start=None, end=None, page_size=5)
    found, token = await read_history(request, FakeVenue(rows, 1000).fetch, place)
    assert [place(row) for row in found] == [place(row) for row in rows[-5:]]
    assert token == ""


async def test_the_end_is_exclusive() -> None:
    """A settlement at the end belongs to the next window."""
    rows = [{"time": START_MS + hour * 3_600_000, "symbol": "A"} for hour in range(5)]
    end = START + timedelta(hours=3)
    found = await read_all(FakeVenue(rows, 1000), 100, end=end)
    assert found == [place(row) for row in rows[:3]]


async def test_an_end_before_the_start_is_refused() -> None:
    """An empty window is a mistake of the caller's."""
    with pytest.raises(InvalidFieldError, match="end_time"):
        await read_all(FakeVenue([], 1000), 10, end=START)


def test_a_token_comes_back_as_written() -> None:
    """Time, key and remaining survive."""
    position = Position(START_MS, "BTCUSDT", 7)
    assert decode_token(encode_token(position, "f"), "f") == position


@pytest.mark.parametrize("token", ["", "x", "!!!!", "W10", "bnVsbA", "é", "WzEsMiwzLDRd"])
def test_a_damaged_token_is_refused_by_name(token: str) -> None:
    """Garbage is INVALID_ARGUMENT, not INTERNAL."""
    with pytest.raises(InvalidFieldError, match="page_token"):
        decode_token(token, "f")


def test_a_token_of_other_filters_is_refused() -> None:
    """A token of one symbol must not skip rows of another."""
    with pytest.raises(InvalidFieldError, match="page_token"):
        decode_token(encode_token(Position(1), "f"), "g")


@pytest.mark.parametrize(("asked", "given"), [(0, 1000), (5, 5), (1000, 1000), (5000, 1000)])
def test_page_sizes_have_a_default_and_a_maximum(asked: int, given: int) -> None:
    """Zero is the default, too much is cut."""
    assert read_page_size(asked) == given


def test_a_negative_page_size_is_refused() -> None:
    """Below zero is an error."""
    with pytest.raises(InvalidFieldError, match="page_size"):
        read_page_size(-1)
