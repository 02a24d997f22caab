"""Decimals and enums between the wire and the domain.

On the wire a decimal is `google.type.Decimal`: plain ASCII notation, at most 18 digits before and
18 after the point. An absent message means unknown; a present one must hold a number. The pattern
is checked before `Decimal` sees the text, because `Decimal` takes NaN, `1_000`, Arabic digits and
`1e999999`, whose integer form costs seconds to compute.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING, Final

from google.type import decimal_pb2

from services.common.errors import InvalidFieldError
from services.common.time_codec import (
    from_duration,
    from_millis,
    from_timestamp,
    optional_duration,
    optional_time,
    require_time,
    to_duration,
    to_millis,
    to_timestamp,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = [
    "DECIMAL_PATTERN",
    "MAX_FRACTION_DIGITS",
    "MAX_INTEGER_DIGITS",
    "check_decimal",
    "decimal_from_proto",
    "decimal_to_proto",
    "format_decimal",
    "from_duration",
    "from_millis",
    "from_timestamp",
    "limit_fraction",
    "optional_decimal",
    "optional_duration",
    "optional_enum",
    "optional_time",
    "parse_decimal",
    "require_decimal",
    "require_enum",
    "require_text",
    "require_time",
    "to_duration",
    "to_millis",
    "to_timestamp",
]

DECIMAL_PATTERN: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?", re.ASCII)
MAX_INTEGER_DIGITS: Final = 18
MAX_FRACTION_DIGITS: Final = 18

_WANTED = "a plain decimal number, at most 18 digits before and 18 after the point"
_LIMIT = Decimal(10) ** MAX_INTEGER_DIGITS
_STEP = Decimal(1).scaleb(-MAX_FRACTION_DIGITS)
_PRECISION = 2 * (MAX_INTEGER_DIGITS + MAX_FRACTION_DIGITS)


def parse_decimal(text: str, field: str) -> Decimal:
    """Return the number that `text` writes in plain notation, exactly.

    Raises InvalidFieldError naming `field` for anything else: exponent, sign `+`, NaN, infinity,
    spaces, underscores, non-ASCII digits, leading zeros, negative zero, too many digits, empty
    text.
    """
    if not DECIMAL_PATTERN.fullmatch(text):
        raise InvalidFieldError(field, f"must be {_WANTED}")
    value = Decimal(text)
    # It equals zero but prints otherwise, so a text compared or hashed would differ.
    if value.is_zero() and value.is_signed():
        raise InvalidFieldError(field, "must not be negative zero")
    return value


def format_decimal(value: Decimal) -> str:
    """Write `value` in plain notation, no exponent, no trailing zeros; parse_decimal reads it back.

    Raises ValueError when the value is not finite or has more than 18 digits on either side of the
    point: rounding is a decision of the caller (see `limit_fraction`), never of the codec.
    """
    if not value.is_finite():
        raise ValueError("a decimal on the wire must be finite")
    if value.is_zero():
        return "0"
    # copy_abs, since abs() rounds to the context's 28 digits; and the exponent goes first, since
    # writing 1E+999999 out takes a megabyte.
    if abs(value.adjusted()) > _PRECISION or value.copy_abs() >= _LIMIT:
        raise ValueError(
            "a decimal on the wire has at most 18 digits before and 18 after the point"
        )
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if len(text.partition(".")[2]) > MAX_FRACTION_DIGITS:
        raise ValueError(
            "a decimal on the wire has at most 18 digits before and 18 after the point"
        )
    return text


def limit_fraction(value: Decimal) -> Decimal:
    """Round half-even to the 18 fraction digits the wire carries.

    For quotients such as averages.
    """
    with localcontext() as context:
        # quantize raises when its result has more digits than the context, by default 28.
        context.prec = _PRECISION
        return value.quantize(_STEP, rounding=ROUND_HALF_EVEN)


def decimal_to_proto(value: Decimal | None) -> decimal_pb2.Decimal | None:
    """Return the wire form, None for unknown (assigning None leaves the field absent).

    Raises ValueError as `format_decimal` does.
    """
    return None if value is None else decimal_pb2.Decimal(value=format_decimal(value))


def decimal_from_proto(message: Message | None, field: str, path: str = "") -> Decimal | None:
    """Return the decimal in field `field` of `message`, or None when it is absent.

    `message` is the message that holds the field; a `google.type.Decimal` itself (an element of a
    repeated field) is taken as present. `path` goes before the field's name in errors
    (`orders[2].`).
    Raises InvalidFieldError when the message is present and not a plain number, the empty text
    included.
    """
    if message is None:
        return None
    if isinstance(message, decimal_pb2.Decimal):
        return parse_decimal(message.value, path + field)
    if not message.HasField(field):
        return None
    held = getattr(message, field)
    return parse_decimal(held.value, path + field)


def require_decimal(
    message: Message,
    field: str,
    *,
    positive: bool = False,
    minimum: Decimal | None = None,
    path: str = "",
) -> Decimal:
    """Return the decimal in field `field`, which must be there.

    With `positive` it must be above zero, with `minimum` not below that.
    Raises InvalidFieldError naming the field otherwise.
    """
    value = decimal_from_proto(message, field, path)
    if value is None:
        raise InvalidFieldError(path + field, "is required")
    return check_decimal(value, path + field, positive=positive, minimum=minimum)


def optional_decimal(
    message: Message,
    field: str,
    *,
    positive: bool = False,
    minimum: Decimal | None = None,
    path: str = "",
) -> Decimal | None:
    """Return the decimal in field `field` as `require_decimal` does, None when it is absent."""
    value = decimal_from_proto(message, field, path)
    if value is None:
        return None
    return check_decimal(value, path + field, positive=positive, minimum=minimum)


def check_decimal(
    value: Decimal, field: str, *, positive: bool, minimum: Decimal | None
) -> Decimal:
    """Return `value` when it keeps the bounds; raise InvalidFieldError naming `field` otherwise."""
    if positive and value <= 0:
        raise InvalidFieldError(field, "must be greater than zero")
    if minimum is not None and value < minimum:
        raise InvalidFieldError(field, f"must be at least {format_decimal(minimum)}")
    return value


def require_enum(message: Message, field: str, *, path: str = "") -> int:
    """Return the number of an enum field.

    Raise InvalidFieldError for 0 (unspecified) and unknown numbers.
    """
    number = optional_enum(message, field, path=path)
    if number is None:
        raise InvalidFieldError(path + field, f"is required; one of {_names(message, field)}")
    return number


def optional_enum(message: Message, field: str, *, path: str = "") -> int | None:
    """Return the number of an enum field, None for 0 (unspecified).

    Unknown numbers raise InvalidFieldError.
    """
    number: int = getattr(message, field)
    if number == 0:
        return None
    enum_type = message.DESCRIPTOR.fields_by_name[field].enum_type
    # Enums of proto3 are open: the number of a newer client arrives as it was sent.
    if enum_type is None or number not in enum_type.values_by_number:
        raise InvalidFieldError(path + field, f"is not one of {_names(message, field)}")
    return number


def require_text(message: Message, field: str, *, max_length: int = 128, path: str = "") -> str:
    """Return a text field that must be printable ASCII and not empty.

    Raise InvalidFieldError otherwise.
    """
    text: str = getattr(message, field)
    if not text:
        raise InvalidFieldError(path + field, "is required")
    if len(text) > max_length:
        raise InvalidFieldError(path + field, f"has more than {max_length} characters")
    # Such texts go on into URLs, journals and logs, where a control character forges lines.
    if not (text.isascii() and text.isprintable()):
        raise InvalidFieldError(path + field, "must be printable ASCII")
    return text


def _names(message: Message, field: str) -> str:
    enum_type = message.DESCRIPTOR.fields_by_name[field].enum_type
    if enum_type is None:
        raise TypeError(f"{field} is not an enum field")
    return ", ".join(value.name for value in enum_type.values if value.number != 0)
