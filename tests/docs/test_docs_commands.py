"""The commands of the pages are done as a reader would, against processes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import docs_pages
from tests.support.docs_pages import Reader, blocks_of, lacking

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
# A reader starts the stack by the first; the others find it running.
STACK, *OTHERS = ("docs/running.md", "README.md", "docs/clients.md")
NEEDS = {
    program
    for page in (STACK, *OTHERS)
    for block in blocks_of(page)
    if block.kind == "run"
    for program in block.words
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader at an empty folder; what it started is stopped."""
    one = Reader(tmp_path_factory.mktemp("reader"))
    yield one
    one.stop()


def follow(reader: Reader, page: str) -> list[str]:
    """Do all that a page says; blocks whose programs are not installed are left out and named."""
    printed: list[str] = []
    for block in blocks_of(page):
        missing = lacking(block.words) if block.kind == "run" else ""
        printed += [f"left out: {missing}"] if missing else reader.follow(block)
    return printed


def test_a_stack_of_ones_own_trades(reader: Reader) -> None:
    """Files, processes and commands of the page make a stack that enters and exits."""
    printed = "\n".join(follow(reader, STACK))
    assert "CLOSED" in printed


@pytest.mark.parametrize("page", OTHERS)
def test_the_commands_of_a_page_end_well(reader: Reader, page: str) -> None:
    """What needs no program beyond ours is run; every command of it ends with 0."""
    reader.settle()
    printed = follow(reader, page)
    assert [text for text in printed if not text.startswith("left out")]


def test_marked_blocks_ask_for_known_programs() -> None:
    """A misspelt mark would leave its block out for ever."""
    assert {"curl", "grpcurl", "node", "npm"} >= NEEDS


@pytest.mark.parametrize(
    ("command", "missing"), [("sleep 60", True), ("false", True), ("true", False)]
)
def test_a_block_is_left_out_where_its_program_reaches_nothing(
    monkeypatch: pytest.MonkeyPatch, command: str, missing: bool
) -> None:
    """A machine without a way out fails no page, whether the look is refused or hangs."""
    program, *_ = words = command.split()
    monkeypatch.setattr(docs_pages, "REACH_SECONDS", 0.5)
    monkeypatch.setitem(docs_pages.REACHES, program, words)
    assert bool(lacking((program,))) is missing


def test_every_file_that_a_page_starts_is_shown() -> None:
    """A process is told to read a file that stands before it."""
    shown: set[str] = set()
    for block in blocks_of(STACK):
        shown |= {block.words[0]} if block.kind == "file" else set()
        if block.kind == "process":
            named = {Path(line.split()[-1]).name for line in block.commands()}
            assert named <= shown
