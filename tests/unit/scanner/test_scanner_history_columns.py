"""Histories in columns: a damaged value marks its symbol, columns that do not fit are refused."""

from __future__ import annotations

import pytest

from opensqt.market_maker.v1 import exchange_pb2
from services.common.errors import InvalidFieldError
from services.scanner.venue_codec import HistoryRead, read_history


def answer(
    indexes: list[int], times: list[int], rates: list[str]
) -> exchange_pb2.GetHistoricalFundingRatesResponse:
    """Return an answer about AAAUSDT and BBBUSDT."""
    columns = exchange_pb2.FundingRateColumns(
        symbols=["AAAUSDT", "BBBUSDT"], symbol_indexes=indexes, timestamps=times, rates=rates
    )
    return exchange_pb2.GetHistoricalFundingRatesResponse(columns=columns)


@pytest.mark.parametrize(
    "rate", ["", "nan", "inf", "1e-4", "1_0", "٣", "+1", "007", " 1", "0.1\n", "1.", "-"]
)
def test_a_rate_that_is_not_plain_marks_its_symbol_alone(rate: str) -> None:
    """The others stand, also those of the same symbol."""
    read = HistoryRead()
    read_history(answer([0, 1, 1], [1000, 1000, 2000], ["0.1", rate, "-0.2"]), read)
    assert read.rows == {"AAAUSDT": ([1000], [0.1]), "BBBUSDT": ([2000], [-0.2])}
    assert set(read.malformed) == {"BBBUSDT"}


@pytest.mark.parametrize("time", [0, -1])
def test_a_settlement_without_time_marks_its_symbol(time: int) -> None:
    """A symbol with nothing else has no history at all, not an empty one."""
    read = HistoryRead()
    read_history(answer([0, 1], [1000, time], ["0.1", "0.2"]), read)
    assert read.rows == {"AAAUSDT": ([1000], [0.1])}
    assert set(read.malformed) == {"BBBUSDT"}


@pytest.mark.parametrize(
    ("indexes", "times", "rates"),
    [([0], [1, 2], ["1", "2"]), ([0, 0], [1], ["1"]), ([0], [1], []), ([2], [1], ["1"])],
)
def test_columns_that_do_not_fit_each_other_are_refused(
    indexes: list[int], times: list[int], rates: list[str]
) -> None:
    """A rate shifted by one row would be another symbol's."""
    read = HistoryRead()
    with pytest.raises(InvalidFieldError):
        read_history(answer(indexes, times, rates), read)
    assert not read.rows
