"""What the tests of paper trading share."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the time that starting several processes on shared cores may take."""
    for item in items:
        if "paper" in item.path.parts:
            item.add_marker(pytest.mark.timeout(120))
