"""Listeners hear of positions in the order of the events, in every run alike."""

from __future__ import annotations

from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.position import fold
from services.engine.views import PositionStatus, PositionView
from tests.support.engine_rig import MemoryJournal, Recorder
from tests.support.risk_positions import entering
from tests.support.virtual_clock import START, VirtualClock


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


async def test_what_is_live_follows_every_way_a_position_changes() -> None:
    """In at its intent, out when it is final, in again when an exit goes on; folded before too."""
    book = PositionBook(MemoryJournal(), Recorder(), Recorder(), VirtualClock())
    ended = ev.PositionSettled("p1", START, PositionStatus.FLAT, "")
    await book.record(entering("p1").intent, entering("p2").intent)
    assert book.live() == book.all()
    before = book.live()[0]
    book.record_soon(ended)
    assert [one.position_id for one in book.live()] == ["p2"]
    book.record_soon(ev.ExitResumed("p1", START, "LATE_FILL"))
    assert [one.position_id for one in book.live()] == ["p2", "p1"]
    book.record_folded(ended, fold(before, ended))
    assert [one.position_id for one in book.live()] == ["p2"]
    assert len(book.all()) == 2
