"""Epochs of engines at the connector: the highest counts, is kept, and refuses all below it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.engine_epoch import epoch_metadata, read_epoch
from services.common.errors import InvalidFieldError, PreconditionError
from services.connector.engine_epochs import EngineEpochs
from tests.support.connector_orders import instrument, order_request
from tests.support.desk_rig import HandOrders, accept, open_desk


async def test_a_lower_epoch_is_refused_also_by_the_next_process(tmp_path: Path) -> None:
    """Each principal has its own; the highest survives in the file beside the ledger."""
    ledger = tmp_path / "orders.ledger"
    epochs = EngineEpochs(ledger)
    for principal, epoch in (("one", 5), ("one", 5), ("two", 3), ("one", 7)):
        await epochs.admit(principal, epoch)
    for again in (epochs, EngineEpochs(ledger)):
        with pytest.raises(PreconditionError) as refused:
            await again.admit("one", 6)
        assert refused.value.reason == "EPOCH_SUPERSEDED"
        assert refused.value.metadata == {"engineEpoch": "7"}
        await again.admit("one", 7)
        await again.admit("two", 3)


async def test_callers_without_an_epoch_are_not_engines(tmp_path: Path) -> None:
    """A person's order goes through whatever engines have shown."""
    epochs = EngineEpochs(tmp_path / "orders.ledger")
    await epochs.admit("one", 5)
    assert await epochs.admit("one", 0) is None


async def test_a_file_that_cannot_be_read_or_written_stops_nobody(tmp_path: Path) -> None:
    """Orders that reduce must not wait; memory holds the epoch while the process lives."""
    (tmp_path / "orders.ledger.epochs").write_text('{"one": "five"}')
    epochs = EngineEpochs(tmp_path / "orders.ledger")
    await epochs.admit("one", 5)
    lost = EngineEpochs(tmp_path / "orders.ledger" / "below-a-file")
    (tmp_path / "orders.ledger").write_text("")
    await lost.admit("one", 5)
    with pytest.raises(PreconditionError):
        await lost.admit("one", 4)


async def test_an_engine_overtaken_while_its_order_waits_sends_nothing(tmp_path: Path) -> None:
    """Looked at again last before the row: a higher epoch shown meanwhile counts."""
    epochs = EngineEpochs(tmp_path / "epochs")
    sender = await epochs.admit("one", 5)
    orders = HandOrders(accept)
    orders.gate.set()
    async with open_desk(orders, tmp_path) as (desk, ledger):
        first = replace(order_request(client_order_id="first"), sender=sender)
        await desk.place(first, instrument())
        await epochs.admit("one", 6)
        with pytest.raises(PreconditionError) as refused:
            await desk.place(
                replace(order_request(client_order_id="late"), sender=sender), instrument()
            )
        assert refused.value.reason == "EPOCH_SUPERSEDED"
        assert await ledger.find("late") is None
    assert orders.sent == ["first"]


async def test_orders_of_a_new_engine_wait_until_its_epoch_is_kept(tmp_path: Path) -> None:
    """All that come at once wait for the one write."""
    epochs = EngineEpochs(tmp_path / "orders.ledger")
    await asyncio.gather(*(epochs.admit("one", 5) for _ in range(5)))
    with pytest.raises(PreconditionError):
        EngineEpochs(tmp_path / "orders.ledger").check("one", 4)


def test_an_epoch_travels_in_the_metadata() -> None:
    """None for 0; anything but one number above zero is refused."""
    assert read_epoch(epoch_metadata(17)) == 17
    assert read_epoch((("other", "x"), *epoch_metadata(0))) == 0
    for value in ("0", "-1", "1e3", "", "9" * 19, b"5"):
        with pytest.raises(InvalidFieldError):
            read_epoch((("engine-epoch", value),))
    with pytest.raises(InvalidFieldError):
        read_epoch(epoch_metadata(1) + epoch_metadata(2))
