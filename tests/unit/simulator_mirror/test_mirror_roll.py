"""Which instruments a venue has by its lists: what vanished, what is only missing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import pytest

from services.simulator.market.source import InstrumentSpec, Kind
from services.simulator.mirror.roll import Roll, next_roll
from tests.support.tiny_market import spec

NAMES: Final = tuple(f"C{number}USDT" for number in range(30))
GONE: Final = NAMES[0]
REST: Final = NAMES[1:]
LACKED: Final = frozenset({GONE})


def _specs(
    names: Collection[str], kind: Kind = Kind.PERPETUAL, status: str = "TRADING"
) -> dict[str, InstrumentSpec]:
    return {name: spec(kind, name, status=status) for name in names}


def _after(*lists: Collection[str], kind: Kind = Kind.PERPETUAL) -> Roll:
    """Return the roll after lists that name these, each row of which can be read."""
    roll = Roll()
    for names in lists:
        roll = next_roll(roll, _specs(names, kind), names)
    return roll


def _status(roll: Roll) -> str:
    return roll.specs[GONE].status


@pytest.mark.parametrize(("kind", "ended"), [(Kind.PERPETUAL, "SETTLING"), (Kind.SPOT, "BREAK")])
def test_two_lists_in_a_row_end_what_they_lack(kind: Kind, ended: str) -> None:
    """It has the status that the venue gives such; the others are as they were."""
    roll = _after(NAMES, REST, kind=kind)
    assert (_status(roll), roll.missing, roll.vanished) == ("TRADING", LACKED, frozenset())
    roll = next_roll(roll, _specs(REST, kind), REST)
    assert (_status(roll), roll.missing, roll.vanished) == (ended, frozenset(), LACKED)
    assert {one.status for name, one in roll.specs.items() if name != GONE} == {"TRADING"}
    # told once
    assert next_roll(roll, _specs(REST, kind), REST).vanished == frozenset()


def test_one_odd_list_ends_nothing() -> None:
    """Not even if there was another before it, with a sound one in between."""
    roll = _after(NAMES, REST, NAMES, REST)
    assert _status(roll) == "TRADING"
    assert _status(next_roll(roll, _specs(NAMES), NAMES)) == "TRADING"


@pytest.mark.parametrize("names", [NAMES[4:], NAMES[15:], ("OTHERUSDT",)])
def test_a_list_that_lacks_much_is_not_believed(names: Collection[str]) -> None:
    """However often it comes; what it has is taken none the less."""
    roll = _after(NAMES, *[names] * 5)
    assert (_status(roll), roll.vanished, roll.missing) == ("TRADING", frozenset(), frozenset())
    assert roll.doubted_count == len(set(NAMES).difference(names))
    assert set(names) <= set(roll.specs)


def test_a_doubted_list_is_none_of_the_two() -> None:
    """It neither ends what was missing before nor clears it, unless it names it."""
    cut = REST[10:]
    assert _status(_after(NAMES, REST, cut)) == "TRADING"
    assert _status(_after(NAMES, REST, cut, REST)) == "SETTLING"
    assert _status(_after(NAMES, REST, (GONE, *cut), REST)) == "TRADING"


def test_a_row_that_cannot_be_read_is_not_missing() -> None:
    """The rules that were read before hold on."""
    roll = _after(NAMES)
    for _ in range(3):
        roll = next_roll(roll, _specs(REST), NAMES)
    assert _status(roll) == "TRADING"


def test_what_has_ended_may_leave_in_any_number() -> None:
    """A venue that clears its list of the old says nothing about the others."""
    roll = next_roll(_after(REST[:20]), _specs(NAMES[20:], status="SETTLING"), NAMES)
    roll = next_roll(roll, _specs(REST[:20]), REST[:20])
    assert (roll.doubted_count, roll.missing) == (0, frozenset())


def test_one_that_is_listed_again_trades_again() -> None:
    """The list is the venue's word."""
    assert _status(_after(NAMES, REST, REST, NAMES)) == "TRADING"
