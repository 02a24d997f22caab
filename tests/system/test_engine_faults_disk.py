"""Disks that are full or broken under engine and connectors, from the midst of an entry on."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cli.demo.stack import PERPETUAL, LocalStack, StackOptions
from tests.support.fault_row import Tell, fault_options, tell_row
from tests.support.host_faults import FaultyHostStack, HostFaults, why_no_host_faults
from tests.support.lab_stack import driving
from tests.support.stack import CLOSED, OPEN, SHORT, StackDriver
from tests.support.stack_cases import Position, held

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
TRIES = 30


class LedgerElsewhere(LocalStack):
    """A stack whose perpetual's connector has its ledger on a disk of its own."""

    def __init__(self, directory: Path, options: StackOptions, disk: Path) -> None:
        super().__init__(directory, options)
        self._disk = disk

    def connector_table(self, venue: str) -> dict[str, Any]:
        """Return the tables of a connector, one of them with its ledger elsewhere."""
        table = super().connector_table(venue)
        if venue != PERPETUAL:
            return table
        return {**table, "connector": {**table["connector"], "ledger_path": self._disk / "ledger"}}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of its own, of some MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None:
        pytest.skip("file systems can be mounted by root only")
    make = [mount, "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    if subprocess.run(make, check=False, capture_output=True).returncode:
        pytest.skip("file systems can be mounted by root only")
    yield place
    subprocess.run([unmount, "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    for size in (1024 * 1024, 4096):
        with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(size))


def reserves(disk: Path) -> int:
    """Count the reserves that are held."""
    return len(list(disk.glob("*.reserve")))


async def refusal(stack: StackDriver, symbol: str, *, tries: int = 1, **options: Any) -> str:
    """Return the words with which an entry is refused or ends; it must leave nothing on.

    With more tries, entries that still found room are closed again: what is free within the files
    takes some rows before the first write fails.
    """
    for _ in range(tries):
        try:
            position = await stack.enter(symbol, **options)
        except grpc.aio.AioRpcError as error:
            return str(error.details())
        if position.state != OPEN:
            return f"{position.state_reason}"
        await stack.leave(position)
    raise AssertionError(f"entered {tries} times: {position}")


async def in_mid_entry(stack: StackDriver) -> tuple[Position, Position]:
    """Return a position that is open and one whose hedge the venue has and holds."""
    resting = await stack.enter("ADAUSDT")
    await stack.fault("held", held("before", 0.8), venue=PERPETUAL, symbol="BTCUSDT")
    entering = await stack.open("BTCUSDT")
    await stack.until_struck("held")
    return resting, entering


async def closed_after(stack: StackDriver, *positions: Position) -> None:
    """Close positions and check that the venue holds nothing of them."""
    before = await stack.books()
    for position in positions:
        closed = await stack.leave(position)
        assert closed.state == CLOSED, closed
    books = await stack.books()
    assert books.positions == {}
    assert books.duplicate_ids == ()
    assert before.duplicate_ids == ()


async def test_positions_are_hedged_and_closed_on_a_full_disk(
    disk: Path, record_property: Tell
) -> None:
    """Entries are refused until there is room; what is on is hedged and closed meanwhile."""
    async with driving(LocalStack(disk, fault_options())) as stack:
        resting, entering = await in_mid_entry(stack)
        fill(disk / "others")
        entered = await stack.settled(entering)
        assert entered.state == OPEN, entered
        words = await refusal(stack, "ETHUSDT", tries=TRIES)
        await closed_after(stack, resting, entered)
        left = reserves(disk)
        (disk / "others").unlink()
        await closed_after(stack, await stack.enter("ETHUSDT"))
    tell_row(
        record_property,
        "disk",
        "all files on a full disk, in mid-entry",
        f"hedged; entries: {words}; both exits closed, {left} of 3 reserves left; "
        "entries again once there is room",
    )


async def test_hedges_and_exits_are_recorded_in_the_room_kept_for_the_ledger(
    disk: Path, tmp_path: Path, record_property: Tell
) -> None:
    """A connector refuses what opens exposure and sends what reduces it."""
    async with driving(LedgerElsewhere(tmp_path, fault_options(), disk)) as stack:
        resting, entering = await in_mid_entry(stack)
        fill(disk / "others")
        entered = await stack.settled(entering)
        assert entered.state == OPEN, entered
        words = await refusal(stack, "ETHUSDT", tries=TRIES, lead=SHORT)
        await closed_after(stack, resting, entered)
        left = reserves(disk)
        (disk / "others").unlink()
        await stack.resume()
        await closed_after(stack, await stack.enter("BNBUSDT"))
    tell_row(
        record_property,
        "disk",
        "a connector's ledger on a full disk, in mid-entry",
        f"hedged; entries: {words}; both exits closed, {left} of 1 reserve left; "
        "entries again once there is room",
    )


async def test_nothing_new_is_opened_where_nothing_can_be_made_durable(
    tmp_path: Path, record_property: Tell
) -> None:
    """fsync fails with EIO in mid-entry; the exit leaves once the disk is sound again."""
    if reason := why_no_host_faults():
        pytest.skip(reason)
    host = HostFaults(tmp_path, "engine")
    async with driving(FaultyHostStack(tmp_path, fault_options(), {"engine": host})) as stack:
        resting, entering = await in_mid_entry(stack)
        host.break_sync(broken=True)
        await stack.until_executed(entering, "entry", "hedge")
        words = await refusal(stack, "ETHUSDT")
        failed = host.failed_syncs
        assert failed > 0
        host.break_sync(broken=False)
        entered = await stack.settled(entering)
        assert entered.state == OPEN, entered
        await closed_after(stack, resting, entered)
        await closed_after(stack, await stack.enter("ETHUSDT"))
    tell_row(
        record_property,
        "disk",
        "fsync of the engine's disk fails (EIO), in mid-entry",
        f"hedged; entries: {words}; {failed} syncs failed; both exits closed after it",
    )
