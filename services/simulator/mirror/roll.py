"""Which instruments a venue has, by the lists it gave: one that vanished from them has ended.

A venue names what it stops trading before it drops it, mostly. What is only missing may be a list
that is damaged or cut short, by which no position must be closed: two lists in a row must lack it,
and each of them little else. A row that is there and cannot be read is not missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from services.simulator.core.market import has_ended
from services.simulator.market.listing import ENDED_STATUS
from services.simulator.market.source import InstrumentSpec

_MOST_MISSING: Final = 10
"""A list that lacks more than one in so many is not believed; one missing always may be."""


@dataclass(frozen=True, slots=True)
class Roll:
    """The instruments of one kind, with the rules that were read last.

    `missing` are those that the last list lacked, `vanished` those that it ended thereby;
    `doubted_count` is how many it lacked where that was not believed.
    """

    specs: Mapping[str, InstrumentSpec] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    vanished: frozenset[str] = frozenset()
    doubted_count: int = 0


def next_roll(roll: Roll, specs: Mapping[str, InstrumentSpec], named: Collection[str]) -> Roll:
    """Return the roll after a list that names these symbols, with what could be read of it."""
    known = {**roll.specs, **specs}
    live = {symbol for symbol, spec in roll.specs.items() if not has_ended(spec)}
    absent = frozenset(live.difference(named))
    if len(absent) > max(1, len(live) // _MOST_MISSING):
        return Roll(known, roll.missing.difference(named), doubted_count=len(absent))
    vanished = absent & roll.missing
    for symbol in vanished:
        known[symbol] = replace(known[symbol], status=ENDED_STATUS[known[symbol].kind])
    return Roll(known, absent - vanished, vanished)
