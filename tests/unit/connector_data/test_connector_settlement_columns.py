"""Settlements by column: the same as row by row, whatever the venue sends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opensqt.market_maker.v1 import exchange_pb2
from services.connector.row_quarantine import RowQuarantine
from services.connector.settlement_columns import read_clean, read_settled, to_columns
from services.scanner.venue_codec import HistoryRead, read_history

KNOWN = {"AAAUSDT": "AAAUSDT", "1000PEPEUSDT": "PEPEUSDT"}
GOOD_ROWS = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from([*KNOWN, "UNKNOWN"]),
        "fundingTime": st.integers(1, 10**15 - 1),
        "fundingRate": st.sampled_from(["0.00010000", "-0.00000000", "0", "-0.00375", "12.5"]),
        "markPrice": st.sampled_from(["", "1.5", "junk"]),
    }
)
DAMAGE: st.SearchStrategy[object] = st.sampled_from(
    [
        None,
        True,
        [],
        "",
        0,
        -5,
        7.0,
        "1e-4",
        "٣",
        "nan",
        " 0.1",
        "0.1\n",
        "007",
        "+1",
        "1_0",
        10**16,
    ]
)


def settled_rows(rows: list[object]) -> list[object]:
    """Return what reading row by row makes of them."""
    return RowQuarantine().collect(
        "rows",
        rows,
        lambda row: read_settled(row, KNOWN.get),
        whole=False,
    )


@given(st.lists(GOOD_ROWS, min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_clean_page_reads_by_column_as_row_by_row(rows: list[dict[str, object]]) -> None:
    """Rates, places, names by the thousand, and rows of symbols that are not ours."""
    assert read_clean(rows, KNOWN.get) == settled_rows(list(rows))


@given(GOOD_ROWS, st.sampled_from(["symbol", "fundingTime", "fundingRate"]), DAMAGE)
@settings(max_examples=200, deadline=None)
def test_a_damaged_row_is_never_read_by_column_otherwise_than_alone(
    row: dict[str, object], key: str, value: object
) -> None:
    """A value that only the reading by rows can judge sends the whole page that way."""
    rows = [row, {**row, key: value}, row]
    clean = read_clean(rows, KNOWN.get)
    assert clean is None or clean == settled_rows(list(rows))


@pytest.mark.parametrize("rows", [[], {}, None, ["text"], [{}], [{"symbol": "AAAUSDT"}]])
def test_what_is_no_page_is_left_to_the_reading_by_rows(rows: object) -> None:
    """That tells an empty page from a broken one."""
    assert read_clean(rows, KNOWN.get) is None


@given(st.lists(GOOD_ROWS, max_size=20))
@settings(max_examples=50, deadline=None)
def test_columns_and_rows_on_the_wire_are_the_same_history(rows: list[dict[str, object]]) -> None:
    """What the scanner reads does not depend on the form of the answer."""
    settled = read_clean(rows, KNOWN.get) or []
    told = exchange_pb2.GetHistoricalFundingRatesResponse()
    for (time, symbol), rate in settled:
        if rate is not None:
            told.rates.add(symbol=symbol, timestamp=time).rate.value = rate
    by_rows, by_columns = HistoryRead(), HistoryRead()
    read_history(told, by_rows)
    answer = exchange_pb2.GetHistoricalFundingRatesResponse(columns=to_columns(settled))
    read_history(answer, by_columns)
    assert by_columns == by_rows
