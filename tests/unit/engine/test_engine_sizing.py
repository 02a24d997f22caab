"""Lots, gross-up, neutrality, prices and ids hold their invariants for all inputs."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine.instruments import Book, BookLevel, InstrumentKind, LegSide
from services.engine.neutrality import is_dust, is_neutral, signed_change
from services.engine.order_ids import KEY_LENGTH, client_order_id, position_key
from services.engine.orders import OrderClass, OrderSide
from services.engine.pricing import depth_within, is_crossed, is_within, touch, worst_price
from services.engine.sizing import (
    common_lot,
    entry_quantity,
    floor_to_lot,
    gross_up,
    meets_minimum,
    order_quantity,
    scale_hedge_to_fills,
)
from tests.support.engine_rig import make_rules

D = Decimal
LOTS = st.builds(
    lambda digits, places: D(digits).scaleb(-places), st.integers(1, 50), st.integers(0, 6)
)
QUANTITIES = st.builds(
    lambda digits, places: D(digits).scaleb(-places), st.integers(0, 10**12), st.integers(0, 8)
)
FEES = st.builds(lambda digits: D(digits).scaleb(-5), st.integers(0, 500))
SPOT = make_rules("spot", InstrumentKind.SPOT)
PERP = make_rules("perp", InstrumentKind.PERPETUAL)


@given(LOTS, LOTS)
def test_common_lot_is_whole_in_both_lots_and_the_smallest(first: Decimal, second: Decimal) -> None:
    """The common lot is a multiple of both, and no smaller multiple of one is one of the other."""
    common = common_lot(first, second)
    assert common % first == 0
    assert common % second == 0
    count = int(common / first)
    smaller = [first * k for k in range(1, min(count, 200))]
    assert not any(lot % second == 0 for lot in smaller)


def test_common_lot_refuses_what_is_no_lot() -> None:
    """Zero is not a lot."""
    with pytest.raises(ValueError, match="not a lot"):
        common_lot(D(0), D(1))


@given(QUANTITIES, LOTS)
def test_floor_never_adds_and_leaves_less_than_a_lot(quantity: Decimal, lot: Decimal) -> None:
    """Rounding down gives whole lots and drops less than one."""
    floored = floor_to_lot(quantity, lot)
    assert floored % lot == 0
    assert 0 <= quantity - floored < lot


@given(QUANTITIES, FEES, LOTS)
def test_net_of_a_grossed_up_hedge_stays_within_the_need(
    need: Decimal, fee: Decimal, lot: Decimal
) -> None:
    """A buy whose fee is taken in base nets at most the need, and less than a lot under it."""
    rules = make_rules("spot", InstrumentKind.SPOT, base_fee_ratio=fee, lot=str(lot))
    net = order_quantity(need, OrderSide.BUY, rules) * (1 - fee)
    assert net <= need
    assert need - net < lot


@given(QUANTITIES, QUANTITIES)
def test_hedge_follows_fills(lead_net: Decimal, hedged: Decimal) -> None:
    """The hedge is what the lead filled and the hedge has not, in whole lots; never negative."""
    hedge = scale_hedge_to_fills(lead_net, hedged, OrderSide.SELL, PERP)
    assert hedge == floor_to_lot(lead_net - hedged, PERP.lot_size)
    assert hedge >= 0


@given(QUANTITIES)
def test_order_never_exceeds_the_venues_maximum(need: Decimal) -> None:
    """A venue's maximum quantity caps the order in whole lots."""
    rules = make_rules("perp", InstrumentKind.PERPETUAL, max_quantity=D("7.0005"))
    assert order_quantity(need, OrderSide.SELL, rules) <= D("7.000")


@given(QUANTITIES)
def test_entry_quantity_is_whole_in_both_lots(wanted: Decimal) -> None:
    """An entry is sized to the common lot."""
    long, short = (
        make_rules(n, InstrumentKind.SPOT, lot=lot) for n, lot in (("a", "0.4"), ("b", "0.6"))
    )
    quantity = entry_quantity(wanted, long, short)
    assert quantity % D("1.2") == 0
    assert 0 <= wanted - quantity < D("1.2")


def test_gross_up_without_a_base_fee_changes_nothing() -> None:
    """A fee in quote needs no gross-up."""
    assert gross_up(D("1.2345"), D(0)) == D("1.2345")


@given(QUANTITIES, QUANTITIES, FEES)
def test_signed_changes_cancel_only_by_net(executed: Decimal, other: Decimal, fee: Decimal) -> None:
    """A buy adds its net, a sell takes what was executed and any fee in base besides."""
    net = executed * (1 - fee)
    assert signed_change(OrderSide.BUY, executed, net) == net
    assert signed_change(OrderSide.SELL, other, other) == -other
    assert signed_change(OrderSide.SELL, executed, net) == -(executed + (executed - net))


