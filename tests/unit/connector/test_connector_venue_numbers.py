"""Numbers of a venue: plain digits and nothing else, floats of ccxt's books included."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.connector.venue_numbers import optional_venue_decimal, venue_decimal


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("0.00000861", "0.00000861"),
        (8.61e-06, "0.00000861"),
        (0.1, "0.1"),
        (10772636704.0, "10772636704"),
        (3, "3"),
        (Decimal("1E-8"), "0.00000001"),
        ("-5", "-5"),
    ],
)
def test_plain_number_is_exact(given: object, wanted: str) -> None:
    """Text, whole numbers, floats and decimals keep the digits that the venue sent."""
    assert venue_decimal(given, "price") == Decimal(wanted)


@pytest.mark.parametrize(
    "given",
    ["NaN", "1e5", "1_000", "\u0661", "", " 1", "0x10", True, None, [], float("nan"), float("inf")],
)
def test_anything_else_is_refused(given: object) -> None:
    """Nothing that only looks like a number gets through."""
    with pytest.raises(ValueError, match="price is not a"):
        venue_decimal(given, "price")


def test_left_out_is_none() -> None:
    """Absent and empty are unknown, not zero."""
    assert optional_venue_decimal(None, "fee") is None
    assert optional_venue_decimal("", "fee") is None
    assert optional_venue_decimal("0", "fee") == 0
