"""The pages that are written from code: settings with their meanings, calls with their comments."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from pydantic import BaseModel, Field

from scripts.api_reference import Source, anchor, page
from scripts.settings_reference import Meanings, UnexplainedError, attribute_docstrings, table
from scripts.settings_words import bounds_of, default_of, type_of


class Inner(BaseModel):
    """A table inside."""

    path: Path | None = None


class Sample(BaseModel):
    """Settings of the tests."""

    wait: timedelta = Field(default=timedelta(milliseconds=50), gt=timedelta(0))
    """How long it waits."""
    share: Annotated[Decimal, Field(gt=0, le=1)] | None = None
    mode: Literal["calm", "loud"] = "calm"
    names: tuple[str, ...] = ()
    inner: tuple[Inner, ...] = ()
    must: int


MEANINGS = {"share": "A part", "mode": "How", "names": "Who", "must": "What"}


def meanings(**changes: str) -> Meanings:
    """Make meanings of all fields that have no docstring."""
    return Meanings({"Sample": {**MEANINGS, **changes}, "Inner": {"path": "Where"}})


def test_a_table_tells_types_bounds_and_defaults() -> None:
    """Each field has what it takes, its bounds, its default and its meaning."""
    rows = [line for line in table(Sample, "", meanings()) if line.startswith("| `")]
    assert rows == [
        "| `wait` | duration > 0 s | 50 ms | How long it waits |",
        "| `share` | decimal > 0, ≤ 1 | none | A part |",
        "| `mode` | `calm`, `loud` | `calm` | How |",
        "| `names` | list of text | empty | Who |",
        "| `must` | integer | required | What |",
        "| `path` | path | none | Where |",
    ]


def test_a_list_of_tables_has_a_title_of_its_own() -> None:
    """TOML writes it with two brackets."""
    assert "### `[[inner]]`" in list(table(Sample, "", meanings()))


def test_a_setting_without_a_meaning_or_with_two_is_refused() -> None:
    """Nobody adds a setting that the page does not explain."""
    with pytest.raises(UnexplainedError, match=r"Sample\.mode has no meaning"):
        list(table(Sample, "", meanings(mode="")))
    with pytest.raises(UnexplainedError, match=r"Sample\.wait is explained in its class"):
        list(table(Sample, "", meanings(wait="Again")))


def test_a_meaning_of_no_setting_is_refused() -> None:
    """What was removed from the settings goes from the list too."""
    held = meanings(gone="Was here")
    list(table(Sample, "", held))
    with pytest.raises(UnexplainedError, match=r"Sample\.gone"):
        held.check_all_used()


def test_docstrings_of_fields_are_found() -> None:
    """The text under a field belongs to it."""
    assert attribute_docstrings(Sample) == {"wait": "How long it waits."}


def test_words_of_values() -> None:
    """Durations, decimals and tables are written as people write them."""
    assert type_of(dict[str, int]) == "table of integer by name"
    info = Sample.model_fields
    assert (bounds_of(info["share"]), default_of(info["wait"])) == ("> 0, ≤ 1", "50 ms")


def test_a_page_of_the_contract_has_methods_fields_and_comments() -> None:
    """Streams, presence, lists and links to types stand in it."""
    file = FileDescriptorProto(name="x/sample.proto", package="opensqt.market_maker.v1")
    message = file.message_type.add(name="Row")
    message.field.add(name="rows", number=1, label=3, type=11, type_name=f".{file.package}.Row")
    message.field.add(name="count", number=2, label=1, type=3, proto3_optional=True)
    name = f".{file.package}.Row"
    service = file.service.add(name="RowService")
    service.method.add(name="Watch", input_type=name, output_type=name, server_streaming=True)
    comments: dict[tuple[int, ...], str] = {
        (6, 0, 2, 0): "Sends | rows.",
        (4, 0, 2, 1): "How many.",
    }
    text = page(Source(file, comments, {"Row": "sample"}))
    assert "| `Watch` | [Row](#row) | stream of [Row](#row) | Sends \\| rows. |" in text
    assert "| `rows` | list of [Row](#row) | 1 |  |" in text
    assert "| `count` | int64 | 2 | How many (may be absent) |" in text


def test_anchors_are_those_of_the_site() -> None:
    """Dots of nested types are left out."""
    assert anchor("Outer.Inner_Kind") == "outerinner_kind"
