"""Rows of the ledger that nobody waits for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.connector.ledger import Ledger, LedgerRow, Phase


def row(name: str) -> LedgerRow:
    """Return an open row."""
    return LedgerRow(name, f"v-{name}", "hash", "BTCUSDT", Phase.OPEN, 1, "{}")


async def test_patient_row_is_written_though_nothing_follows(tmp_path: Path) -> None:
    """Patience has an end: the row is committed without company too."""
    ledger = Ledger(tmp_path / "orders.ledger")
    ledger.open()
    try:
        await ledger.record(row("a"))
        await ledger.update("a", Phase.CLOSED, state="{}", patient=True)
        found = await ledger.find("a")
        assert found is not None
        assert found.phase is Phase.CLOSED
    finally:
        ledger.close()


async def test_no_row_is_left_behind_by_the_signals(tmp_path: Path) -> None:
    """Writers that come in any order, patient or not, all hear of their commit."""
    ledger = Ledger(tmp_path / "orders.ledger")
    ledger.open()

    async def write(number: int) -> None:
        for step in range(20):
            name = f"{number}-{step}"
            await ledger.record(row(name), urgent=step % 3 == 0)
            await ledger.update(name, Phase.CLOSED, state="{}", patient=step % 2 == 0)

    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(write(number) for number in range(20)))
        assert await ledger.open_rows() == []
    finally:
        ledger.close()


async def test_patient_row_survives_the_closing(tmp_path: Path) -> None:
    """What waits for company when the ledger closes is written first."""
    ledger = Ledger(tmp_path / "orders.ledger")
    ledger.open()
    await ledger.record(row("a"))
    waiting = asyncio.get_running_loop().create_task(
        ledger.update("a", Phase.CLOSED, state="{}", patient=True)
    )
    await asyncio.sleep(0)
    ledger.close()
    await waiting
    again = Ledger(tmp_path / "orders.ledger")
    again.open()
    try:
        assert await again.open_rows() == []
    finally:
        again.close()
