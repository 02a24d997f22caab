"""Listeners hear of positions in the order of the events, in every run alike."""

from __future__ import annotations

from services.engine.book import PositionBook
from services.engine.views import PositionView
from tests.support.engine_rig import MemoryJournal, Recorder
from tests.support.risk_positions import entering
from tests.support.virtual_clock import VirtualClock


class _Ear(Recorder):
    """Notes whose state it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def position_changed(self, view: PositionView) -> None:
        """Note it."""
        self.told.append(view.position_id)


async def test_positions_of_one_write_are_told_in_its_order() -> None:
    """Once each; the hash of a name decides nothing."""
    ear = _Ear()
    book = PositionBook(MemoryJournal(), ear, Recorder(), VirtualClock())
    names = [f"p{number:015d}" for number in (7, 3, 9, 1, 8, 2, 6, 4)]
    await book.record(*(entering(name).intent for name in names))
    assert ear.told == names