@pytest.mark.parametrize(
    ("residual", "dust", "neutral"),
    [
        ("0", "0", True),
        ("0.0099", "0", True),
        ("0.01", "0", False),
        ("-0.01", "0", False),
        ("-0.0099", "0", True),
        ("0.03", "0.025", True),
        ("0.035", "0.025", False),
    ],
)
def test_neutral_is_under_the_larger_lot_plus_dust(
    residual: str, dust: str, *, neutral: bool
) -> None:
    """The bound itself is not neutral."""
    assert is_neutral(D(residual), D("0.01"), D(dust)) is neutral


@pytest.mark.parametrize(
    ("quantity", "reducing", "adding", "dust"),
    [
        ("0.04", SPOT, PERP, True),
        ("0.06", SPOT, PERP, False),
        ("0.04", PERP, SPOT, False),
        ("0.0004", PERP, SPOT, True),
    ],
    ids=["below both", "spot takes it", "reduce-only takes it", "below the lot"],
)
def test_dust_is_below_both_minimums(
    quantity: str, reducing: object, adding: object, *, dust: bool
) -> None:
    """Only what neither venue trades is dust; a reduce-only order has no minimum notional."""
    assert is_dust(D(quantity), D(100), reducing=reducing, adding=adding) is dust  # type: ignore[arg-type]  # table


def test_minimum_counts_quantity_and_notional() -> None:
    """Zero, less than the minimum quantity and less than the minimum notional are refused."""
    assert not meets_minimum(D(0), D(100), PERP, reduce_only=True)
    assert not meets_minimum(D("0.04"), D(100), PERP)
    assert meets_minimum(D("0.04"), D(100), PERP, reduce_only=True)
    assert not meets_minimum(D("0.04"), D(100), SPOT, reduce_only=True)
    assert meets_minimum(D("0.05"), D(100), SPOT)


PRICES = st.builds(
    lambda digits, places: D(digits).scaleb(-places), st.integers(1, 10**9), st.integers(0, 6)
)


@given(PRICES, FEES, LOTS, st.sampled_from(OrderSide))
def test_worst_price_is_on_the_tick_and_within_the_bound(
    reference: Decimal, bound: Decimal, tick: Decimal, side: OrderSide
) -> None:
    """Rounding goes towards the reference: the bound holds, but for a price below one tick."""
    price = worst_price(side, reference, bound, tick)
    assert price % tick == 0
    assert price >= tick
    limit = reference * (1 + bound if side is OrderSide.BUY else 1 - bound)
    assert is_within(side, price, limit) or price == tick


def test_depth_counts_levels_within_the_bound() -> None:
    """Only levels no worse than the bound are on offer."""
    levels = tuple(BookLevel(D(price), D(2)) for price in ("100", "101", "102"))
    book = Book(tuple(reversed(levels)), levels)
    assert depth_within(book, OrderSide.BUY, D(101)) == 4
    assert depth_within(book, OrderSide.SELL, D(101)) == 4
    assert touch(book, OrderSide.BUY) == 100
    assert touch(Book((), ()), OrderSide.BUY) is None
    assert is_crossed(book)


KEYS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=KEY_LENGTH, max_size=KEY_LENGTH)
IDS = st.tuples(
    KEYS, st.sampled_from(LegSide), st.sampled_from(OrderClass), st.integers(0, 36**4 - 1)
)


@given(IDS, IDS)
def test_order_ids_are_injective(
    first: tuple[str, LegSide, OrderClass, int], second: tuple[str, LegSide, OrderClass, int]
) -> None:
    """Two orders share an id only when they are the same order."""
    assert (client_order_id(*first) == client_order_id(*second)) == (first == second)


@given(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=20, max_size=20), st.integers(0, 99)
)
def test_order_ids_pass_at_every_venue(random_id: str, attempt: int) -> None:
    """At most 26 lowercase letters and digits, never starting with t."""
    made = client_order_id(position_key(random_id), LegSide.LONG, OrderClass.HEDGE, attempt)
    assert re.fullmatch(r"(?!t)[a-z0-9]{1,26}", made)


@pytest.mark.parametrize("attempt", [-1, 36**4])
def test_attempts_out_of_range_are_refused(attempt: int) -> None:
    """An id that would not be injective is never made."""
    with pytest.raises(ValueError, match="out of range"):
        client_order_id("p" * KEY_LENGTH, LegSide.LONG, OrderClass.ENTRY, attempt)
