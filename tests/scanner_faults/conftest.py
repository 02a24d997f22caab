"""One simulator with three connectors for a module; faults are gone after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.scan_faults_rig import ScanRig, scan_rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venues(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScanRig]:
    """Run simulator and connectors for one module."""
    async with scan_rig(tmp_path_factory.mktemp("scan")) as rig:
        yield rig


@pytest_asyncio.fixture(loop_scope="module")
async def rig(venues: ScanRig) -> AsyncIterator[ScanRig]:
    """Return the venues without a fault, and leave them so."""
    await venues.control.delete("faults")
    yield venues
    await venues.control.delete("faults")
