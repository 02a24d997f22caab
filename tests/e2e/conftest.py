"""One stack for all tests of a run: built, started, and removed with its volumes at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.compose_stack import ComposeStack, running

_LINES: list[str] = []


@pytest.fixture(scope="session")
def told() -> list[str]:
    """Lines that are printed after the tests: times, and what was found in the containers."""
    return _LINES


@pytest.fixture(scope="session")
def compose_stack(
    tmp_path_factory: pytest.TempPathFactory, told: list[str]
) -> Iterator[ComposeStack]:
    """A healthy stack of the profile that E2E_PROFILE names (default)."""
    profile = os.environ.get("E2E_PROFILE", "default")
    with running(ComposeStack(tmp_path_factory.mktemp("stack"), profile), told) as stack:
        yield stack


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests told."""
    if _LINES:
        terminalreporter.section("the stack")
    for line in _LINES:
        terminalreporter.write_line(line)
