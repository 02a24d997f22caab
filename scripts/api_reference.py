"""Write docs/api.md and docs/api/ from the `.proto` files, or fail where they are not current.

Comments are the contract's own; `buf` sees to it that nothing is without one. Types lead to the
page and place where they are described.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from scripts.protos import build_descriptor_set
from scripts.written_files import ROOT, run

INDEX: Final = ROOT / "docs" / "api.md"
FOLDER: Final = ROOT / "docs" / "api"
PACKAGE: Final = "opensqt.market_maker.v1"
# Field numbers of the descriptors' own messages, as the paths of comments name them.
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_FIELD, _NESTED, _NESTED_ENUM, _METHOD, _VALUE = 2, 3, 4, 2, 2
_ELSEWHERE: Final = {
    "google.protobuf": "https://protobuf.dev/reference/protobuf/google.protobuf/",
    "google.type": "https://github.com/googleapis/googleapis/tree/master/google/type",
    "google.rpc": "https://github.com/googleapis/googleapis/tree/master/google/rpc",
}

_INTRODUCTION = """# API reference

Written by `make reference` from the `.proto` files; do not edit. [Clients](clients.md) tells how to
speak it from Go, TypeScript, Rust, Java and Python, [security](security.md) who may call what, and
[errors](errors.md) every reason a call is refused for.

Quantities are base units, prices are per single coin, amounts are `google.type.Decimal` in plain
notation. A field that is absent is unknown, never zero. All names below are of the package
`opensqt.market_maker.v1`."""


@dataclass(frozen=True, slots=True)
class Source:
    """One `.proto` file with its comments by path, and where each type of the package is."""

    file: FileDescriptorProto
    comments: Mapping[tuple[int, ...], str]
    places: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the file without folder and ending: that of its page."""
        return Path(self.file.name).stem

    def comment(self, *path: int) -> str:
        """Return what the contract says at a path, in one line."""
        return self.comments.get(path, "").replace("|", "\\|")

    def link(self, full_name: str) -> str:
        """Return a type with the way to its description."""
        name = full_name.removeprefix(".")
        if not name.startswith(f"{PACKAGE}."):
            return f"[{name}]({_ELSEWHERE[name.rpartition('.')[0]]})"
        short = name.removeprefix(f"{PACKAGE}.")
        page = self.places[short]
        target = "" if page == self.name else f"{page}.md"
        return f"[{short}]({target}#{anchor(short)})"


def anchor(title: str) -> str:
    """Return the anchor that mkdocs gives a title of one word: small letters, without dots."""
    return re.sub(r"[^\w-]", "", title.lower())


def _types(
    messages: Iterator[DescriptorProto] | list[DescriptorProto], before: str = ""
) -> Iterator[str]:
    for message in messages:
        yield before + message.name
        yield from (f"{before}{message.name}.{one.name}" for one in message.enum_type)
        inner = [one for one in message.nested_type if not one.options.map_entry]
        yield from _types(inner, f"{before}{message.name}.")


