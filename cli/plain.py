"""Messages as plain Python values, for `--json` output.

Decimals become JSON strings in plain notation, times become RFC 3339 text, enums lose the prefix
that protobuf's naming forces on them, absent messages are left out (absent means unknown).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.type import decimal_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

# The stubs know two descriptor classes, one for each protobuf backend; both have what is read here.
AnyField: TypeAlias = Any


def enum_word(field: AnyField, number: int) -> str:
    """Name of an enum value without its type's prefix; the number when this client is older."""
    value = field.enum_type.values_by_number.get(number)
    if value is None:
        return str(number)
    return str(value.name).removeprefix(f"{_upper_snake(field.enum_type.name)}_")


def _upper_snake(camel: str) -> str:
    return "".join(f"_{c}" if c.isupper() else c.upper() for c in camel).lstrip("_")


def _scalar(field: AnyField, value: Any) -> Any:
    if isinstance(value, decimal_pb2.Decimal):
        return value.value
    if isinstance(value, timestamp_pb2.Timestamp):
        return value.ToJsonString()
    if isinstance(value, duration_pb2.Duration):
        # A float for lengths of time alone; money stays text.
        return (value.seconds * 1_000_000_000 + value.nanos) / 1_000_000_000
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return to_plain(value)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return enum_word(field, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value.hex()
    return value


def _is_map(field: AnyField) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def to_plain(message: Message) -> dict[str, Any]:
    """Turn a message into dictionaries, lists, text and numbers; durations become seconds."""
    plain: dict[str, Any] = {}
    fields: Sequence[AnyField] = message.DESCRIPTOR.fields
    for field in fields:
        value = getattr(message, field.name)
        if _is_map(field):
            entry = field.message_type.fields_by_name["value"]
            # Maps have no order on the wire; sorted, equal messages give equal lines.
            plain[field.name] = {key: _scalar(entry, item) for key, item in sorted(value.items())}
        elif field.is_repeated:
            plain[field.name] = [_scalar(field, item) for item in value]
        # Without presence a zero may be meant, so the field is always shown.
        elif not field.has_presence or message.HasField(field.name):
            plain[field.name] = _scalar(field, value)
    return plain


def to_line(values: Mapping[str, Any]) -> str:
    """One line of JSON, keys in the order given."""
    return json.dumps(values, ensure_ascii=False, separators=(", ", ": "))
