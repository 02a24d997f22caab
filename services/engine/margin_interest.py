"""Interest on borrowed coins: a short spot leg owes more every hour, and the exit must buy it too.

A venue charges it in the coin that was borrowed, so the leg grows without an order of ours. Without
this the perpetual would hedge too little after weeks, and an exit would leave the interest owed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from services.engine.events import InterestCharged
from services.engine.instruments import LegSide
from services.engine.pockets import Pocket, PocketKind, pocket_of
from services.engine.position import Position
from services.engine.reconciliation import Expectation
from services.engine.sizing import floor_to_lot

_ZERO = Decimal(0)


def interest_charges(
    expected: Mapping[Pocket, Expectation],
    told: Mapping[Pocket, Decimal],
    owed: Mapping[Pocket, Decimal],
    positions: Iterable[Position],
    at: datetime,
) -> tuple[InterestCharged, ...]:
    """Return what of a difference is interest, in whole lots, as charges of the legs that owe it.

    `told` has the pockets at rest only, `owed` the unpaid interest that the venue names: no more
    than that can be interest. None where the user owes the same coin: nobody can say whose it is.
    """
    shorts: dict[Pocket, list[Position]] = {}
    for position in positions:
        pocket = pocket_of(position.rules(LegSide.SHORT))
        if pocket.kind is PocketKind.MARGIN and pocket in told:
            shorts.setdefault(pocket, []).append(position)
    charges: list[InterestCharged] = []
    for pocket, holders in sorted(shorts.items()):
        one = expected.get(pocket)
        if one is None or one.baseline < 0:
            continue
        missing = min(one.total - told[pocket], owed.get(pocket, _ZERO))
        charges += _shared(missing, holders, at)
    return tuple(charges)


def _shared(missing: Decimal, holders: list[Position], at: datetime) -> Iterable[InterestCharged]:
    """Share it by what each leg owes; one that has ended last takes it where none is on."""
    on = [position for position in holders if not position.status.is_final]
    if not on:
        on = [max(holders, key=lambda position: (position.update_time, position.position_id))]
    sizes = [abs(position.quantity(LegSide.SHORT)) for position in on]
    whole = sum(sizes, _ZERO)
    for position, size in zip(on, sizes, strict=True):
        part = missing * size / whole if whole else missing / len(on)
        part = floor_to_lot(part, position.rules(LegSide.SHORT).lot_size)
        if part > 0:
            # A total, so that a second reading of the same interest says nothing new.
            yield InterestCharged(position.position_id, at, position.interest + part)
