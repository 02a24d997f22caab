"""Comparisons of ledger and venues that somebody asks for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.common.errors import NotFoundError
from services.engine.pockets import Pocket, PocketKind
from services.engine.reconcile_desk import Comparison, ComparisonState, SymbolComparison, rows_of
from services.engine.reconciler import PocketFigures
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.virtual_clock import VirtualClock

D = Decimal
COINS = Pocket("spot", PocketKind.SPOT, "BTC")
CONTRACTS = Pocket("perp", PocketKind.PERPETUAL, "BTCUSDT")


def figures(pocket: Pocket, expected: str, told: str | None, *symbols: str) -> PocketFigures:
    """Return both numbers of a pocket."""
    return PocketFigures(pocket, symbols, D(expected), None if told is None else D(told))


@pytest.mark.parametrize(
    ("told", "broken", "row"),
    [
        ("-1", (), SymbolComparison("BTCUSDT", D(2), D(2), is_equal=True)),
        ("-0.5", (CONTRACTS,), SymbolComparison("BTCUSDT", D(2), D("2.5"), is_equal=False)),
        (None, (), SymbolComparison("BTCUSDT", D(2), None, is_equal=False)),
    ],
)
def test_a_row_sums_the_pockets_of_a_symbol(
    told: str | None, broken: tuple[Pocket, ...], row: SymbolComparison
) -> None:
    """It is equal only where every pocket was told and none is broken."""
    group = [figures(COINS, "3", "3", "BTCUSDT"), figures(CONTRACTS, "-1", told, "BTCUSDT")]
    assert rows_of(group, broken) == (row,)


def test_symbols_of_one_coin_share_its_pocket() -> None:
    """Each has a row with all of it."""
    rows = rows_of([figures(COINS, "3", "3", "BTCUSDC", "BTCUSDT")], ())
    assert [row.symbol for row in rows] == ["BTCUSDC", "BTCUSDT"]


async def ended(rig: EngineRig, symbol: str) -> Comparison:
    """Ask for a comparison and wait for its end."""
    desk = rig.engine.comparisons
    key = desk.trigger(symbol).comparison_id
    await rig.clock.run_until(lambda: desk.get(key).state is not ComparisonState.RUNNING)
    return desk.get(key)


async def test_a_comparison_tells_both_numbers_and_books_what_it_finds() -> None:
    """A break found on request stops entries like any other."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    await rig.open("1")
    assert (await ended(rig, "")).rows == (SymbolComparison("BTCUSDT", D(0), D(0), is_equal=True),)
    assert rig.engine.takes_entries
    assert (await ended(rig, "ETHUSDT")).rows == ()
    rig.long_venue.foreign = D(2)
    (row,) = (await ended(rig, "BTCUSDT")).rows
    assert (row.told, row.is_equal) == (D(2), False)
    assert "the venue tells" in rig.engine.status().reason
    await rig.close_rig()


async def test_all_who_ask_meanwhile_are_answered_by_one_reading() -> None:
    """Asking often costs nothing at a venue, and old answers are forgotten."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    await rig.open("1")
    desk = rig.engine.comparisons
    first = desk.trigger("")
    starts = {desk.trigger("").start_time for _ in range(64)}
    assert starts == {first.start_time}
    with pytest.raises(NotFoundError):
        desk.get(first.comparison_id)
    await rig.close_rig()


async def test_a_comparison_with_a_venue_nobody_reaches_ends_all_the_same() -> None:
    """What is not told is absent, and no break."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    await rig.open("1")
    rig.short_venue.reads_fail = lambda: True
    comparison = await ended(rig, "BTCUSDT")
    assert comparison.state is ComparisonState.COMPLETED
    assert [(row.told, row.is_equal) for row in comparison.rows] == [(None, False)]
    await rig.close_rig()
