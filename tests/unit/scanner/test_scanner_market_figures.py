"""Figures beside the funding history: price volatility and the drift of the predicted rate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext

import pytest
from google.type import decimal_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.scanner.analytics import analyse
from services.scanner.funding import funding_history, settlements
from services.scanner.opportunity import LegFunding
from services.scanner.venue_codec import price_volatility
from services.scanner.volatility import HOUR_MS, hourly_volatility

NOW = datetime(2026, 3, 20, tzinfo=UTC)


def plain_volatility(candles: list[tuple[int, Decimal]]) -> Decimal | None:
    """Return the deviation of returns between successive hours, in Decimal."""
    with localcontext() as context:
        context.prec = 40
        closes = {time // HOUR_MS: close for time, close in candles if close > 0}
        returns = [
            (closes[hour] / closes[hour - 1]).ln() for hour in sorted(closes) if hour - 1 in closes
        ]
        if len(returns) < 2:
            return None
        mean = sum(returns, Decimal(0)) / len(returns)
        return (sum(((each - mean) ** 2 for each in returns), Decimal(0)) / len(returns)).sqrt()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-5, 10**7)), max_size=60))
def test_volatility_equals_the_plain_implementation(rows: list[tuple[int, int]]) -> None:
    """Any order, repeats, missing hours and impossible prices: the same to 1e-12."""
    candles = [(hour * HOUR_MS, Decimal(price).scaleb(-4)) for hour, price in rows]
    found = hourly_volatility((time, float(close)) for time, close in candles)
    expected = plain_volatility(candles)
    if expected is None:
        assert found is None
    else:
        assert found == pytest.approx(float(expected), rel=1e-12, abs=1e-12)


def candle(hour: int, close: str, *, is_closed: bool = True) -> resources_pb2.Candle:
    """Return the candle of an hour."""
    return resources_pb2.Candle(
        timestamp=hour * HOUR_MS, close=decimal_pb2.Decimal(value=close), is_closed=is_closed
    )


def test_unfinished_candle_is_ignored_wherever_it_stands() -> None:
    """The price of the present hour changes nothing; nor does the order of the answer."""
    closed = [candle(hour, price) for hour, price in enumerate(("100", "101", "99", "104"))]
    plain = price_volatility(exchange_pb2.GetHistoricalKlinesResponse(candles=closed))
    unfinished = candle(4, "500", is_closed=False)
    answer = exchange_pb2.GetHistoricalKlinesResponse(candles=[unfinished, *reversed(closed)])
    assert plain is not None
    assert price_volatility(answer) == plain


def test_return_over_a_missing_candle_is_none() -> None:
    """Prices a day apart are no hourly return."""
    rows = [(0, 100.0), (HOUR_MS, 101.0), (2 * HOUR_MS, 100.0)]
    apart = (26 * HOUR_MS, 200.0)
    assert hourly_volatility([*rows, apart]) == hourly_volatility(rows)
    assert hourly_volatility(rows[:2]) is None


def funding(*, hours: list[int], predicted: str | None) -> LegFunding:
    """Return a leg that was paid a basis point an hour, settled after each of some spacings."""
    times, rates, time = [], [], 0
    for step in (hours[0], *hours):
        time += step
        times.append(time * HOUR_MS)
        rates.append(step * 0.0001)
    history = funding_history(settlements(times, rates), float(hours[-1]))
    assert history is not None
    return LegFunding(analyse([history])[0], Decimal(predicted) if predicted else None, NOW)


def test_drift_is_told_for_the_interval_of_the_predicted_rate() -> None:
    """After a change from 8 h to 1 h in the last day, the same pay by the hour is no drift."""
    steady = funding(hours=[8] * 10, predicted="0.0010")
    assert steady.predicted_rate_drift == pytest.approx(0.0002)
    changed = funding(hours=[8] * 10 + [1] * 10, predicted="0.0001")
    assert changed.predicted_rate_drift == pytest.approx(0, abs=1e-15)
    assert replace(changed, predicted_rate=None).predicted_rate_drift is None
