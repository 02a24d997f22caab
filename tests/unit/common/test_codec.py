"""Decimals and enums of the wire."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from google.protobuf import descriptor_pb2
from google.type import decimal_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from opensqt.market_maker.v1 import resources_pb2, types_pb2
from services.common.codec import (
    DECIMAL_PATTERN,
    decimal_from_proto,
    decimal_to_proto,
    format_decimal,
    limit_fraction,
    optional_decimal,
    optional_enum,
    parse_decimal,
    require_decimal,
    require_enum,
    require_text,
)
from services.common.errors import InvalidFieldError

WIRE_DECIMALS = st.builds(
    lambda units, scale: Decimal(units).scaleb(-scale),
    st.integers(-(10**18) + 1, 10**18 - 1),
    st.integers(0, 18),
)
BAD_TEXTS = [
    "", " ", "NaN", "nan", "sNaN", "Infinity", "-Infinity", "inf", "1e999999", "1E2", "1e-5",
    "1_000", "\u0661", "\uff11", "+1", "-0", "-0.000", "00", "01", "-01", "1.", ".5", "1,5", " 1",
    "1 ", "1\n", "0x10", "1.2.3", "--1", "1" * 19, "1." + "1" * 19, "1" * 1_000_000,
]  # fmt: skip


def order(**fields: str) -> resources_pb2.PlaceOrderRequest:
    """Build a request whose decimal fields hold the given texts."""
    return resources_pb2.PlaceOrderRequest(
        **{name: decimal_pb2.Decimal(value=text) for name, text in fields.items()}
    )


@given(WIRE_DECIMALS)
@example(Decimal("999999999999999999.999999999999999999"))
@example(Decimal("-0.000000000000000001"))
@example(Decimal("1E+17"))
def test_every_wire_decimal_survives_the_way_there_and_back(value: Decimal) -> None:
    """Formatting then parsing returns the number, in text the pattern accepts."""
    text = format_decimal(value)
    assert DECIMAL_PATTERN.fullmatch(text)
    assert parse_decimal(text, "price") == value


@given(st.text(max_size=40))
def test_any_text_is_parsed_exactly_or_refused(text: str) -> None:
    """No text makes the parser raise anything else or return what it does not say."""
    if DECIMAL_PATTERN.fullmatch(text) and text.strip("-0."):
        assert parse_decimal(text, "price") == Decimal(text)
    elif text not in ("0",) and not text.startswith("0."):
        with pytest.raises(InvalidFieldError, match=r"^price: "):
            parse_decimal(text, "price")


@given(st.from_regex(DECIMAL_PATTERN, fullmatch=True))
def test_formatting_is_canonical(text: str) -> None:
    """Equal numbers have one text, however they were written; negative zero alone is refused."""
    if Decimal(text).is_zero() and text.startswith("-"):
        with pytest.raises(InvalidFieldError):
            parse_decimal(text, "price")
        return
    once = format_decimal(parse_decimal(text, "price"))
    assert format_decimal(parse_decimal(once, "price")) == once
    assert not ("." in once and once.endswith(("0", ".")))


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: repr(text[:12]))
def test_a_bad_text_is_refused_by_name_at_once(text: str) -> None:
    """A present message must hold a plain number; even a megabyte of digits costs no time."""
    start = time.perf_counter()
    with pytest.raises(InvalidFieldError) as caught:
        require_decimal(order(quantity=text), "quantity")
    assert caught.value.field == "quantity"
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E+2", "100"),
        ("1.500", "1.5"),
        ("0E-9", "0"),
        ("-0", "0"),
        ("100", "100"),
        ("1E-8", "0.00000001"),
    ],
)
def test_numbers_are_written_plainly(value: str, text: str) -> None:
    """No exponent, no trailing zeros, no negative zero."""
    assert format_decimal(Decimal(value)) == text


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "sNaN",
        "Infinity",
        "1E+18",
        "1E-19",
        "1E+999999",
        "1E-999999",
        "0.1234567890123456789",
    ],
)
def test_what_the_wire_cannot_hold_is_never_written(value: str) -> None:
    """The codec raises instead of rounding."""
    with pytest.raises(ValueError, match="on the wire"):
        format_decimal(Decimal(value))


def test_large_numbers_are_not_rounded_by_the_decimal_context() -> None:
    """36 significant digits pass, though the default context keeps 28."""
    text = "123456789012345678.123456789012345678"
    assert format_decimal(parse_decimal(text, "price")) == text


def test_quotients_fit_after_limit_fraction() -> None:
    """A third has too many digits until it is rounded half-even to 18."""
    third = Decimal(1) / Decimal(3)
    with pytest.raises(ValueError, match="18 digits"):
        decimal_to_proto(third)
    assert format_decimal(limit_fraction(third)) == "0.333333333333333333"


def test_absent_is_unknown_and_never_zero() -> None:
    """An absent message reads as None and None writes no message."""
    request = order(quantity="0")
    assert decimal_from_proto(request, "price") is None
    assert decimal_from_proto(request, "quantity") == 0
    assert decimal_from_proto(None, "price") is None
    assert decimal_to_proto(None) is None
    made = resources_pb2.PlaceOrderRequest(price=decimal_to_proto(None))
    assert not made.HasField("price")


def test_reading_an_absent_field_does_not_make_it_present() -> None:
    """The request stays as the caller sent it."""
    request = order()
    decimal_from_proto(request, "price")
    assert not request.HasField("price")


def test_the_path_of_a_nested_field_is_named() -> None:
    """Errors in element two of a list say so."""
    with pytest.raises(InvalidFieldError) as caught:
        require_decimal(order(price="x"), "price", path="orders[2].")
    assert caught.value.field == "orders[2].price"
    with pytest.raises(InvalidFieldError) as caught:
        decimal_from_proto(decimal_pb2.Decimal(value=""), "rates[0]")
    assert caught.value.field == "rates[0]"


@pytest.mark.parametrize(
    ("text", "positive", "minimum", "ok"),
    [
        ("0", True, None, False), ("-1", True, None, False), ("0.1", True, None, True),
        ("0.9", False, "1", False), ("1", False, "1", True), ("-5", False, None, True),
    ],
)  # fmt: skip
def test_bounds_hold(text: str, positive: bool, minimum: str | None, ok: bool) -> None:
    """Positive excludes zero, minimum includes itself, and both hold for optional fields too."""
    least = None if minimum is None else Decimal(minimum)
    for read in (require_decimal, optional_decimal):
        if ok:
            value = read(order(price=text), "price", positive=positive, minimum=least)
            assert value == Decimal(text)
        else:
            with pytest.raises(InvalidFieldError):
                read(order(price=text), "price", positive=positive, minimum=least)


def test_a_required_decimal_must_be_there() -> None:
    """Required means present; optional returns None."""
    with pytest.raises(InvalidFieldError, match="quantity: is required"):
        require_decimal(order(), "quantity")
    assert optional_decimal(order(), "quantity") is None


def test_enums_refuse_unspecified_and_unknown_numbers() -> None:
    """Zero is a missing value, an unknown number is a wrong one; both errors list the choices."""
    buy = resources_pb2.PlaceOrderRequest(side=types_pb2.ORDER_SIDE_BUY)
    assert require_enum(buy, "side") == types_pb2.ORDER_SIDE_BUY
    unknown = resources_pb2.PlaceOrderRequest.FromString(b"\x10\x63")
    assert unknown.side == 99
    for request in (resources_pb2.PlaceOrderRequest(), unknown):
        with pytest.raises(InvalidFieldError, match="ORDER_SIDE_BUY"):
            require_enum(request, "side")
    with pytest.raises(InvalidFieldError):
        optional_enum(unknown, "side")
    assert optional_enum(resources_pb2.PlaceOrderRequest(), "side") is None


@pytest.mark.parametrize("text", ["", "x" * 33, "a\nb", "\u00e9", "a\x00"])
def test_text_is_short_printable_ascii(text: str) -> None:
    """Anything else is refused by name."""
    request = resources_pb2.PlaceOrderRequest(symbol=text)
    with pytest.raises(InvalidFieldError, match="symbol"):
        require_text(request, "symbol", max_length=32)


def test_asking_for_the_enum_of_another_field_is_a_bug() -> None:
    """A wrong field name in our code shows at once, not as the caller's fault."""
    with pytest.raises(TypeError):
        require_enum(descriptor_pb2.FieldDescriptorProto(), "name")
