"""When the ledger and a venue disagree: baseline + journaled fills against what the venue tells.

Nothing is ever corrected here: a difference that two equal readings show is a break, which stops
entries and names both numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from services.engine.events import ReconciliationBroke
from services.engine.instruments import LegSide
from services.engine.pockets import Pocket, pocket_of
from services.engine.position import Position

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a pocket is to hold: `baseline` is the user's own, `ledger` ours, both signed.

    A difference below `tolerance` is rounding.
    """

    baseline: Decimal
    ledger: Decimal
    tolerance: Decimal

    @property
    def total(self) -> Decimal:
        """What the venue is to tell."""
        return self.baseline + self.ledger


@dataclass(frozen=True, slots=True)
class Break:
    """A pocket that holds something else than it should."""

    pocket: Pocket
    expected: Decimal
    told: Decimal


@dataclass(frozen=True, slots=True)
class MissingLeg:
    """What a venue has not got of a leg any more, unsigned."""

    position_id: str
    leg: LegSide
    quantity: Decimal


def breaks(
    expected: Mapping[Pocket, Expectation],
    told: Mapping[Pocket, Decimal],
    moving: Collection[Pocket],
) -> tuple[Break, ...]:
    """Return the pockets that are told otherwise than expected, in the order of their names.

    Left out are pockets nobody told of, and those that are `moving`: an order in flight or in doubt
    is in one of the numbers and perhaps not in the other.
    """
    return tuple(
        Break(pocket, expected[pocket].total, told[pocket])
        for pocket in sorted(expected)
        if pocket in told
        and pocket not in moving
        and matters(told[pocket] - expected[pocket].total, expected[pocket].tolerance)
    )


def matters(difference: Decimal, tolerance: Decimal) -> bool:
    """Tell whether a difference is more than rounding: the tolerance itself is."""
    return difference != 0 and abs(difference) >= tolerance


def missing_of(ledger: Decimal, told: Decimal) -> Decimal:
    """Return what is not there of a signed ledger quantity, unsigned.

    The user's own part of the pocket is taken to have gone first: only what nobody else can have
    lost is said to be missing of ours.
    """
    sign = 1 if ledger > 0 else -1
    there = max(sign * told, _ZERO)
    return max(sign * ledger - there, _ZERO)


def is_covered(expected: Expectation, told: Decimal) -> bool:
    """Tell whether a pocket holds all that is ours, so that the rest can be the user's own."""
    return not matters(missing_of(expected.ledger, told), expected.tolerance)


def missing_leg(
    found: Break, positions: Iterable[Position], tolerance: Decimal
) -> MissingLeg | None:
    """Return which leg lost how much of what it holds.

    None where less is missing than the tolerance, and where two live positions share the pocket, so
    that nobody can say whose it was.
    """
    legs = [
        (position, leg)
        for position in positions
        if not position.status.is_final
        for leg in LegSide
        if pocket_of(position.rules(leg)) == found.pocket and position.quantity(leg) != 0
    ]
    if len(legs) != 1:
        return None
    position, leg = legs[0]
    missing = missing_of(position.quantity(leg), found.told)
    if not matters(missing, tolerance):
        return None
    return MissingLeg(position.position_id, leg, missing)


def stopping(
    symbol: str, broken: Collection[ReconciliationBroke], limit: int
) -> tuple[ReconciliationBroke, ...]:
    """Return the breaks that stop entries in a symbol: its own, or all where several are broken.

    From `limit` differing sets of symbols on, what the ledger says is trusted nowhere any more.
    Both legs of one position make one set.
    """
    if len({one.symbols for one in broken}) >= limit:
        return tuple(broken)
    return tuple(one for one in broken if symbol in one.symbols)


def text_of(one: ReconciliationBroke) -> str:
    """Return a break as status and refusals tell it, with both numbers."""
    return f"{one.pocket} should be {one.expected}, the venue tells {one.told}"