def read_sources() -> list[Source]:
    """Return every file of the package, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "contract.binpb"
        build_descriptor_set(path, "--include_source_info")
        contract = FileDescriptorSet.FromString(path.read_bytes())
    own = sorted((one for one in contract.file if one.package == PACKAGE), key=lambda one: one.name)
    places = {}
    for file in own:
        names = [*_types(list(file.message_type)), *(one.name for one in file.enum_type)]
        places.update(dict.fromkeys(names, Path(file.name).stem))
    return [Source(file, _comments(file), places) for file in own]


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {
        tuple(one.path): " ".join((one.leading_comments or one.trailing_comments).split())
        for one in file.source_code_info.location
    }


def _service(source: Source, index: int, service: ServiceDescriptorProto) -> Iterator[str]:
    yield from ["", f"## {service.name}", "", source.comment(_SERVICE, index)]
    yield from ["", "| method | takes | answers | does |", "|---|---|---|---|"]
    for number, method in enumerate(service.method):
        takes = ("stream of " if method.client_streaming else "") + source.link(method.input_type)
        answers = ("stream of " if method.server_streaming else "") + source.link(
            method.output_type
        )
        text = source.comment(_SERVICE, index, _METHOD, number)
        yield f"| `{method.name}` | {takes} | {answers} | {text} |"


def _type_of(source: Source, message: DescriptorProto, field: FieldDescriptorProto) -> str:
    plain = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    entries = {one.name: one for one in message.nested_type if one.options.map_entry}
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = (_type_of(source, entry, one) for one in entry.field)
        return f"map of {value} by {key}"
    name = source.link(field.type_name) if field.type_name else plain
    return f"list of {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def _presence(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    if field.proto3_optional:
        return "may be absent"
    if field.HasField("oneof_index"):
        return f"one of `{message.oneof_decl[field.oneof_index].name}`"
    return ""


def _message(
    source: Source, path: tuple[int, ...], message: DescriptorProto, before: str = ""
) -> Iterator[str]:
    title = before + message.name
    yield from ["", f"### {title}", "", source.comment(*path)]
    if message.field:
        yield from ["", "| field | type | number | is |", "|---|---|---|---|"]
    for number, field in enumerate(message.field):
        told = source.comment(*path, _FIELD, number)
        words = [one for one in (told, _presence(message, field)) if one]
        text = f"{words[0].rstrip('.')} ({words[1]})" if len(words) > 1 else "".join(words)
        yield f"| `{field.name}` | {_type_of(source, message, field)} | {field.number} | {text} |"
    for number, enum in enumerate(message.enum_type):
        yield from _enum(source, (*path, _NESTED_ENUM, number), enum, f"{title}.")
    for number, inner in enumerate(message.nested_type):
        if not inner.options.map_entry:
            yield from _message(source, (*path, _NESTED, number), inner, f"{title}.")


def _enum(
    source: Source, path: tuple[int, ...], enum: EnumDescriptorProto, before: str = ""
) -> Iterator[str]:
    yield from ["", f"### {before}{enum.name}", "", source.comment(*path)]
    yield from ["", "| value | number | is |", "|---|---|---|"]
    for number, value in enumerate(enum.value):
        yield f"| `{value.name}` | {value.number} | {source.comment(*path, _VALUE, number)} |"


def page(source: Source) -> str:
    """Return the page of one file."""
    lines = [
        f"# {source.name}.proto",
        "",
        "Written by `make reference` from the contract; do not edit.",
    ]
    for number, service in enumerate(source.file.service):
        lines += _service(source, number, service)
    if source.file.message_type:
        lines += ["", "## Messages"]
    for number, message in enumerate(source.file.message_type):
        lines += _message(source, (_MESSAGE, number), message)
    if source.file.enum_type:
        lines += ["", "## Enumerations"]
    for number, enum in enumerate(source.file.enum_type):
        lines += _enum(source, (_ENUM, number), enum)
    return "\n".join(lines) + "\n"


def index(sources: list[Source]) -> str:
    """Return the page that leads to the others."""
    lines = [*_INTRODUCTION.splitlines(), "", "| service | file | does |", "|---|---|---|"]
    for source in sources:
        for number, service in enumerate(source.file.service):
            target = f"api/{source.name}.md"
            name = f"[{service.name}]({target}#{anchor(service.name)})"
            text = source.comment(_SERVICE, number)
            lines.append(f"| {name} | [{source.name}.proto]({target}) | {text} |")
    lines += ["", "What services share:", ""]
    lines += [
        f"- [{source.name}.proto](api/{source.name}.md)"
        for source in sources
        if not source.file.service
    ]
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Return every page by its path."""
    sources = read_sources()
    return {INDEX: index(sources), **{FOLDER / f"{one.name}.md": page(one) for one in sources}}


if __name__ == "__main__":
    sys.exit(run(__doc__, "reference", pages, FOLDER))
