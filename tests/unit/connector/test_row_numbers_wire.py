"""Numbers that go to the wire as they are written: the same as by way of Decimal."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.connector.row_numbers import (
    positive,
    positive_wire,
    required,
    required_wire,
    wire,
)

WRITTEN = st.one_of(
    st.decimals(min_value=-(10**18) + 1, max_value=10**18 - 1, places=8).map(lambda d: f"{d:f}"),
    st.from_regex(r"-?[0-9]{1,5}(\.[0-9]{1,22})?", fullmatch=True),
    st.sampled_from(["0", "-0", "-0.000", "0.00", "00.5", "1.", ".5", "1e3", "NaN", "", " 1"]),
    st.sampled_from([None, 0, 1, 0.1, True, False, Decimal("1.50")]),
)


def outcome(read: Callable[[], object]) -> object:
    """Return what a reading gives, or that it refuses."""
    try:
        return read()
    except ValueError:
        return "refused"


@given(WRITTEN)
def test_short_way_is_the_long_way(written: object) -> None:
    """Whatever stands in a row, both ways give the same message or both refuse it."""
    row = {"x": written}
    assert outcome(lambda: required_wire(row, "x")) == outcome(lambda: wire(required(row, "x")))
    assert outcome(lambda: positive_wire(row, "x")) == outcome(lambda: wire(positive(row, "x")))
