"""Reading the streams of a connector in tests, and looking at what stands behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from services.connector.data_part import DataPart
from tests.support.connector import RunningConnector


def data_of(running: RunningConnector) -> DataPart:
    """Return the data half of a connector in this process."""
    assert running.servicer is not None
    return running.servicer._data


async def read_until(call: Any, wanted: Callable[[Any], bool], seconds: float = 15) -> list[Any]:
    """Read a stream up to the first row that is wanted; return all that was read."""
    found = []
    async with asyncio.timeout(seconds):
        while True:
            row = await call.read()
            assert row is not grpc.aio.EOF, await call.details()
            found.append(row)
            if wanted(row):
                return found
