"""One stack for all tests of a run: built, started, and removed with its volumes at the end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.compose_stack import ComposeStack

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
    stack = ComposeStack(tmp_path_factory.mktemp("stack"), profile)
    stack.down()
    try:
        told.append(f"images built in {stack.build():.0f} s")
        started = time.monotonic()
        stack.up()
        asyncio.run(stack.until_healthy())
        seconds = time.monotonic() - started
        told.append(f"{len(stack.containers())} containers, all healthy {seconds:.0f} s after `up`")
        yield stack
    finally:
        stack.down()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests told."""
    if _LINES:
        terminalreporter.section("the stack")
    for line in _LINES:
        terminalreporter.write_line(line)
