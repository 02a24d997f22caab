"""The generated descriptors hold the wire contract: everything that was, nothing in its way."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

CONTRACT: dict[str, Any] = json.loads(
    Path(__file__).with_name("wire-v1.json").read_text(encoding="utf-8")
)
FIRST_ADDED_NUMBER = 50
TYPE_NAMES = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in (
        "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string",
        "bytes", "uint32", "sfixed32", "sfixed64", "sint32", "sint64",
    )
}  # fmt: skip


def load(path: str) -> FileDescriptor:
    """Import the module generated from a source file and return its descriptor."""
    name = path.removesuffix(".proto").replace("/", ".") + "_pb2"
    descriptor: FileDescriptor = importlib.import_module(name).DESCRIPTOR
    return descriptor


def short(full_name: str) -> str:
    """Drop our own package, as the contract does."""
    return full_name.removeprefix(f"{CONTRACT['package']}.")


def single_type(field: FieldDescriptor) -> str:
    """Name the type of one value of a field."""
    if field.message_type is not None:
        return short(field.message_type.full_name)
    if field.enum_type is not None:
        return short(field.enum_type.full_name)
    return TYPE_NAMES[field.type]


def contract_type(field: FieldDescriptor) -> str:
    """Write the type of a field as the contract does."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        key, value = (entry.fields_by_name[name] for name in ("key", "value"))
        return f"map<{single_type(key)}, {single_type(value)}>"
    if field.is_repeated:
        return f"repeated {single_type(field)}"
    is_optional = field.message_type is None and field.has_presence
    return f"optional {single_type(field)}" if is_optional else single_type(field)


def contracted(kind: str) -> list[Any]:
    """List each (file, name, definition) of one kind that the contract holds."""
    return [
        pytest.param(path, name, definition, id=name)
        for path, parts in CONTRACT["files"].items()
        for name, definition in parts[kind].items()
    ]


def fields_of(message: Descriptor) -> dict[str, list[Any]]:
    """Write the fields of a message as the contract does."""
    return {field.name: [field.number, contract_type(field)] for field in message.fields}


@pytest.mark.parametrize("path", CONTRACT["files"])
def test_contracted_files_keep_their_path_and_package(path: str) -> None:
    """A file's descriptor has the contract's name and package."""
    descriptor = load(path)
    assert descriptor.name == path
    assert descriptor.package == CONTRACT["package"]


@pytest.mark.parametrize(("path", "name", "values"), contracted("enums"))
def test_contracted_enums_are_unchanged(path: str, name: str, values: dict[str, int]) -> None:
    """An enumeration has exactly the contract's values."""
    enum = load(path).enum_types_by_name[name]
    assert {value.name: value.number for value in enum.values} == values


@pytest.mark.parametrize(("path", "name", "fields"), contracted("messages"))
def test_contracted_messages_keep_their_fields(
    path: str, name: str, fields: dict[str, list[Any]]
) -> None:
    """Each field of the contract is there with its number and type; additions start at 50."""
    actual = fields_of(load(path).message_types_by_name[name])
    assert {key: actual.get(key) for key in fields} == fields
    added = {key: number for key, (number, _) in actual.items() if key not in fields}
    assert not {key: number for key, number in added.items() if number < FIRST_ADDED_NUMBER}


@pytest.mark.parametrize(("path", "name", "methods"), contracted("services"))
def test_contracted_services_keep_their_methods(
    path: str, name: str, methods: dict[str, list[str]]
) -> None:
    """Each method of the contract takes and answers what it did, streaming as it did."""
    service = load(path).services_by_name[name]
    actual = {
        method.name: [
            f"{'stream ' if method.client_streaming else ''}{short(method.input_type.full_name)}",
            f"{'stream ' if method.server_streaming else ''}{short(method.output_type.full_name)}",
        ]
        for method in service.methods
    }
    assert {key: actual.get(key) for key in methods} == methods


def test_contract_has_all_methods_of_the_exchange_service() -> None:
    """The copy of the contract is whole: 28 methods on the connector's service."""
    exchange = CONTRACT["files"]["opensqt/market_maker/v1/exchange.proto"]
    assert len(exchange["services"]["ExchangeService"]) == 28
