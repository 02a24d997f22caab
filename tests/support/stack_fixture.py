"""The fixture of the whole system, for modules that name this one in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.stack import StackDriver, running_stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackDriver]:
    """Run the whole system for one module."""
    folder: Path = tmp_path_factory.mktemp("stack")
    async with running_stack(folder) as driver:
        yield driver
